"""JSON records, whether they are one list or one a line, and spans over their words or characters."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lookboth.data.charspans import CharSpan, parse_char_spans, spans_over_words
from lookboth.data.jsonl import json_objects
from lookboth.data.problems import ProblemLog
from lookboth.data.sentences import Sentence, check_string
from lookboth.data.words import split_words
from lookboth.errors import DataError
from lookboth.types import Span


class WordSpan(NamedTuple):
    """A labeled range of words as a file gives it, not yet checked; end exclusive; text None if not given."""

    start: Any
    end: Any
    label: str
    text: Any = None


def open_records(
    path: str | Path, allowed: str, *, repair: bool
) -> tuple[ProblemLog, Iterator[tuple[int, dict[str, Any]]]]:
    """Return a log for the file and its records, numbered from 1: those of one JSON list, else lines.

    Args:
        path: the file, UTF-8.
        allowed: what a record is, for messages.
        repair: as of `ProblemLog`.

    Raises:
        DataError: if the file cannot be read, or is a list and no JSON.
    """
    try:
        content = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        content = ""  # the reader of lines says what is wrong
    if not content.lstrip().startswith("["):
        log = ProblemLog(str(path), repair=repair)
        return log, json_objects(path, log, allowed)
    log = ProblemLog(str(path), repair=repair, unit="record ")
    return log, _list_records(path, content, allowed, log)


def word_spans(
    spans: Iterable[WordSpan], words: Sequence[str], number: int, log: ProblemLog
) -> tuple[Span, ...]:
    """Return the spans that can be, sorted and not overlapping, and note the others.

    The same span with the same label twice is one span. Of two that overlap a repair keeps the longer one, of
    equals the first.

    Args:
        spans: in the order of the file.
        words: of the sentence.
        number: of the record; log: takes what is wrong.
    """
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
            found.append(CharSpan(offsets[span.start][0], offsets[span.end - 1][1], span.label))
    return spans_over_words(list(dict.fromkeys(found)), " ".join(words), offsets, number, log)


def text_sentence(text: str, spans: list[dict[str, Any]], number: int, log: ProblemLog) -> Sentence:
    """Return the words of a text with the spans over them.

    Args:
        text: as published.
        spans: records with "start", "end", "label" and perhaps "text", not yet checked; the same twice is one.
        number: of the record; log: takes what is wrong.
    """
    text = check_string(text, number, log)
    offsets = tuple(split_words(text))
    words = tuple(text[start:end] for start, end in offsets)
    found = list(dict.fromkeys(parse_char_spans(spans, text, number, log)))
    return Sentence(
        words, (number,), None, spans_over_words(found, text, offsets, number, log), text, offsets
    )


def string_list(value: Any) -> tuple[str, ...] | None:
    """Return a list of words, none of them empty, as a tuple; None for anything else."""
    if isinstance(value, list) and all(isinstance(item, str) and item.strip() for item in value):
        return tuple(value)
    return None


def _list_records(
    path: str | Path, content: str, allowed: str, log: ProblemLog
) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        records = json.loads(content)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}:{error.lineno}: not JSON: {error.msg}. A list of records: {allowed}."
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error}. A list of records: {allowed}.") from error
    for number, record in enumerate(records, 1):
        if isinstance(record, dict):
            yield number, record
        else:
            log.add(number, "json", f"not a JSON object; {allowed}", "the record is left out")


def _why_not(span: WordSpan, words: Sequence[str]) -> str:
    shown = f"{span.label} at words {span.start!r:.20}..{span.end!r:.20}"
    if type(span.start) is not int or type(span.end) is not int:
        return f"{shown}: word numbers are whole numbers"
    if not 0 <= span.start < span.end <= len(words):
        return f"{shown} is outside the sentence; 0 <= start < end <= {len(words)}, end exclusive"
    if not isinstance(span.text, str | None):
        return f"{shown}: its text {span.text!r:.60} is no string"
    covered = words[span.start : span.end]
    if span.text is not None and "".join(span.text.split()) != "".join("".join(covered).split()):
        return f"{shown} is {' '.join(covered)!r:.60}, not {span.text!r:.60}; word numbers count from 0"
    return ""
