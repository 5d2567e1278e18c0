"""Scores, intervals and reports."""
