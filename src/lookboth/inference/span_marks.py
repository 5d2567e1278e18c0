"""Texts cut at the borders of their spans, for formats that mark spans in the text; spans may nest and cross."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from lookboth.errors import DataError
from lookboth.types import PredictedSpan, Prediction


class Mark(NamedTuple):
    """The start or the end of a span, or of a part of it.

    Marks are well nested. Of two spans that cross, one is cut into parts at the end of the other.

    Args:
        kind: "start" or "end".
        span: the span.
        is_cut: whether the span continues beyond this end, or began before this start.
    """

    kind: Literal["start", "end"]
    span: PredictedSpan
    is_cut: bool = False


def mark_spans(prediction: Prediction) -> Iterator[str | Mark]:
    """Yield the text of a prediction in pieces, with the starts and ends of its spans between them.

    Raises:
        DataError: a span exceeds the text.
    """
    text, spans = prediction.text, sorted(prediction.spans, key=_outer_first)
    _require_inside(spans, text)
    starting: dict[int, list[PredictedSpan]] = defaultdict(list)
    for span in spans:
        starting[span.start_char].append(span)
    position = 0
    around: list[PredictedSpan] = []
    for place in sorted({*starting, *(span.end_char for span in spans)}):
        if place > position:
            yield text[position:place]
        position = place
        yield from _end(around, place)
        for span in starting.get(place, ()):
            around.append(span)
            yield Mark("start", span)
        # Spans without characters end where they start.
        yield from _end(around, place)
    if position < len(text):
        yield text[position:]


def _end(around: list[PredictedSpan], place: int) -> Iterator[Mark]:
    """Yield the marks that end the spans that end at a place, and cut those inside them that continue."""
    ending = [index for index, span in enumerate(around) if span.end_char == place]
    if not ending:
        return
    inside = around[ending[0] :]
    del around[ending[0] :]
    for span in reversed(inside):
        yield Mark("end", span, is_cut=span.end_char != place)
    for span in inside:
        if span.end_char != place:
            around.append(span)
            yield Mark("start", span, is_cut=True)


def _outer_first(span: PredictedSpan) -> tuple[int, int, str]:
    return span.start_char, -span.end_char, span.label


def _require_inside(spans: Sequence[PredictedSpan], text: str) -> None:
    for span in spans:
        if not 0 <= span.start_char <= span.end_char <= len(text):
            raise DataError(
                f"span {span.label} at characters {span.start_char}-{span.end_char} exceeds the text of {len(text)} "
                "characters. Use the format 'jsonl'."
            )
