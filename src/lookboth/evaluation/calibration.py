"""Calibration in numpy: reliability bins, temperature, score thresholds and conformal prediction sets."""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

_GOLDEN = (math.sqrt(5) - 1) / 2
# Smallest probability in the log loss: without a floor, one wrong decision with score 1.0 makes the loss infinite.
_LEAST_PROBABILITY = 1e-7


class Bin(NamedTuple):
    """Decisions with scores from `low` to `high`: their number, mean score and share of correct ones."""

    low: float
    high: float
    number: int
    mean_score: float
    share_right: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """Scores of decisions compared with how often such decisions are correct.

    Args:
        bins: bins of equal width; empty bins are left out.
        count: number of decisions.
        error: expected calibration error, 0 to 1.
        log_loss: mean negative log-likelihood of the outcome (correct or not), in nats.
    """

    bins: tuple[Bin, ...]
    count: int
    error: float
    log_loss: float

    def to_dict(self) -> dict[str, Any]:
        """Return the value as JSON; a bin is [low, high, count, mean score, share right]."""
        return {
            "expected_calibration_error": self.error,
            "log_loss": self.log_loss,
            "count": self.count,
            "bins": [list(item) for item in self.bins],
        }

    def describe(self) -> str:
        """Return the reliability table as text."""
        lines = [f"expected calibration error of {self.count} scores: {100 * self.error:.1f} %"]
        if self.bins:
            lines.append(f"{'score':>9} {'number':>8} {'mean score':>11} {'right':>7}")
        for item in self.bins:
            place = f"{item.low:.1f}-{item.high:.1f}"
            shares = f"{100 * item.mean_score:>10.1f}% {100 * item.share_right:>6.1f}%"
            lines.append(f"{place:>9} {item.number:>8} {shares}")
        return "\n".join(lines)


def decisions(
    gold: Sequence[Sequence[Sequence[Any]]], found: Sequence[Sequence[Any]]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the score of each predicted span and whether it is correct, both of shape (n,).

    A span is correct if the gold data have a span with the same start, end and label.

    Args:
        gold: gold spans of each text: start, end, label.
        found: predicted spans of each text: start, end, label and `score`.
    """
    scores, right = [], []
    for wanted, given in zip(gold, found, strict=True):
        known = {tuple(span[:3]) for span in wanted}
        scores += [span.score for span in given]
        right += [tuple(span[:3]) in known for span in given]
    return np.asarray(scores, dtype=float), np.asarray(right, dtype=bool)


def reliability(scores: np.ndarray, right: np.ndarray, *, num_bins: int = 10) -> Reliability:
    """Return the reliability of scores as probabilities of being correct.

    Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv 1706.04599), section 2, with bins of equal
    width. The error is the mean distance between mean score and share of correct decisions, weighted by bin size.

    Args:
        scores: in [0, 1], shape (n,); right: shape (n,).
        num_bins: at least 1.

    >>> reliability(np.array([0.9, 0.9, 0.9, 0.9]), np.array([True, True, False, False])).error
    0.4
    """
    count = len(scores)
    places = np.minimum((scores * num_bins).astype(int), num_bins - 1)
    bins = []
    for number in np.unique(places):
        inside = places == number
        means = float(scores[inside].mean()), float(right[inside].mean())
        low, high = float(number / num_bins), float((number + 1) / num_bins)
        bins.append(Bin(low, high, int(inside.sum()), *means))
    error = sum(item.number * abs(item.mean_score - item.share_right) for item in bins) / max(count, 1)
    return Reliability(tuple(bins), count, error, log_loss(scores, right) if count else 0.0)


def log_loss(scores: np.ndarray, right: np.ndarray) -> float:
    """Return the mean negative log-likelihood of the outcomes, in nats.

    Args:
        scores: probability that each decision is correct, shape (n,).
        right: whether it is correct, shape (n,).
    """
    likelihoods = np.clip(np.where(right, scores, 1 - scores), _LEAST_PROBABILITY, 1)
    return float(-np.log(likelihoods).mean())


def fit_temperature(
    scores_at: Callable[[float], np.ndarray], right: np.ndarray, *, low: float = 0.1, high: float = 10.0
) -> float:
    """Return the temperature that minimizes the log loss of the decisions, found by golden-section search.

    Guo et al. 2017, section 4.2, but with the loss over reported spans instead of over all tags. Most words are outside
    any span, and their probabilities are not reported.

    Args:
        scores_at: returns the score of each decision at a temperature, shape (n,).
        right: whether each decision is correct, shape (n,), n > 0.
        low, high: bounds of the search, on a logarithmic scale.
    """

    def loss(log_temperature: float) -> float:
        return log_loss(scores_at(math.exp(log_temperature)), right)

    # The loss may have several minima: a coarse grid finds the interval in which golden-section search is safe.
    grid = np.linspace(math.log(low), math.log(high), 21)
    best = int(np.argmin([loss(point) for point in grid]))
    left, end = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, len(grid) - 1)])
    while end - left > 1e-4:
        one, two = end - _GOLDEN * (end - left), left + _GOLDEN * (end - left)
        if loss(one) <= loss(two):
            end = two
        else:
            left = one
    return math.exp((left + end) / 2)


def threshold_for(scores: np.ndarray, right: np.ndarray, precision: float) -> float | None:
    """Return the lowest score threshold at which the precision is at least `precision`.

    Args:
        scores: score of each decision, shape (n,).
        right: whether each decision is correct, shape (n,).
        precision: required share of correct decisions at or above the threshold, in [0, 1].

    Returns:
        The threshold, or None if no threshold reaches this precision.

    >>> threshold_for(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, True, False, True]), 0.75)
    0.6
    """
    order = np.argsort(-scores, kind="stable")
    share = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    # A threshold keeps all decisions with one score or none: only the last of equal scores is a candidate.
    is_last = np.append(scores[order][1:] != scores[order][:-1], True)[: len(order)]
    reached = np.flatnonzero(is_last & (share >= precision))
    return float(scores[order][reached[-1]]) if len(reached) else None


def conformal_quantile(groups: Sequence[np.ndarray], coverage: float) -> float:
    """Return an upper bound for a new value that holds with probability `coverage` for any distribution.

    Hierarchical conformal prediction (HCP): Lee, Barber and Willett 2023, "Distribution-free inference with
    hierarchical data" (arXiv 2306.06342). Groups (sentences) must be exchangeable; the values in a group (its words)
    may depend on each other. Each of k groups has the weight 1 / (k + 1), shared by its values; infinity has the same
    weight. The guarantee holds for a value drawn at random from a new group. With one value per group this is split
    conformal prediction (Vovk, Gammerman and Shafer 2005).

    Args:
        groups: values of each group, none empty.
        coverage: in [0, 1].

    Returns:
        The bound; infinity if there are too few groups for this coverage.

    >>> conformal_quantile([np.array([value]) for value in (0.1, 0.4, 0.2, 0.3)], 0.8), conformal_quantile([], 0.5)
    (0.4, inf)
    """
    if not groups:
        return math.inf
    values = np.concatenate(groups)
    weights = np.concatenate([np.full(len(group), 1 / len(group)) for group in groups])
    order = np.argsort(values, kind="stable")
    # The sum of weights such as 1/3 may miss a bound that it reaches exactly; 1e-9 absorbs the rounding.
    reached = np.cumsum(weights[order]) >= coverage * (len(groups) + 1) - 1e-9
    return float(values[order][reached.argmax()]) if reached.any() else math.inf


class Coverage(NamedTuple):
    """Measured coverage of sets of tags: how often a set contains the gold tag.

    Args:
        by_tag: for each gold tag, the share of its words whose set contains it, averaged over the sentences with such
            words. The conformal guarantee is about this number.
        overall: share of all words whose set contains the gold tag.
        mean_size: mean number of tags per set.
    """

    by_tag: dict[str, float]
    overall: float
    mean_size: float

    def describe(self) -> str:
        """Return the coverage as text."""
        tags = ", ".join(f"{tag} {100 * share:.1f} %" for tag, share in self.by_tag.items())
        return (
            f"sets of tags contain the right one for {100 * self.overall:.1f} % of the words, "
            f"{self.mean_size:.2f} tags per set; by tag: {tags}"
        )


def measure_coverage(gold: Sequence[Sequence[str]], sets: Sequence[Sequence[Sequence[str]]]) -> Coverage:
    """Measure how often sets of tags contain the gold tag.

    Args:
        gold: gold tags of each sentence, one per word.
        sets: set of tags of each word of each sentence.

    >>> measure_coverage([["O", "B-PER"]], [[["O"], ["O", "B-LOC"]]])
    Coverage(by_tag={'B-PER': 0.0, 'O': 1.0}, overall=0.5, mean_size=1.5)
    """
    hits: dict[Hashable, list[bool]] = {}
    sizes: list[int] = []
    for number, (tags, given) in enumerate(zip(gold, sets, strict=True)):
        for tag, held in zip(tags, given, strict=True):
            hits.setdefault((tag, number), []).append(tag in held)
            sizes.append(len(held))
    by_tag: dict[str, list[float]] = {}
    for (tag, _), found in hits.items():  # type: ignore[misc]
        by_tag.setdefault(tag, []).append(float(np.mean(found)))
    overall = [hit for found in hits.values() for hit in found]
    return Coverage(
        {tag: float(np.mean(by_tag[tag])) for tag in sorted(by_tag)},
        float(np.mean(overall)) if overall else 1.0,
        float(np.mean(sizes)) if sizes else 0.0,
    )
