"""How far probabilities can be trusted, and made so: reliability, temperature, thresholds, conformal sets (numpy)."""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

_GOLDEN = (math.sqrt(5) - 1) / 2
_SURE = 1e-7  # a decision is never believed more certain: one mistake at 1.0 would outweigh all others


class Bin(NamedTuple):
    """The decisions with scores from `low` to `high`: how many, their mean score and the share that is right."""

    low: float
    high: float
    number: int
    mean_score: float
    share_right: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """Scores of decisions beside how often such decisions are right.

    Args:
        bins: of equal width, those without decisions left out.
        count: of all decisions.
        error: expected calibration error, 0 to 1.
        log_loss: mean of minus the log of the probability given to what was the case.
    """

    bins: tuple[Bin, ...]
    count: int
    error: float
    log_loss: float

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; a bin is [low, high, count, mean score, share right]."""
        return {
            "expected_calibration_error": self.error,
            "log_loss": self.log_loss,
            "count": self.count,
            "bins": [list(item) for item in self.bins],
        }

    def describe(self) -> str:
        """Return the reliability table a person reads."""
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
    """Return the score of everything found, (n,), and whether it is in the gold data just so, (n,).

    Args:
        gold: spans of each text: start, end, label.
        found: spans of each text with these three and a `score`.
    """
    scores, right = [], []
    for wanted, given in zip(gold, found, strict=True):
        known = {tuple(span[:3]) for span in wanted}
        scores += [span.score for span in given]
        right += [tuple(span[:3]) in known for span in given]
    return np.asarray(scores, dtype=float), np.asarray(right, dtype=bool)


def reliability(scores: np.ndarray, right: np.ndarray, *, num_bins: int = 10) -> Reliability:
    """Return how well scores tell how often decisions are right.

    Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv 1706.04599), section 2: bins of equal width, the
    error is the mean distance of mean score and share right, weighted by decisions.

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
    """Return the mean of minus the log of what was believed of what was the case."""
    believed = np.clip(np.where(right, scores, 1 - scores), _SURE, 1)
    return float(-np.log(believed).mean())


def fit_temperature(
    scores_at: Callable[[float], np.ndarray], right: np.ndarray, *, low: float = 0.1, high: float = 10.0
) -> float:
    """Return the temperature under which the scores of decisions have the least log loss.

    Guo et al. 2017, section 4.2, with the loss of the decisions that are reported (is the span right?) in place of that
    of all tags: most words are outside of any span, and their probabilities are not what is shown.

    Args:
        scores_at: gives the score of each decision under a temperature, shape (n,).
        right: whether each is right, shape (n,), n > 0.
        low, high: bounds of the search, on a logarithmic scale.
    """

    def loss(log_temperature: float) -> float:
        return log_loss(scores_at(math.exp(log_temperature)), right)

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
    """Return the least score such that of the decisions with at least that score the wanted share is right.

    Args:
        scores: shape (n,); right: shape (n,).
        precision: wanted share, in [0, 1].

    Returns:
        None if no score reaches it.

    >>> threshold_for(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, True, False, True]), 0.75)
    0.6
    """
    order = np.argsort(-scores, kind="stable")
    share = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    # Decisions with equal scores stand or fall together: only the last of them ends a candidate.
    is_last = np.append(scores[order][1:] != scores[order][:-1], True)[: len(order)]
    reached = np.flatnonzero(is_last & (share >= precision))
    return float(scores[order][reached[-1]]) if len(reached) else None


def conformal_quantile(groups: Sequence[np.ndarray], coverage: float) -> float:
    """Return the bound that a new value stays below with probability `coverage`, whatever the distribution.

    Values of one group (words of one sentence) need not be independent, groups must be exchangeable: each of k groups
    weighs 1 / (k + 1), shared by its values, and so does infinity. The guarantee is for a value drawn at random from a
    new group. Lee, Barber and Willett 2023, "Distribution-free inference with hierarchical data" (arXiv 2306.06342),
    HCP; with one value a group it is split conformal prediction (Vovk, Gammerman and Shafer 2005).

    Args:
        groups: values of each group, none empty.
        coverage: in [0, 1].

    Returns:
        infinity where there are too few groups for so much coverage.

    >>> conformal_quantile([np.array([value]) for value in (0.1, 0.4, 0.2, 0.3)], 0.8), conformal_quantile([], 0.5)
    (0.4, inf)
    """
    if not groups:
        return math.inf
    values = np.concatenate(groups)
    weights = np.concatenate([np.full(len(group), 1 / len(group)) for group in groups])
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order]) >= coverage * (len(groups) + 1) - 1e-9
    return float(values[order][reached.argmax()]) if reached.any() else math.inf


class Coverage(NamedTuple):
    """How often sets hold the right tag.

    Args:
        by_tag: for each gold tag, the share of its words whose set has it, averaged over the sentences that have
            such words: what the guarantee is about.
        overall: the share of all words.
        mean_size: tags in a set, on average.
    """

    by_tag: dict[str, float]
    overall: float
    mean_size: float

    def describe(self) -> str:
        """Return what a person reads."""
        tags = ", ".join(f"{tag} {100 * share:.1f} %" for tag, share in self.by_tag.items())
        return (
            f"sets of tags hold the right one for {100 * self.overall:.1f} % of the words, {self.mean_size:.2f} tags "
            f"a set; by tag: {tags}"
        )


def measure_coverage(gold: Sequence[Sequence[str]], sets: Sequence[Sequence[Sequence[str]]]) -> Coverage:
    """Return how often sets hold the right tag.

    Args:
        gold: tags of each sentence, one a word.
        sets: the set of each word.

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
