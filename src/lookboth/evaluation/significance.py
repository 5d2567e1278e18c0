"""How sure a score is: bootstrap intervals over sentences, paired comparison, spread over seeds."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lookboth.errors import ConfigError, DataError
from lookboth.evaluation.metrics import SpanSequences, count_per_sentence


class Interval(NamedTuple):
    """A range that holds the middle `level` of the resampled scores."""

    low: float
    high: float


class Comparison(NamedTuple):
    """The difference in micro F1 between two labelers on the same sentences.

    Args:
        difference: F1 of the first minus F1 of the second, in [-1, 1].
        low, high: bootstrap interval of the difference.
        p_value: two-sided; how often chance alone gives a difference at least this large.
    """

    difference: float
    low: float
    high: float
    p_value: float


class MeanAndSd(NamedTuple):
    """The mean over seeds and the sample standard deviation; `sd` is None for one seed."""

    mean: float
    sd: float | None


def bootstrap_interval(
    gold: SpanSequences,
    predicted: SpanSequences,
    *,
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the percentile bootstrap interval of micro F1, resampling sentences.

    Args:
        gold: the gold spans of each sentence.
        predicted: the predicted spans of each sentence, in the same order.
        num_resamples: how often the sentences are drawn anew, with replacement.
        level: share of the resampled scores inside the interval, in (0, 1).
        seed: seed of the draws; the same seed gives the same interval.

    Raises:
        DataError: when there are no sentences, or not one prediction for each.
        ConfigError: when `level` or `num_resamples` is out of range.

    >>> from lookboth.types import Span
    >>> gold = [[Span(0, 1, "PER")], [Span(2, 3, "LOC")], []]
    >>> bootstrap_interval(gold, gold, num_resamples=50, seed=4).high
    1.0
    """
    counts = _count_array(gold, predicted)
    resampled = _micro_f1(_resample(counts[:, None, :], num_resamples, seed))[:, 0]
    return _percentile_interval(resampled, level)


def paired_bootstrap(
    gold: SpanSequences,
    predicted_a: SpanSequences,
    predicted_b: SpanSequences,
    *,
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare two labelers on the same sentences with the paired bootstrap.

    Both are scored on the same resampled sentences. The p-value counts how often a resampled difference
    is as far from the observed one as the observed one is from zero (Berg-Kirkpatrick et al. 2012, "An
    Empirical Investigation of Statistical Significance in NLP", section 2, here two-sided). It speaks
    about other sentences, not about other seeds.

    Args:
        gold: the gold spans of each sentence.
        predicted_a: the first labeler's spans of each sentence.
        predicted_b: the second labeler's.
        num_resamples: how often the sentences are drawn anew, with replacement.
        level: share of the resampled differences inside the interval, in (0, 1).
        seed: seed of the draws.

    Raises:
        DataError: when there are no sentences, or not one prediction for each.
        ConfigError: when `level` or `num_resamples` is out of range.

    >>> from lookboth.types import Span
    >>> gold = [[Span(0, 1, "PER")], [Span(2, 3, "LOC")]]
    >>> paired_bootstrap(gold, gold, gold, num_resamples=50)
    Comparison(difference=0.0, low=0.0, high=0.0, p_value=1.0)
    """
    counts = np.stack([_count_array(gold, predicted_a), _count_array(gold, predicted_b)], axis=1)  # (n, 2, 3)
    observed_a, observed_b = _micro_f1(counts.sum(axis=0))
    difference = float(observed_a - observed_b)
    resampled = _micro_f1(_resample(counts, num_resamples, seed))  # (num_resamples, 2)
    differences = resampled[:, 0] - resampled[:, 1]
    low, high = _percentile_interval(differences, level)
    num_extreme = int((np.abs(differences - difference) >= abs(difference)).sum())
    return Comparison(difference, low, high, p_value=(num_extreme + 1) / (num_resamples + 1))


def mean_and_sd(values: Sequence[float]) -> MeanAndSd:
    """Return the mean over seeds and the sample standard deviation (divided by n - 1).

    Args:
        values: one score for each seed, at least one.

    Raises:
        DataError: when there are no values.

    >>> mean_and_sd([0.5, 0.75])
    MeanAndSd(mean=0.625, sd=0.1767766952966369)
    >>> mean_and_sd([0.5])
    MeanAndSd(mean=0.5, sd=None)
    """
    if not len(values):
        raise DataError("no scores to average; a mean over seeds needs at least one run.")
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return MeanAndSd(float(np.mean(values)), sd)


def _count_array(gold: SpanSequences, predicted: SpanSequences) -> np.ndarray:
    """Return tp, predicted and gold spans of each sentence, shape (n, 3)."""
    if not len(gold):
        raise DataError("no sentences to resample; give at least one gold sentence.")
    counts = count_per_sentence(gold, predicted)
    return np.array([(c.tp, c.tp + c.fp, c.tp + c.fn) for c in counts], dtype=np.int64)


def _resample(counts: np.ndarray, num_resamples: int, seed: int) -> np.ndarray:
    """Return the summed counts of each resample: (n, systems, 3) to (num_resamples, systems, 3)."""
    if num_resamples < 1:
        raise ConfigError(f"num_resamples is {num_resamples}; it must be at least 1 (1000 is usual).")
    rng = np.random.default_rng(seed)
    num_sentences = len(counts)
    flat = counts.reshape(num_sentences, -1)
    # How often each sentence was drawn, times its counts: one resample at a time keeps memory small.
    draws = (rng.integers(num_sentences, size=num_sentences) for _ in range(num_resamples))
    sums = [np.bincount(draw, minlength=num_sentences) @ flat for draw in draws]
    return np.stack(sums).reshape(num_resamples, *counts.shape[1:])


def _micro_f1(counts: np.ndarray) -> np.ndarray:
    """Return F1 from summed counts, shape (..., 3) to (...,); 0.0 where undefined."""
    found, num_predicted, num_gold = np.moveaxis(counts, -1, 0)
    return 2.0 * found / np.maximum(num_predicted + num_gold, 1)


def _percentile_interval(values: np.ndarray, level: float) -> Interval:
    if not 0.0 < level < 1.0:
        raise ConfigError(f"level is {level}; it must lie between 0 and 1 (0.95 is usual).")
    low, high = np.quantile(values, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Interval(float(low), float(high))
