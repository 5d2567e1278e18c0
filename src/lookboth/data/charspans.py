"""Spans given by character offsets, moved to words."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any, NamedTuple

from lookboth.data.problems import ProblemLog
from lookboth.types import Span


class CharSpan(NamedTuple):
    """A labeled range of characters, end exclusive."""

    start: int
    end: int
    label: str


def parse_char_spans(records: Any, text: str, line: int, log: ProblemLog) -> list[CharSpan]:
    """Return the valid spans of a JSON record and note the others.

    A span's own "text", where it has one, must be what stands there: this finds offsets that count
    bytes or UTF-16 units instead of characters.
    """
    if not isinstance(records, list):
        log.add(line, "span", "the spans are not a list of objects", "read as no spans")
        return []
    spans = []
    for record in records:
        reason = _why_not_a_span(record, text)
        if reason:
            log.add(line, "span", reason, "the span is left out")
        else:
            spans.append(CharSpan(record["start"], record["end"], record["label"]))
    return spans


def spans_over_words(
    spans: Sequence[CharSpan], text: str, offsets: Sequence[tuple[int, int]], line: int, log: ProblemLog
) -> tuple[Span, ...]:
    """Return the spans in words, sorted and not overlapping.

    A span that cuts a word is a problem, repaired by taking the whole word. White space at the edge of
    a span is no problem. Of two that overlap in words, a repair keeps the longer one, of equals the first.
    """
    starts, ends = [start for start, _ in offsets], [end for _, end in offsets]
    moved = []
    for span in spans:
        first, stop = bisect_right(ends, span.start), bisect_left(starts, span.end)
        if first >= stop:
            log.add(line, "span", f"{_quote(span, text)} covers no word", "the span is left out")
            continue
        if starts[first] < span.start or ends[stop - 1] > span.end:
            whole = text[starts[first] : ends[stop - 1]]
            log.add(
                line, "cut-word", f"{_quote(span, text)} cuts a word of {whole!r}", f"widened to {whole!r}"
            )
        moved.append((Span(first, stop, span.label), span))
    return _without_overlaps(moved, text, line, log)


def _without_overlaps(
    moved: list[tuple[Span, CharSpan]], text: str, line: int, log: ProblemLog
) -> tuple[Span, ...]:
    kept: list[tuple[Span, CharSpan]] = []
    over: dict[int, int] = {}  # for each word that has a span, which of the kept ones
    for span, source in sorted(moved, key=lambda pair: (pair[0].start - pair[0].end, pair[0].start)):
        # Kept spans are no shorter: one that overlaps this one lies over its first word or its last.
        rivals = [over[word] for word in (span.start, span.end - 1) if word in over]
        if not rivals:
            over.update(dict.fromkeys(range(span.start, span.end), len(kept)))
            kept.append((span, source))
        else:
            rival = kept[min(rivals)][1]
            message = f"{_quote(source, text)} overlaps {_quote(rival, text)}; a word has one label"
            log.add(line, "overlap", message, f"{_quote(source, text)} is left out")
    return tuple(sorted(span for span, _ in kept))


def _why_not_a_span(record: Any, text: str) -> str:
    if not isinstance(record, dict) or not {"start", "end", "label"} <= record.keys():
        return f"span {record!r:.80} needs 'start', 'end' and 'label'"
    start, end, label = record["start"], record["end"], record["label"]
    if type(start) is not int or type(end) is not int:
        return f"span {start!r:.40}..{end!r:.40}: offsets are whole numbers"
    if not 0 <= start < end <= len(text):
        return f"span {start}..{end} is outside the text; 0 <= start < end <= {len(text)} characters"
    if not isinstance(label, str) or not label.strip():
        return f"span {start}..{end}: the label {label!r:.40} is not a name"
    said = record.get("text", text[start:end])
    if said != text[start:end]:
        return f"span {start}..{end} is {text[start:end]!r}, not {said!r:.80}; offsets count characters"
    return ""


def _quote(span: CharSpan, text: str) -> str:
    shown = text[span.start : span.end]
    return f"span {span.start}..{span.end} {shown if len(shown) < 40 else shown[:39] + '…'!r} ({span.label})"
