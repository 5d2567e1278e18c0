"""Texts with labeled character ranges, from gold data or predictions, as exported to annotation tools."""

from typing import NamedTuple

from lookboth.data import text_and_offsets
from lookboth.errors import DataError
from lookboth.types import Example, Prediction


class MarkedSpan(NamedTuple):
    """A labeled range of characters.

    Args:
        start, end: offsets in code points, end exclusive.
        label: label of the range.
        first, stop: indices of its words, end exclusive.
        score: score of a predicted span; None for gold data.
    """

    start: int
    end: int
    label: str
    first: int
    stop: int
    score: float | None = None


class Marked(NamedTuple):
    """A text with its spans, which may overlap.

    Args:
        text: the text.
        offsets: character range of each word.
        spans: in text order.
        predicted: whether a labeler predicted the spans.
    """

    text: str
    offsets: tuple[tuple[int, int], ...]
    spans: tuple[MarkedSpan, ...]
    predicted: bool = False


def mark_example(example: Example) -> Marked:
    """Return the gold data of an example for an export; words without a text are joined by one space.

    >>> from lookboth.types import Span
    >>> mark_example(Example(("New", "York", "."), (Span(0, 2, "LOC"),))).spans[0][:3]
    (0, 8, 'LOC')
    """
    text, _, offsets = text_and_offsets(example)
    spans = (
        MarkedSpan(offsets[s.start][0], offsets[s.end - 1][1], s.label, s.start, s.end) for s in example.spans
    )
    return Marked(text, offsets, tuple(spans))


def mark_prediction(prediction: Prediction) -> Marked:
    """Return a prediction for an export.

    Raises:
        DataError: the prediction has labels of the whole text.
    """
    if prediction.labels is not None:
        raise DataError(
            "only spans are exported to annotation tools, not labels of whole texts. Use the format 'jsonl'."
        )
    spans = (
        MarkedSpan(s.start_char, s.end_char, s.label, s.start, s.end, round(s.score, 4))
        for s in prediction.spans
    )
    return Marked(prediction.text, prediction.offsets, tuple(spans), predicted=True)
