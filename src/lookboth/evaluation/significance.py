"""Variation over sentences, for the same labelers: bootstrap intervals, paired bootstrap, approximate randomization.

These tests concern the choice of sentences; `seeds.py` covers the variation over seeds. Several runs of one setting
are compared by their mean, on the same sentences for all runs.
"""

from typing import NamedTuple

import numpy as np

from lookboth.errors import ConfigError, DataError
from lookboth.evaluation.metrics import SpanSequences, count_per_sentence


class Interval(NamedTuple):
    """A confidence interval from `low` to `high`."""

    low: float
    high: float


class Comparison(NamedTuple):
    """The difference in micro F1 between two labelers on the same sentences.

    Args:
        difference: F1 of the first minus F1 of the second, in [-1, 1].
        low, high: bootstrap interval of the difference.
        p_value: two-sided; probability of a difference at least this large by chance alone.
    """

    difference: float
    low: float
    high: float
    p_value: float


class Randomization(NamedTuple):
    """A difference in micro F1 and its p-value by approximate randomization.

    Args:
        difference: F1 of the first minus F1 of the second, in [-1, 1].
        p_value: two-sided.
    """

    difference: float
    p_value: float


def bootstrap_interval(
    gold: SpanSequences,
    predicted: SpanSequences,
    *,
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the percentile bootstrap interval of micro F1 over resampled sentences.

    Args:
        gold: the gold spans of each sentence.
        predicted: the predicted spans of each sentence, in the same order.
        num_resamples: number of resamples, drawn with replacement.
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
    resampled = resampled_f1(sentence_counts(gold, predicted), num_resamples=num_resamples, seed=seed)
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

    Both are scored on the same resampled sentences. The p-value is the share of resampled differences that are at
    least as far from the observed difference as that is from zero (Berg-Kirkpatrick et al. 2012, "An Empirical
    Investigation of Statistical Significance in NLP", section 2, here two-sided). It covers the choice of sentences,
    not the choice of seeds.

    Args:
        gold: the gold spans of each sentence.
        predicted_a: the first labeler's spans of each sentence.
        predicted_b: the second labeler's.
        num_resamples: number of resamples, drawn with replacement.
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
    counts = (sentence_counts(gold, predicted)[None] for predicted in (predicted_a, predicted_b))
    return bootstrap_seeds(*counts, num_resamples=num_resamples, level=level, seed=seed)


def approximate_randomization(
    gold: SpanSequences,
    predicted_a: SpanSequences,
    predicted_b: SpanSequences,
    *,
    num_shuffles: int = 10_000,
    seed: int = 0,
) -> Randomization:
    """Compare two labelers on the same sentences with approximate randomization.

    Under the null hypothesis the outputs of the two labelers for a sentence can be exchanged. The p-value is the share
    of random exchanges with a difference at least as large as the observed one (Yeh 2000, "More accurate tests for the
    statistical significance of result differences").

    Args:
        gold: the gold spans of each sentence.
        predicted_a: the first labeler's spans of each sentence.
        predicted_b: the second labeler's.
        num_shuffles: number of random exchanges; the smallest p-value is 1 / (num_shuffles + 1).
        seed: seed of the draws.

    Raises:
        DataError: when there are no sentences, or not one prediction for each.
        ConfigError: when `num_shuffles` is out of range.

    >>> from lookboth.types import Span
    >>> gold = [[Span(0, 1, "PER")]] * 12
    >>> approximate_randomization(gold, gold, [[]] * 12, num_shuffles=999).p_value < 0.01
    True
    """
    counts = (sentence_counts(gold, predicted)[None] for predicted in (predicted_a, predicted_b))
    return randomize_seeds(*counts, num_shuffles=num_shuffles, seed=seed)


def sentence_counts(gold: SpanSequences, predicted: SpanSequences) -> np.ndarray:
    """Return the number of correct, predicted and gold spans of each sentence, shape (n, 3).

    Args:
        gold: the gold spans of each sentence.
        predicted: the predicted spans of each sentence, in the same order.

    Raises:
        DataError: when there are no sentences, or not one prediction for each.
    """
    if not len(gold):
        raise DataError("no sentences to resample; give at least one gold sentence.")
    counts = count_per_sentence(gold, predicted)
    return np.array([(c.tp, c.tp + c.fp, c.tp + c.fn) for c in counts], dtype=np.int64)


def bootstrap_seeds(
    counts_a: np.ndarray,
    counts_b: np.ndarray,
    *,
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare the mean F1 over the seeds of two settings with the paired bootstrap (see `paired_bootstrap`).

    Args:
        counts_a: `sentence_counts` of each seed of the first setting, shape (seeds, n, 3).
        counts_b: of the second, on the same sentences, the same shape.
        num_resamples, level, seed: as in `paired_bootstrap`.

    Raises:
        DataError: when the two differ in shape.
        ConfigError: when `level` or `num_resamples` is out of range.
    """
    counts = _side_by_side(counts_a, counts_b)  # (n, 2, seeds, 3)
    difference = float(_mean_difference(counts.sum(axis=0)))
    differences = _mean_difference(_resample(counts, num_resamples, seed))  # (num_resamples,)
    low, high = _percentile_interval(differences, level)
    num_extreme = int((np.abs(differences - difference) >= abs(difference)).sum())
    return Comparison(difference, low, high, p_value=(num_extreme + 1) / (num_resamples + 1))


def randomize_seeds(
    counts_a: np.ndarray, counts_b: np.ndarray, *, num_shuffles: int = 10_000, seed: int = 0
) -> Randomization:
    """Compare the mean F1 over the seeds of two settings by approximate randomization.

    The outputs of all seeds for a sentence are exchanged together, because they are not independent.

    Args:
        counts_a: `sentence_counts` of each seed of the first setting, shape (seeds, n, 3).
        counts_b: of the second, on the same sentences, the same shape.
        num_shuffles, seed: as in `approximate_randomization`.

    Raises:
        DataError: when the two differ in shape.
        ConfigError: when `num_shuffles` is out of range.
    """
    if num_shuffles < 1:
        raise ConfigError(f"num_shuffles is {num_shuffles}; it must be at least 1 (10000 is usual).")
    counts = _side_by_side(counts_a, counts_b)
    total = counts.sum(axis=0)  # (2, seeds, 3)
    observed = float(_mean_difference(total))
    # Exchanging equal counts changes nothing, so those sentences are skipped.
    changed = counts[(counts[:, 0] != counts[:, 1]).any(axis=(1, 2))]
    shuffled = _mean_difference(_exchange(changed, total, num_shuffles, seed))
    # 1e-12 absorbs rounding: an exchange with exactly the observed difference must count as extreme.
    num_extreme = int((np.abs(shuffled) >= abs(observed) - 1e-12).sum())
    return Randomization(observed, p_value=(num_extreme + 1) / (num_shuffles + 1))


def resampled_f1(counts: np.ndarray, *, num_resamples: int = 1000, seed: int = 0) -> np.ndarray:
    """Return micro F1 of each resample of sentences: counts (n, ..., 3) to (num_resamples, ...).

    Args:
        counts: `sentence_counts`, for several labelers on the same sentences stacked along inner axes.
        num_resamples, seed: as in `bootstrap_interval`.

    Raises:
        ConfigError: when `num_resamples` is out of range.
    """
    return _micro_f1(_resample(counts, num_resamples, seed))


def _resample(counts: np.ndarray, num_resamples: int, seed: int) -> np.ndarray:
    """Return the summed counts of each resample: (n, ..., 3) to (num_resamples, ..., 3)."""
    if num_resamples < 1:
        raise ConfigError(f"num_resamples is {num_resamples}; it must be at least 1 (1000 is usual).")
    rng = np.random.default_rng(seed)
    num_sentences = len(counts)
    flat = counts.reshape(num_sentences, -1)
    # A resample's sum is the number of draws of each sentence times its counts; one resample at a time saves memory.
    draws = (rng.integers(num_sentences, size=num_sentences) for _ in range(num_resamples))
    sums = [np.bincount(draw, minlength=num_sentences) @ flat for draw in draws]
    return np.stack(sums).reshape(num_resamples, *counts.shape[1:])


def _exchange(counts: np.ndarray, total: np.ndarray, num_shuffles: int, seed: int) -> np.ndarray:
    """Return the summed counts after each shuffle: (n, 2, seeds, 3) to (num_shuffles, 2, seeds, 3)."""
    rng = np.random.default_rng(seed)
    surplus = (counts[:, 0] - counts[:, 1]).reshape(len(counts), total[0].size).astype(float)
    moved = []
    # 500 shuffles at a time bound the memory to 500 x n floats.
    for first in range(0, num_shuffles, 500):
        size = (min(500, num_shuffles - first), len(counts))
        moved.append(rng.integers(2, size=size, dtype=np.uint8).astype(float) @ surplus)
    step = np.concatenate(moved).reshape(num_shuffles, *total[0].shape)
    return np.stack([total[0] - step, total[1] + step], axis=1)


def _side_by_side(counts_a: np.ndarray, counts_b: np.ndarray) -> np.ndarray:
    if counts_a.shape != counts_b.shape or counts_a.ndim != 3:
        raise DataError(
            f"counts of shapes {counts_a.shape} and {counts_b.shape}; both must be (seeds, sentences, 3), with the "
            "same seeds and the same sentences."
        )
    return np.stack([counts_a, counts_b], axis=1).transpose(2, 1, 0, 3)


def _mean_difference(counts: np.ndarray) -> np.ndarray:
    """Return the mean F1 over seeds of the first minus that of the second: (..., 2, seeds, 3) to (...)."""
    f1 = _micro_f1(counts).mean(axis=-1)
    return f1[..., 0] - f1[..., 1]


def _micro_f1(counts: np.ndarray) -> np.ndarray:
    """Return F1 from summed counts, shape (..., 3) to (...,); 0.0 where undefined."""
    found, num_predicted, num_gold = np.moveaxis(counts, -1, 0)
    return 2.0 * found / np.maximum(num_predicted + num_gold, 1)


def _percentile_interval(values: np.ndarray, level: float) -> Interval:
    if not 0.0 < level < 1.0:
        raise ConfigError(f"level is {level}; it must lie between 0 and 1 (0.95 is usual).")
    low, high = np.quantile(values, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Interval(float(low), float(high))
