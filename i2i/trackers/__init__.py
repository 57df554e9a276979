"""Trackers: who hears of a run's progress."""
