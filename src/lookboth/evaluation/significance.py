"""Other sentences, same labelers: bootstrap intervals, paired bootstrap, approximate randomization.

What these say concerns the sentences a score was taken on; what another seed would change is said by `seeds.py`.
Several runs of one setting are compared as their mean, on the same sentences for all of them.
"""

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


class Randomization(NamedTuple):
    """A difference in micro F1 and how often chance gives one as large, by approximate randomization.

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
    resampled = _micro_f1(_resample(sentence_counts(gold, predicted), num_resamples, seed))
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
    """Compare two labelers on the same sentences by exchanging their outputs at random.

    Were the two alike, it would not matter which of them gave which output of a sentence: the p-value counts how
    often exchanging the outputs of random sentences gives a difference at least as large as the observed one
    (Yeh 2000, "More accurate tests for the statistical significance of result differences").

    Args:
        gold: the gold spans of each sentence.
        predicted_a: the first labeler's spans of each sentence.
        predicted_b: the second labeler's.
        num_shuffles: how often outputs are exchanged; the smallest p-value is 1 / (num_shuffles + 1).
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
    """Return the right, the predicted and the gold spans of each sentence, shape (n, 3).

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

    The outputs of all seeds of a sentence are exchanged together: they are not independent of one another.

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
    changed = counts[(counts[:, 0] != counts[:, 1]).any(axis=(1, 2))]  # the others may as well stay
    shuffled = _mean_difference(_exchange(changed, total, num_shuffles, seed))
    # Half a rounding error of slack: an exchange that gives the same difference must count as extreme.
    num_extreme = int((np.abs(shuffled) >= abs(observed) - 1e-12).sum())
    return Randomization(observed, p_value=(num_extreme + 1) / (num_shuffles + 1))


def _resample(counts: np.ndarray, num_resamples: int, seed: int) -> np.ndarray:
    """Return the summed counts of each resample: (n, ..., 3) to (num_resamples, ..., 3)."""
    if num_resamples < 1:
        raise ConfigError(f"num_resamples is {num_resamples}; it must be at least 1 (1000 is usual).")
    rng = np.random.default_rng(seed)
    num_sentences = len(counts)
    flat = counts.reshape(num_sentences, -1)
    # How often each sentence was drawn, times its counts: one resample at a time keeps memory small.
    draws = (rng.integers(num_sentences, size=num_sentences) for _ in range(num_resamples))
    sums = [np.bincount(draw, minlength=num_sentences) @ flat for draw in draws]
    return np.stack(sums).reshape(num_resamples, *counts.shape[1:])


def _exchange(counts: np.ndarray, total: np.ndarray, num_shuffles: int, seed: int) -> np.ndarray:
    """Return the summed counts after each shuffle: (n, 2, seeds, 3) to (num_shuffles, 2, seeds, 3)."""
    rng = np.random.default_rng(seed)
    surplus = (counts[:, 0] - counts[:, 1]).reshape(len(counts), total[0].size).astype(float)
    moved = []
    for first in range(0, num_shuffles, 500):  # 500 at a time keep memory small
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
