"""Learning curves: F1 with parts of the data, and what twice the data is likely to bring."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lookboth.audit.auditing import choose_sentences, predicted_spans
from lookboth.audit.out_of_fold import probs_of_folds
from lookboth.config import RunConfig
from lookboth.evaluation import Interval, resampled_f1, sentence_counts
from lookboth.types import Example

# The parts of the training data, smallest first: 1/8, 1/4, 1/2 and all.
DENOMINATORS = (8, 4, 2, 1)
# Largest deviation of an error rate from the fitted law, relative to it; measured errors vary by a few percent.
_MOST_DEVIATION = 0.1
_LEAST_GAIN = 1e-4  # a hundredth of a point of F1, less than any report shows
_LEAST_ERROR = 1e-3  # so that the logarithm exists


@dataclass(frozen=True, slots=True)
class Point:
    """Micro F1 of trainings on `sentences` sentences, with its 95 % interval over the judged sentences."""

    sentences: int
    f1: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """F1 by the number of training sentences, and the gain that twice the data is likely to bring.

    Args:
        points: smallest number of sentences first.
        gain: expected gain in F1 of twice the largest number of sentences.
        interval: 95 % interval of the gain over the judged sentences.
        doubt: why the gain cannot be told; "" if it can.
    """

    points: Sequence[Point]
    gain: float
    interval: Interval
    doubt: str

    def describe(self) -> str:
        """Return the curve as a table, and the expected gain or the reason why it cannot be told."""
        lines = ["sentences      F1  95 % interval"]
        for point in self.points:
            low, high = (100 * bound for bound in point.interval)
            lines.append(f"{point.sentences:9d}  {100 * point.f1:6.2f}  {low:.1f} to {high:.1f}")
        if self.doubt:
            return "\n".join([*lines, f"What twice the data would bring cannot be told: {self.doubt}."])
        low, high = (100 * bound for bound in self.interval)
        gain = f"Twice the data is likely to bring {100 * self.gain:+.1f} F1 (95 % interval {low:+.1f} to {high:+.1f})"
        return "\n".join(
            [*lines, f"{gain}, if the error keeps falling as a power of the number of sentences."]
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the curve as JSON values."""
        return asdict(self)


def measure_learning_curve(config: RunConfig, out: str | Path, *, num_folds: int = 5) -> LearningCurve:
    """Train on parts of the data, score every sentence out of fold, and extrapolate to twice the data.

    Each training has about the same number of steps. The folds of all the data are those of an audit in the same
    folder. An interrupted call resumes when repeated.

    Args:
        config, out, num_folds: as in `audit_data`.

    Raises:
        LookbothError: as in `audit_data`.
    """
    dataset, chosen = choose_sentences(config)
    examples = [dataset.examples[index] for index in chosen]
    gold = [example.spans for example in examples]
    counts = []
    for part in DENOMINATORS:
        folder = Path(out) if part == 1 else Path(out) / f"part-{part}"
        probs = probs_of_folds(config, examples, folder, num_folds=num_folds, denominator=part)
        counts.append(sentence_counts(gold, predicted_spans(probs)))
    return extrapolate(_sizes(examples, num_folds), np.stack(counts, axis=1))


def extrapolate(sizes: Sequence[int], counts: np.ndarray) -> LearningCurve:
    """Fit a power law to the error 1 - F1 and return the curve with the expected gain of twice the data.

    The law error = a * n ** -b is fitted by least squares to logarithms, as in Hestness et al. 2017, "Deep Learning
    Scaling is Predictable, Empirically" (arXiv 1712.00409). The gain starts from the measured last point.

    Args:
        sizes: numbers of training sentences, increasing, shape (p,).
        counts: `sentence_counts` of each, on the same sentences, shape (n, p, 3).
    """
    measured = resampled_f1(counts.sum(axis=0, keepdims=True), num_resamples=1)[0]
    resampled = resampled_f1(counts)
    bounds = np.quantile(resampled, [0.025, 0.975], axis=0)
    points = [
        Point(size, float(f1), Interval(float(low), float(high)))
        for size, f1, low, high in zip(sizes, measured, *bounds, strict=True)
    ]
    gains, _ = _gains(sizes, resampled)
    (gain,), (deviation,) = _gains(sizes, measured[None])
    low, high = (float(bound) for bound in np.quantile(gains, [0.025, 0.975]))
    return LearningCurve(points, float(gain), Interval(low, high), _doubt(measured, low, deviation))


def _gains(sizes: Sequence[int], f1: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the gain of twice the data and the largest deviation from the law, for each row of F1 (r, p)."""
    x, errors = np.log(np.asarray(sizes, dtype=float)), np.log(np.maximum(1 - f1, _LEAST_ERROR))
    centered = x - x.mean()
    slopes = errors @ centered / (centered @ centered)
    fitted = errors.mean(axis=1, keepdims=True) + slopes[:, None] * centered
    return np.exp(errors[:, -1]) * (1 - 2**slopes), np.abs(np.expm1(errors - fitted)).max(axis=1)


def _doubt(f1: np.ndarray, low: float, deviation: float) -> str:
    """Return why a gain cannot be told; "" if it can."""
    if f1.min() == 0:
        return "with a part of the data nothing was learned; train longer, or add data"
    if deviation > _MOST_DEVIATION:
        return (
            f"the errors deviate by up to {100 * deviation:.0f} % from a power law; use more --folds or seeds"
        )
    if low < _LEAST_GAIN:
        return "the interval of the gain contains 0; use more --folds or seeds"
    return ""


def _sizes(examples: Sequence[Example], num_folds: int) -> list[int]:
    """Return about how many sentences each part trains on: a tenth of those outside a fold chooses the epoch."""
    total = sum(bool(example.words) for example in examples) * (1 - 1 / num_folds) * 0.9
    return [max(1, round(total / part)) for part in DENOMINATORS]
