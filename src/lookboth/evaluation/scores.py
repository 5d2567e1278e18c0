"""Result types of scoring: counts that can be added, averages, and the scores of one file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


class Average(NamedTuple):
    """Unweighted means over labels, each in [0, 1]."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of true positives (tp), false positives (fp) and false negatives (fn) among spans.

    >>> both = Counts(tp=1, fp=1, fn=0) + Counts(tp=1, fp=0, fn=2)
    >>> both
    Counts(tp=2, fp=1, fn=2)
    >>> both.recall
    0.5
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def support(self) -> int:
        """Number of gold spans."""
        return self.tp + self.fn

    @property
    def precision(self) -> float:
        """Share of the predicted spans that are correct; 0.0 when nothing was predicted."""
        return divide(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Share of the gold spans that were found; 0.0 when there are none."""
        return divide(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0.0 when both are 0."""
        # Not 2tp / (2tp + fp + fn): seqeval computes F1 from precision and recall, and the last digit differs.
        return divide(2.0 * self.precision * self.recall, self.precision + self.recall)

    def to_dict(self) -> dict[str, float]:
        """Return scores and counts for JSON."""
        return {
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "tp": self.tp,
            "fp": self.fp,
            "fn": self.fn,
            "support": self.support,
        }


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of a labeler on one file.

    Args:
        scorer: the matching rule, for example "strict entity-level, IOB2".
        scheme: the tag scheme; "plain" for tasks that tag every word (POS).
        per_label: counts of each label that occurs in the gold data or in the prediction, sorted by label.
        num_sentences: number of sentences.
        num_words: number of words, or None when only spans were given.
        token_accuracy: share of words with the right tag, or None when no tags were given.
        conlleval_f1: micro F1 as conlleval computes it, or None when no tags were given or the scheme
            is "plain".
    """

    scorer: str
    scheme: str
    per_label: Mapping[str, Counts]
    num_sentences: int
    num_words: int | None = None
    token_accuracy: float | None = None
    conlleval_f1: float | None = None

    @property
    def micro(self) -> Counts:
        """Counts summed over all labels."""
        return sum(self.per_label.values(), Counts())

    @property
    def macro(self) -> Average:
        """Mean over the labels that occur in the gold data or in the prediction, as in seqeval's macro avg."""
        counts = self.per_label.values()
        return Average(
            _mean([c.precision for c in counts]),
            _mean([c.recall for c in counts]),
            _mean([c.f1 for c in counts]),
        )

    @property
    def headline(self) -> float:
        """The main score: token accuracy for plain tags, micro F1 for spans."""
        if self.scheme == "plain" and self.token_accuracy is not None:
            return self.token_accuracy
        return self.micro.f1

    @property
    def headline_name(self) -> str:
        """Name of the main score."""
        return "token accuracy" if self.scheme == "plain" else "micro F1"

    def to_dict(self) -> dict[str, Any]:
        """Return all scores as JSON; scores that were not computed are None."""
        return {
            "scorer": self.scorer,
            "scheme": self.scheme,
            "headline": self.headline,
            "micro": self.micro.to_dict(),
            "macro": self.macro._asdict(),
            "per_label": {label: counts.to_dict() for label, counts in self.per_label.items()},
            "num_sentences": self.num_sentences,
            "num_words": self.num_words,
            "token_accuracy": self.token_accuracy,
            "conlleval_f1": self.conlleval_f1,
        }

    def describe(self) -> str:
        r"""Return a table in percent, one line per label.

        >>> per_label = {"LOC": Counts(fn=1), "PER": Counts(tp=1)}
        >>> scores = Scores("strict entity-level, IOB2", "IOB2", per_label, 1, 4, 0.75, 2 / 3)
        >>> print(scores.describe())
        strict entity-level, IOB2: 1 sentence, 4 words
        label  precision  recall      F1  gold
        LOC         0.00    0.00    0.00     1
        PER       100.00  100.00  100.00     1
        micro     100.00   50.00   66.67     2
        macro      50.00   50.00   50.00     2
        conlleval F1 66.67
        token accuracy 75.00
        """
        width = max(len("macro"), *map(len, self.per_label), 0)
        support = self.micro.support
        rows = [_row(label, counts, counts.support, width) for label, counts in self.per_label.items()]
        rows += [_row("micro", self.micro, support, width), _row("macro", self.macro, support, width)]
        lines = [
            f"{self.scorer}: {self._size()}",
            f"{'label':{width}}  precision  recall      F1  gold",
            *rows,
        ]
        if self.conlleval_f1 is not None:
            lines.append(f"conlleval F1 {100 * self.conlleval_f1:.2f}")
        if self.token_accuracy is not None:
            lines.append(f"token accuracy {100 * self.token_accuracy:.2f}")
        return "\n".join(lines)

    def _size(self) -> str:
        size = f"{self.num_sentences:,} sentence{'' if self.num_sentences == 1 else 's'}"
        return size if self.num_words is None else f"{size}, {self.num_words:,} words"


def divide(numerator: float, denominator: float) -> float:
    """Return the quotient; 0.0 if the denominator is 0, as undefined scores count as 0."""
    return numerator / denominator if denominator else 0.0


def _row(name: str, row: Counts | Average, support: int, width: int) -> str:
    percents = f"{100 * row.precision:9.2f}  {100 * row.recall:6.2f}  {100 * row.f1:6.2f}"
    return f"{name:{width}}  {percents}  {support:4d}"


def _mean(values: Sequence[float]) -> float:
    # numpy sums pairwise, as seqeval does; with 8 or more labels a plain sum differs in the last digit.
    return float(np.mean(values)) if values else 0.0
