"""Metrics: measures of an output against the truth."""
