"""Scores of whole texts: accuracy, F1 and the majority baseline."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lookboth.errors import DataError
from lookboth.evaluation.metrics import count_spans
from lookboth.evaluation.scores import Scores, divide
from lookboth.types import Span


@dataclass(frozen=True, slots=True)
class TextScores(Scores):
    """Scores of a labeler on whole texts; equal to scikit-learn's.

    Args:
        accuracy: share of texts with exactly the right labels.
        majority_label: the most frequent gold label; "" if there are no labels.
        majority: the main score of a baseline that predicts this label for every text.
    """

    accuracy: float = 0.0
    majority_label: str = ""
    majority: float = 0.0

    @property
    def headline(self) -> float:
        """The main score: accuracy, or micro F1 if a text may have several labels."""
        return self.accuracy if self.headline_name == "accuracy" else self.micro.f1

    @property
    def headline_name(self) -> str:
        """Name of the main score."""
        return "micro F1" if self.scheme == "multi-label" else "accuracy"

    def to_dict(self) -> dict[str, Any]:
        """Return all scores as JSON."""
        majority = {"label": self.majority_label, "score": self.majority}
        return {**Scores.to_dict(self), "accuracy": self.accuracy, "majority": majority}

    def describe(self) -> str:
        """Return a table in percent, one line per label, with the majority baseline after the score.

        >>> print(score_texts([["ham"], ["spam"]], [["ham"], ["ham"]]).describe())
        whole texts: 2 texts
        label  precision  recall      F1  gold
        ham        50.00  100.00   66.67     1
        spam        0.00    0.00    0.00     1
        micro      50.00   50.00   50.00     2
        macro      25.00   50.00   33.33     2
        accuracy 50.00
        always 'ham': accuracy 50.00
        """
        baseline = f"always {self.majority_label!r}: {self.headline_name} {100 * self.majority:.2f}"
        return f"{Scores.describe(self)}\naccuracy {100 * self.accuracy:.2f}\n{baseline}"

    def _size(self) -> str:
        return f"{self.num_sentences:,} text{'' if self.num_sentences == 1 else 's'}"


def score_texts(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], *, multi_label: bool = False
) -> TextScores:
    """Score the labels of whole texts.

    Precision, recall and F1 count labels; macro scores are means over the labels that occur in the gold data or
    in the prediction.

    Args:
        gold: the labels of each text; exactly one in a single-label task.
        predicted: the predicted labels of each text, in the same order.
        multi_label: whether a text may have any number of labels; the main score is then micro F1.

    Raises:
        DataError: the numbers of texts differ.
    """
    if len(gold) != len(predicted):
        raise DataError(
            f"{len(gold)} gold texts but {len(predicted)} predicted ones; give one prediction per text."
        )
    right = sum(set(wanted) == set(found) for wanted, found in zip(gold, predicted, strict=True))
    label, majority = _majority(gold, multi_label)
    return TextScores(
        scorer="whole texts, several labels" if multi_label else "whole texts",
        scheme="multi-label" if multi_label else "single-label",
        per_label=count_spans(_as_spans(gold), _as_spans(predicted)),
        num_sentences=len(gold),
        accuracy=divide(right, len(gold)),
        majority_label=label,
        majority=majority,
    )


def _majority(gold: Sequence[Sequence[str]], multi_label: bool) -> tuple[str, float]:
    """Return the most frequent label (ties: alphabetical order) and the score of always predicting it."""
    counts = Counter(label for labels in gold for label in set(labels))
    if not counts:
        return "", 0.0
    label = min(counts, key=lambda name: (-counts[name], name))
    if multi_label:
        # F1 of one label for every text: 2 tp / (predicted + gold labels).
        return label, 2 * counts[label] / (len(gold) + counts.total())
    return label, counts[label] / len(gold)


def _as_spans(labels: Sequence[Sequence[str]]) -> list[list[Span]]:
    # A label counts like a span over one word, so that both tasks share `count_spans`.
    return [[Span(0, 1, label) for label in of_text] for of_text in labels]
