"""Spans by word numbers, as some JSON formats have them."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from lookboth.data import CharSpan, ProblemLog, settle_labels, spans_over_words
from lookboth.types import Span


class WordSpan(NamedTuple):
    """A labeled range of words from a file, not yet checked; end exclusive; text None if missing."""

    start: Any
    end: Any
    label: str
    text: Any = None


def word_spans(
    spans: Iterable[WordSpan],
    words: Sequence[str],
    number: int,
    log: ProblemLog,
    *,
    several: str | None = None,
) -> tuple[Span, ...]:
    """Return the valid spans, sorted; log the others.

    Duplicates count once. Of two overlapping spans, the repair keeps the longer one (ties: the first), unless
    `keep_overlaps` is active.

    Args:
        spans: in file order.
        words: words of the sentence.
        number: number of the record.
        log: receives the problems.
        several: how ranges with several labels are resolved, as in `charspans.settle_labels`.
    """
    # The words joined by one space are a text, so that the checks of character spans apply.
    offsets, position = [], 0
    for word in words:
        offsets.append((position, position + len(word)))
        position += len(word) + 1
    found = []
    for span in spans:
        reason = _why_not(span, words)
        if reason:
            log.add(number, "span", reason, "it is left out")
        else:
            start, end = offsets[span.start][0], offsets[span.end - 1][1]
            found.append(CharSpan(start, end, span.label, f"of words {span.start}..{span.end}"))
    return spans_over_words(settle_labels(found, several), " ".join(words), offsets, number, log)


def string_list(value: Any) -> tuple[str, ...] | None:
    """Return a list of non-empty words as a tuple; None for any other value."""
    if isinstance(value, list) and all(isinstance(item, str) and item.strip() for item in value):
        return tuple(value)
    return None


def _why_not(span: WordSpan, words: Sequence[str]) -> str:
    shown = f"{span.label} at words {span.start!r:.20}..{span.end!r:.20}"
    if type(span.start) is not int or type(span.end) is not int:
        return f"{shown}: word numbers are whole numbers"
    if not 0 <= span.start < span.end <= len(words):
        return f"{shown} is outside the sentence; 0 <= start < end <= {len(words)}, end exclusive"
    if not isinstance(span.text, str | None):
        return f"{shown}: its text {span.text!r:.60} is not a string"
    covered = words[span.start : span.end]
    if span.text is not None and "".join(span.text.split()) != "".join("".join(covered).split()):
        return f"{shown} is {' '.join(covered)!r:.60}, not {span.text!r:.60}; word numbers count from 0"
    return ""
