"""JSON lines: one object a line, with tokens and tags or with a text and its spans."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lookboth.data.charspans import parse_char_spans, spans_over_words
from lookboth.data.lines import read_lines
from lookboth.data.problems import ProblemLog
from lookboth.data.sentences import Sentence, build_dataset, check_string
from lookboth.data.words import split_words
from lookboth.types import Dataset

_ALLOWED = 'write {"tokens": [...], "tags": [...]} or {"text": "...", "spans": [...]}'


def read_jsonl(
    path: str | Path, *, scheme: str | None = None, repair: bool = False, head: str | None = None
) -> Dataset:
    """Read JSON lines; every problem is listed in the result, none stops the reading.

    A line is `{"tokens": [str], "tags": [str]}` (or "ner_tags"), or `{"text": str, "spans": [{"start",
    "end", "label"}]}` (or "entities") with offsets in characters, end exclusive. Other keys are not read.

    Args:
        path: the file, UTF-8.
        scheme: of the tags, one of `schemes.SCHEMES`, or None to detect it.
        repair: read problematic lines as each problem says instead of calling them fatal.
        head: the scheme of the head that the data are read for; see `tag_styles.choose_reading`.

    Raises:
        DataError: if the file cannot be read at all.
    """
    log = ProblemLog(str(path), repair=repair)
    sentences = []
    for number, record in json_objects(path, log, _ALLOWED):
        sentence = _parse_record(record, number, log)
        if isinstance(sentence, Sentence):
            sentences.append(sentence)
        else:
            log.add(number, "json", sentence, "the line is left out")
    return build_dataset(sentences, scheme, log, head=head)


def json_objects(path: str | Path, log: ProblemLog, allowed: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of a file with a JSON object a line; lines that are none are problems.

    Args:
        path: the file, UTF-8.
        log: takes the problems.
        allowed: what to write instead, for messages.

    Raises:
        DataError: if the file cannot be read at all.
    """
    yield from parse_objects(read_lines(path, log), log, allowed)


def parse_objects(
    lines: Iterable[str], log: ProblemLog, allowed: str
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of lines that hold one each; those that hold none are problems, but blank ones.

    Args:
        lines: read as they are needed.
        log, allowed: as of `json_objects`.
    """
    for number, line in enumerate(lines, 1):
        if number == 1 and line.lstrip().startswith("["):
            log.add(1, "json", f"the file is one JSON list; {allowed}, one object a line")
            return
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:  # a number of 5,000 digits is a bare ValueError
            log.add(number, "json", f"not JSON: {error}; {allowed}", "the line is left out")
            continue
        if isinstance(record, dict):
            yield number, record
        else:
            log.add(number, "json", f"not a JSON object; {allowed}", "the line is left out")


def _parse_record(record: dict[str, Any], number: int, log: ProblemLog) -> Sentence | str:
    """Return the sentence, or why there is none."""
    tags = record.get("tags", record.get("ner_tags"))
    spans = record.get("spans", record.get("entities"))
    if "tokens" in record and tags is not None:
        return parse_tagged(record["tokens"], tags, number)
    if "text" in record and spans is not None:
        return _parse_text(record["text"], spans, number, log)
    return f"keys {sorted(record)!r:.100} are not what is read; {_ALLOWED}"


def parse_tagged(tokens: Any, tags: Any, number: int) -> Sentence | str:
    """Return the sentence of a list of words and a list of tags, or why there is none."""
    for name, values in (("tokens", tokens), ("tags", tags)):
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            return f"{name!r} is not a list of strings"
    if len(tokens) != len(tags):
        return f"{len(tokens)} tokens but {len(tags)} tags; each token has one tag"
    return Sentence(tuple(tokens), (number,), tuple(tags))


def _parse_text(text: Any, spans: Any, number: int, log: ProblemLog) -> Sentence | str:
    if not isinstance(text, str):
        return "'text' is not a string"
    text = check_string(text, number, log)
    offsets = tuple(split_words(text))
    words = tuple(text[start:end] for start, end in offsets)
    found = spans_over_words(parse_char_spans(spans, text, number, log), text, offsets, number, log)
    return Sentence(words, (number,), None, found, text, offsets)
