"""Scores, intervals, run folders and reports."""

from lookboth.evaluation.corrections import benjamini_hochberg, holm
from lookboth.evaluation.metrics import (
    conlleval_f1,
    count_per_sentence,
    count_spans,
    score_spans,
    score_tags,
    token_accuracy,
)
from lookboth.evaluation.nested_plans import group_effects, nested_pairs, nested_plan_test
from lookboth.evaluation.runfile import Run, read_predictions, read_run, write_predictions, write_run
from lookboth.evaluation.scores import Average, Counts, Scores
from lookboth.evaluation.seed_table import SeedGroup, collect_runs, seed_table
from lookboth.evaluation.seeds import MeanAndSd, PairedDifference, mean_and_sd, paired_difference
from lookboth.evaluation.significance import (
    Comparison,
    Interval,
    Randomization,
    approximate_randomization,
    bootstrap_interval,
    paired_bootstrap,
)

__all__ = [
    "Average",
    "Comparison",
    "Counts",
    "Interval",
    "MeanAndSd",
    "PairedDifference",
    "Randomization",
    "Run",
    "Scores",
    "SeedGroup",
    "approximate_randomization",
    "benjamini_hochberg",
    "bootstrap_interval",
    "collect_runs",
    "conlleval_f1",
    "count_per_sentence",
    "count_spans",
    "group_effects",
    "holm",
    "mean_and_sd",
    "nested_pairs",
    "nested_plan_test",
    "paired_bootstrap",
    "paired_difference",
    "read_predictions",
    "read_run",
    "score_spans",
    "score_tags",
    "seed_table",
    "token_accuracy",
    "write_predictions",
    "write_run",
]
