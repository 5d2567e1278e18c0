"""Comparison of an exported labeler with the original: predictions, scores and speed."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

from lookboth.evaluation import Counts, count_spans
from lookboth.inference import HeadLabeler, example_scores, label_examples
from lookboth.types import Example, Prediction


class Found(NamedTuple):
    """Output of a labeler on some texts: the head's scores of each text, (w, num_tags), and the predictions."""

    scores: Sequence[np.ndarray]
    predictions: Sequence[Prediction]


@dataclass(frozen=True)
class Parity:
    """Comparison of an exported labeler with torch in fp32 on the same texts.

    Args:
        data: name of the texts.
        texts, words: their numbers.
        agreement: share of words with the same tag, or of texts with the same labels.
        span_f1: strict F1 of its spans (or labels of whole texts), with those of torch as gold.
        score_difference: largest absolute difference between two corresponding scores of the head.
        gold_f1: strict F1 of torch and of the exported labeler on the gold labels of the data; None without them.
        words_per_second: speed of torch (with merged adapter) and of the exported labeler, measured alternately.
        threads: threads of both.
    """

    data: str
    texts: int
    words: int
    agreement: float
    span_f1: float
    score_difference: float
    gold_f1: tuple[float, float] | None
    words_per_second: tuple[float, float]
    threads: int

    @property
    def loss(self) -> float:
        """Return 1 minus the span F1 of the exported labeler with the spans of torch as gold."""
        return 1 - self.span_f1

    def to_dict(self) -> dict[str, object]:
        """Return the comparison as a JSON object."""
        return asdict(self)

    def describe(self) -> str:
        """Return the comparison as lines of text."""
        torch_speed, own_speed = self.words_per_second
        lines = [
            f"compared with torch in fp32 on {self.data}: {self.texts} texts, {self.words} words",
            f"the same tags: {100 * self.agreement:.2f} % of words; the same spans: F1 {100 * self.span_f1:.2f}",
            f"largest difference of a score: {self.score_difference:.2g}",
        ]
        if self.gold_f1 is not None:
            lines.append(
                "strict F1 on the data's labels: "
                f"torch {100 * self.gold_f1[0]:.2f}, exported {100 * self.gold_f1[1]:.2f}"
            )
        lines.append(
            f"words per second: torch {torch_speed:,.0f}, exported {own_speed:,.0f} "
            f"({own_speed / torch_speed:.1f} times as fast; {self.threads} threads, alternating, best run of each)"
        )
        return "\n".join(lines)


def find(labeler: HeadLabeler, examples: Sequence[Example]) -> Found:
    """Run a labeler on `examples` and return its scores and predictions, in order."""
    return Found(example_scores(labeler, examples), list(label_examples(labeler, examples)))


def compare(
    reference: Found,
    exported: Found,
    examples: Sequence[Example],
    *,
    data: str,
    words_per_second: tuple[float, float],
    threads: int,
) -> Parity:
    """Compare the output of the exported labeler with that of torch.

    Args:
        reference, exported: output of torch and of the exported labeler on `examples`.
        examples: texts with or without gold labels; gold labels are ignored if the labeler predicts none of them.
        data, words_per_second, threads: see Parity.
    """
    kept = _micro(reference.predictions, exported.predictions)
    same = [_tags(a) == _tags(b) for a, b in zip(reference.predictions, exported.predictions, strict=True)]
    pairs = zip(reference.predictions, exported.predictions, strict=True)
    tags = [x == y for a, b in pairs for x, y in zip(_word_tags(a), _word_tags(b), strict=True)]
    differences = [
        float(np.abs(a - b).max(initial=0.0)) for a, b in zip(reference.scores, exported.scores, strict=True)
    ]
    return Parity(
        data=data,
        texts=len(examples),
        words=sum(len(example.words) for example in examples),
        agreement=float(np.mean(tags or same or [True])),
        span_f1=kept.f1 if kept.tp + kept.fp + kept.fn else 1.0,
        score_difference=max(differences, default=0.0),
        gold_f1=_gold_f1(reference.predictions, exported.predictions, examples),
        words_per_second=words_per_second,
        threads=threads,
    )


def race(labelers: Sequence[HeadLabeler], examples: Sequence[Example], *, rounds: int = 2) -> list[float]:
    """Return the best words per second of each labeler; runs alternate so that all have the same machine load."""
    words = sum(len(example.words) for example in examples)
    seconds = [float("inf")] * len(labelers)
    for _ in range(rounds):
        for number, labeler in enumerate(labelers):
            start = time.perf_counter()
            for _prediction in label_examples(labeler, examples):
                pass
            seconds[number] = min(seconds[number], time.perf_counter() - start)
    return [words / second for second in seconds]


def _gold_f1(
    first: Sequence[Prediction], second: Sequence[Prediction], examples: Sequence[Example]
) -> tuple[float, float] | None:
    known = {span.label for prediction in first for span in prediction.labeled_spans()}
    gold = [example.labeled_spans() for example in examples]
    if not known & {span.label for spans in gold for span in spans}:
        return None
    one, other = (
        _total(count_spans(gold, [prediction.labeled_spans() for prediction in found]))
        for found in (first, second)
    )
    return one.f1, other.f1


def _micro(gold: Sequence[Prediction], found: Sequence[Prediction]) -> Counts:
    return _total(count_spans([p.labeled_spans() for p in gold], [p.labeled_spans() for p in found]))


def _total(counts: dict[str, Counts]) -> Counts:
    return sum(counts.values(), Counts())


def _tags(prediction: Prediction) -> Sequence[object]:
    return tuple(label.label for label in prediction.labels or ()) or _word_tags(prediction)


def _word_tags(prediction: Prediction) -> Sequence[object]:
    """Return the tag of each word; where spans may overlap, the spans over it. Labels of a whole text have none."""
    if prediction.tags or prediction.labels is not None:
        return prediction.tags
    over: list[list[object]] = [[] for _ in prediction.words]
    for span in prediction.spans:
        for word in range(span.start, span.end):
            over[word].append(span[:3])
    return over
