"""Kinds of span errors: wrong boundary, wrong label, both, missed, or invented."""

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import product
from typing import NamedTuple

from lookboth.evaluation.metrics import AnySpan, SpanSequences
from lookboth.types import Span


class ErrorKind(StrEnum):
    """Kinds of span errors; every wrong span has exactly one."""

    boundary = "boundary"  # right label, overlapping words
    type = "type"  # same words, wrong label
    boundary_and_type = "boundary and type"  # overlapping words, wrong label
    missed = "missed"  # a gold span without a predicted partner
    invented = "invented"  # a predicted span without a gold partner


class SpanPair(NamedTuple):
    """A gold span and its predicted partner; a side is None if the other span has no partner."""

    gold: Span | None
    predicted: Span | None

    @property
    def kind(self) -> ErrorKind | None:
        """The kind of error; None if gold and predicted span are equal."""
        gold, predicted = self.gold, self.predicted
        if gold is None or predicted is None:
            return ErrorKind.invented if gold is None else ErrorKind.missed
        same_words = (gold.start, gold.end) == (predicted.start, predicted.end)
        if gold.label == predicted.label:
            return None if same_words else ErrorKind.boundary
        return ErrorKind.type if same_words else ErrorKind.boundary_and_type


def pair_spans(gold: Sequence[AnySpan], predicted: Sequence[AnySpan]) -> list[SpanPair]:
    """Pair the gold and the predicted spans of one sentence; return the pairs in text order.

    Spans on the same words are paired first, then overlapping spans with the same label, then other overlapping spans.
    Among equal candidates the larger overlap wins, then the leftmost. Every span is in exactly one pair; a span
    without a partner is paired with None.

    Args:
        gold, predicted: spans over the same words; duplicates count once.

    >>> pair_spans([Span(0, 2, "PER")], [Span(0, 1, "PER"), Span(1, 2, "LOC")])[1]
    SpanPair(gold=None, predicted=Span(start=1, end=2, label='LOC'))
    >>> [str(pair.kind) for pair in pair_spans([Span(0, 2, "PER"), Span(4, 5, "LOC")], [Span(1, 2, "PER")])]
    ['boundary', 'missed']
    """
    golds, founds = _unique(gold), _unique(predicted)
    candidates = sorted((_closeness(a, b), a, b) for a, b in product(golds, founds) if _overlap(a, b) > 0)
    partner: dict[Span, Span] = {}
    taken: set[Span] = set()
    for _, a, b in candidates:
        if a not in partner and b not in taken:
            partner[a] = b
            taken.add(b)
    pairs = [SpanPair(a, partner.get(a)) for a in golds] + [
        SpanPair(None, b) for b in founds if b not in taken
    ]
    return sorted(pairs, key=lambda pair: (pair.gold or pair.predicted, pair.gold is None))


def count_error_kinds(gold: SpanSequences, predicted: SpanSequences) -> Counter[ErrorKind]:
    """Count the errors of each kind over all sentences.

    Args:
        gold: the gold spans of each sentence.
        predicted: the predicted spans of each sentence, in the same order.

    >>> count_error_kinds([[Span(0, 1, "PER")], []], [[Span(0, 1, "LOC")], [Span(3, 4, "LOC")]])
    Counter({<ErrorKind.type: 'type'>: 1, <ErrorKind.invented: 'invented'>: 1})
    """
    return Counter(_kinds(pair for a, b in zip(gold, predicted, strict=True) for pair in pair_spans(a, b)))


def _kinds(pairs: Iterable[SpanPair]) -> Iterable[ErrorKind]:
    return (pair.kind for pair in pairs if pair.kind is not None)


def _unique(spans: Sequence[AnySpan]) -> list[Span]:
    return sorted({Span(span.start, span.end, span.label) for span in spans})


def _overlap(a: Span, b: Span) -> int:
    return min(a.end, b.end) - max(a.start, b.start)


def _closeness(a: Span, b: Span) -> tuple[bool, bool, int]:
    """Return the sort key that puts the closest pair first: same words, same label, largest overlap."""
    return ((a.start, a.end) != (b.start, b.end), a.label != b.label, -_overlap(a, b))
