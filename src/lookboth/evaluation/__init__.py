"""Scores, intervals, run folders and reports."""

from lookboth.evaluation.metrics import (
    conlleval_f1,
    count_per_sentence,
    count_spans,
    score_spans,
    score_tags,
    token_accuracy,
)
from lookboth.evaluation.report import SeedGroup, collect_runs, seed_table
from lookboth.evaluation.runfile import Run, read_predictions, read_run, write_predictions, write_run
from lookboth.evaluation.scores import Average, Counts, Scores
from lookboth.evaluation.significance import (
    Comparison,
    Interval,
    MeanAndSd,
    bootstrap_interval,
    mean_and_sd,
    paired_bootstrap,
)

__all__ = [
    "Average",
    "Comparison",
    "Counts",
    "Interval",
    "MeanAndSd",
    "Run",
    "Scores",
    "SeedGroup",
    "bootstrap_interval",
    "collect_runs",
    "conlleval_f1",
    "count_per_sentence",
    "count_spans",
    "mean_and_sd",
    "paired_bootstrap",
    "read_predictions",
    "read_run",
    "score_spans",
    "score_tags",
    "seed_table",
    "token_accuracy",
    "write_predictions",
    "write_run",
]
