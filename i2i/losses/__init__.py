"""Losses between an output and the truth."""
