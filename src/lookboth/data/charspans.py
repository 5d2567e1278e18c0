"""Spans by character offsets: parsed from records and mapped to words."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from lookboth.data.counting import Claim, Counting, Ruler, find_counting, find_said, is_true
from lookboth.data.nesting import ONE_LABEL, overlaps_kept
from lookboth.data.problems import ProblemLog
from lookboth.types import Span

# Alternative keys, the most common first: Prodigy and spaCy, doccano, transformers, Rasa, GLiNER.
START_KEYS = ("start", "start_offset", "start_char", "begin")
END_KEYS = ("end", "end_offset", "end_char", "stop")
LABEL_KEYS = ("label", "entity_group", "entity", "type", "entity_type", "tag")
_MISSING = "no such key"
_LEFT_OUT = "the span is left out"


class CharSpan(NamedTuple):
    """A labeled range of characters, end exclusive.

    Args:
        start, end: offsets in code points.
        label: label of the range.
        shown: offsets as written in the file, for messages; "" if they are start..end.
    """

    start: int
    end: int
    label: str
    shown: str = ""

    def quote(self, text: str) -> str:
        """Return the span and the text it covers, for messages."""
        covered = text[self.start : self.end]
        place = self.shown or f"{self.start}..{self.end}"
        return f"span {place} {covered if len(covered) < 40 else covered[:39] + '…'!r} ({self.label})"


class _RawSpan(NamedTuple):
    """A span as written in its file: integer offsets, a label, and the text that the record states for it."""

    start: int
    end: int
    label: str
    said: str | None

    @property
    def claim(self) -> Claim | None:
        return None if self.said is None else Claim(((self.start, self.end),), self.said)


def parse_char_spans(
    records: Any, text: str, line: int, log: ProblemLog, counting: Counting | None = None
) -> list[CharSpan]:
    """Return the valid spans of a JSON record; log the others.

    A span is an object with a start, an end, a label and optionally its own "text", or a list `[start, end, label]`.
    The texts of spans decide what the offsets count: the unit with which most spans cover their own text is used for
    the whole record. A span that still differs is read where its text occurs, if it has the length of the span and
    occurs only once.

    Args:
        records: the value of the record's key for spans, not yet checked.
        text: the text.
        line: line or number of the record.
        log: receives the problems.
        counting: what the offsets count; None: decided as above.
    """
    if not isinstance(records, list):
        log.add(line, "span", "the spans are not a list of objects", "read as no spans")
        return []
    found: list[_RawSpan] = []
    for record in records:
        span = _find_span(record)
        if isinstance(span, str):
            log.add(line, "span", span, _LEFT_OUT)
        else:
            found.append(span)
    if counting is None:
        counting = find_counting(text, [claim for span in found if (claim := span.claim) is not None])
        if counting != Counting():
            message = f"by the texts of the spans, offsets count {counting.describe()}; they are read as such"
            log.add(line, "offsets", message, fatal=False)
    ruler = None if counting == Counting() else Ruler(text, counting)
    placed = (_place(span, text, ruler, line, log) for span in found)
    return [span for span in placed if span is not None]


def places_without_text(records: Any) -> list[tuple[int, int]]:
    """Return the offsets of the spans of a record; none if any span has its own text."""
    spans = [_find_span(record) for record in records] if isinstance(records, list) else []
    found = [span for span in spans if isinstance(span, _RawSpan)]
    return [] if any(span.said is not None for span in found) else [(span.start, span.end) for span in found]


def settle_labels(spans: Iterable[CharSpan], several: str | None) -> list[CharSpan]:
    """Remove duplicate spans and resolve ranges with several labels.

    Args:
        spans: in file order.
        several: "first" keeps the first label, "joined" joins them (`PER+CUSTOMER`); None keeps all spans, so that
            each is reported as an overlap.

    >>> settle_labels([CharSpan(0, 3, "PER"), CharSpan(0, 3, "VIP")], "joined")
    [CharSpan(start=0, end=3, label='PER+VIP', shown='')]
    """
    once = list(dict.fromkeys(spans))
    if several is None:
        return once
    ranges: dict[tuple[int, int], list[CharSpan]] = {}
    for span in once:
        ranges.setdefault((span.start, span.end), []).append(span)
    return [
        same[0] if several == "first" else same[0]._replace(label="+".join(span.label for span in same))
        for same in ranges.values()
    ]


def spans_over_words(
    spans: Sequence[CharSpan], text: str, offsets: Sequence[tuple[int, int]], line: int, log: ProblemLog
) -> tuple[Span, ...]:
    """Map character spans to words; return them sorted, and without overlaps unless `keep_overlaps` is active.

    A span that covers part of a word is a problem; the repair takes the whole word, unless both ends are inside words:
    offsets of another text are never made to fit. White space at the edge of a span
    is ignored. Of two spans that overlap in words, the repair keeps the longer one (ties: the first).
    """
    starts, ends = [start for start, _ in offsets], [end for _, end in offsets]
    moved = []
    for span in spans:
        # The first word that ends after the start, and the first word that begins at or after the end.
        first, stop = bisect_right(ends, span.start), bisect_left(starts, span.end)
        if first >= stop:
            log.add(line, "span", f"{span.quote(text)} covers no word", "the span is left out")
            continue
        inside = (starts[first] < span.start, ends[stop - 1] > span.end)
        whole = text[starts[first] : ends[stop - 1]]
        if all(inside):
            # A careless border cuts one word; offsets of another text cut on both sides.
            message = f"{span.quote(text)} has both ends inside words of {whole!r}; its offsets may be of another text"
            log.add(line, "cut-word", message, "the span is left out")
            continue
        if any(inside):
            log.add(
                line,
                "cut-word",
                f"{span.quote(text)} cuts a word of {whole!r}; see --cut-words",
                f"widened to {whole!r}",
            )
        moved.append((Span(first, stop, span.label), span))
    if overlaps_kept():
        return tuple(sorted({span for span, _ in moved}))
    return _without_overlaps(moved, text, line, log)


def _without_overlaps(
    moved: list[tuple[Span, CharSpan]], text: str, line: int, log: ProblemLog
) -> tuple[Span, ...]:
    kept: list[tuple[Span, CharSpan]] = []
    # Word index -> index into `kept`.
    over: dict[int, int] = {}
    for span, source in sorted(moved, key=lambda pair: (pair[0].start - pair[0].end, pair[0].start)):
        # Longer spans come first: a kept span that overlaps this one covers its first or its last word.
        rivals = [over[word] for word in (span.start, span.end - 1) if word in over]
        if not rivals:
            over.update(dict.fromkeys(range(span.start, span.end), len(kept)))
            kept.append((span, source))
        else:
            rival = kept[min(rivals)][1]
            message = f"{source.quote(text)} overlaps {rival.quote(text)}; {ONE_LABEL}"
            if (source.start, source.end) == (rival.start, rival.end):
                message += "; to keep one label, lookboth convert has --several first and --several joined"
            log.add(line, "overlap", message, f"{source.quote(text)} is left out")
    # Back in the order of the text.
    return tuple(sorted(span for span, _ in kept))


def _find_span(record: Any) -> _RawSpan | str:
    """Return the span of a record, or the reason why it is invalid."""
    if isinstance(record, list | tuple) and len(record) == 3:
        start, end, label = record
        said = None
    elif isinstance(record, Mapping):
        start, end = (first_of(record, keys) for keys in (START_KEYS, END_KEYS))
        label, said = _label_of(record), record.get("text")
    else:
        return _not_a_span(record)
    if _MISSING in (start, end, label):
        return _not_a_span(record)
    # `isinstance` would accept True and False as offsets.
    if type(start) is not int or type(end) is not int:
        return f"span {start!r:.40}..{end!r:.40}: offsets are whole numbers"
    if isinstance(label, _Candidates):
        return f"span {start}..{end} has {label}; leave one of the keys"
    if not isinstance(label, str) or not label.strip():
        return f"span {start}..{end}: the label {label!r:.40} is not a name"
    if isinstance(record, Mapping) and "entity" in record and label[:2] in ("B-", "I-"):
        found = f"span {start}..{end} has the tag {label!r:.40} of a token"
        return f"{found}; a transformers pipeline returns spans with aggregation_strategy"
    if not isinstance(said, str | None):
        return f"span {start}..{end}: its text {said!r:.40} is not a string"
    return _RawSpan(start, end, label, said)


class _Candidates(str):
    """Text that lists keys with different labels, for a message."""


def first_of(record: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """Return the value of the first of these keys that the record has, `_MISSING` if it has none."""
    return next((record[key] for key in keys if key in record), _MISSING)


def _label_of(record: Mapping[str, Any]) -> Any:
    """Return the label of a record; `_Candidates` if "label" is missing and other label keys differ."""
    if LABEL_KEYS[0] in record:
        return record[LABEL_KEYS[0]]
    there = {key: record[key] for key in LABEL_KEYS if key in record}
    if len(set(map(repr, there.values()))) > 1:
        return _Candidates(" and ".join(f"{key!r}: {value!r:.40}" for key, value in there.items()))
    return next(iter(there.values()), _MISSING)


def _not_a_span(record: Any) -> str:
    return f"span {record!r:.80} needs 'start', 'end' and 'label', or is a list [start, end, label]"


def _place(span: _RawSpan, text: str, ruler: Ruler | None, line: int, log: ProblemLog) -> CharSpan | None:
    """Return the span in code points, or None; log a span whose text is not at its offsets."""
    place = (span.start, span.end) if ruler is None else ruler.place(span.start, span.end)
    inside = place is not None and 0 <= place[0] < place[1] <= len(text)
    if place is not None and inside and (span.said is None or is_true(span.said, text, [place])):
        return CharSpan(*place, span.label, f"{span.start}..{span.end}")
    said = span.said or ""
    start = find_said(said, text, span.end - span.start)
    if start is not None:
        message = (
            f"span {span.start}..{span.end}: its own text {said!r:.60} is at {start}..{start + len(said)}"
        )
        log.add(line, "offsets", f"{message}; it is read there", fatal=False)
        return CharSpan(start, start + len(said), span.label, f"{span.start}..{span.end}")
    shown = f"span {span.start}..{span.end}"
    if place is not None and inside:
        reason = f"{shown} is {text[place[0] : place[1]]!r:.80}, not {said!r:.80}; offsets count characters"
    else:
        reason = f"{shown} is outside the text; 0 <= start < end <= {len(text)} characters"
    log.add(line, "span", reason, _LEFT_OUT)
    return None
