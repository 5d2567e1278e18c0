"""Values of a JSON file: one per line, one list, a list inside an object, or objects over several lines."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

from lookboth.data.lines import read_lines
from lookboth.data.problems import ProblemLog
from lookboth.data.record_splits import of_wanted_split
from lookboth.data.repeated_keys import RepeatedKeyObject, mark_repeated_keys, parse_json, repeated_key
from lookboth.errors import DataError

_TEXT_KEYS = ("text", "sentence", "utt")
_WORD_KEYS = ("tokens", "words", "sentence", "tokenized_text")
_LEFT_OUT = "the line is left out"
_Value = TypeVar("_Value")


def open_records(
    path: str | Path, allowed: str, *, repair: bool
) -> tuple[ProblemLog, Iterator[tuple[int, dict[str, Any]]]]:
    """Return a log for the file and its JSON objects, numbered as in `open_values`; other values are problems.

    Args:
        path: the file, decoded as in `lines.read_lines`.
        allowed: the format of a record, for messages.
        repair: as in `ProblemLog`.

    Raises:
        DataError: if the file cannot be read, or is one JSON value that cannot be parsed.
    """
    log, values = open_values(path, allowed, repair=repair)
    return log, _objects(values, log, allowed)


def open_values(
    path: str | Path, allowed: str, *, repair: bool
) -> tuple[ProblemLog, Iterator[tuple[int, Any]]]:
    """Return a log for the file and its JSON values.

    Values on lines of their own are numbered by their lines. The values of one list, of a list inside an object (Rasa,
    NER annotator) and values over several lines are numbered as records, from 1. Of records that name several splits,
    those of one are returned (see `of_wanted_split`).

    Args:
        path: the file, decoded as in `lines.read_lines`.
        allowed: the format of a value, for messages.
        repair: as in `ProblemLog`.

    Raises:
        DataError: if the file cannot be read, or is one JSON value that cannot be parsed.
    """
    log = ProblemLog(str(path), repair=repair)
    lines = read_lines(path, log)
    values = _values_of_whole(path, lines, allowed)
    if values is None:
        return log, of_wanted_split(parse_values(lines, log, allowed), log)
    if not values:
        log.add(1, "empty-file", f"the file is a list without records; {allowed}")
    log.unit = "record "
    return log, of_wanted_split(without_repeated_keys(enumerate(values, 1), log), log)


def parse_values(lines: Iterable[str], log: ProblemLog, allowed: str) -> Iterator[tuple[int, Any]]:
    """Yield (line number, value) of lines with one JSON value each; blank lines are skipped, others are problems.

    Args:
        lines: the lines, read lazily.
        log: receives the problems.
        allowed: the format of a value, for messages.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = parse_json(line)
        # Not JSONDecodeError alone: a number of more than 4,300 digits raises a bare ValueError.
        except (ValueError, RecursionError) as error:
            log.add(number, "json", f"not JSON: {error}; {allowed}", _LEFT_OUT)
        else:
            yield from without_repeated_keys([(number, value)], log)


def without_repeated_keys(
    values: Iterable[tuple[int, _Value]], log: ProblemLog
) -> Iterator[tuple[int, _Value]]:
    """Yield numbered values without objects that have a key twice with different values; those are problems.

    Args:
        values: (number, value), parsed with `parse_json`.
        log: receives the problems.
    """
    for number, value in values:
        key = repeated_key(value) if isinstance(value, dict | list) else None
        if key is None:
            yield number, value
        else:
            message = (
                f"the key {key!r:.100} occurs twice in one object, with different values; one value per key"
            )
            log.add(number, "repeated-key", message, "it is left out")


def parse_objects(
    lines: Iterable[str], log: ProblemLog, allowed: str
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of lines with one JSON object each; blank lines are skipped, others are problems.

    Args:
        lines, log, allowed: as in `parse_values`.
    """
    return _objects(parse_values(_without_list(lines, log, allowed), log, allowed), log, allowed)


def is_text_with_entities(value: object) -> TypeGuard[list[Any]]:
    """Return whether a value is a training example of spaCy 2: `[text, {"entities": [...]}]`."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], dict)
    )


def _without_list(lines: Iterable[str], log: ProblemLog, allowed: str) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if number == 1 and line.lstrip().startswith("["):
            log.add(1, "json", f"the file is one JSON list; {allowed}, one object per line")
            return
        yield line


def _objects(
    values: Iterable[tuple[int, Any]], log: ProblemLog, allowed: str
) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, value in values:
        if isinstance(value, dict):
            yield number, value
        else:
            log.add(number, "json", f"not a JSON object; {allowed}", "it is left out")


def _values_of_whole(path: str | Path, lines: Sequence[str], allowed: str) -> list[Any] | None:
    """Return the values of a file that does not have one value per line, None for a file that does."""
    filled = [line for line in lines if line.strip()]
    alone = bool(filled) and _parses(filled[0])
    # A value on the first line and more lines after it: one value per line.
    if not filled or (alone and len(filled) > 1):
        return None
    content = "\n".join(lines)
    try:
        value = parse_json(content)
    except (ValueError, RecursionError) as error:
        values = _values_in_a_row(content)
        # None: the lines are read one by one, and each line that is not JSON is reported.
        if values or len(filled) == 1 or _has_objects(filled):
            return values
        place = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise DataError(f"{path}{place}: not JSON: {error}. {allowed}.") from error
    return _items(value, several_lines=not alone)


def _items(value: Any, *, several_lines: bool) -> list[Any] | None:
    # `without_repeated_keys` reports it as one invalid value.
    if isinstance(value, RepeatedKeyObject):
        return [value]
    if isinstance(value, list) and not is_text_with_entities(value):
        return value
    inner = _list_inside(value)
    return [value] if inner is None and several_lines else inner


def _values_in_a_row(content: str) -> list[Any] | None:
    """Return the values of a text that consists of consecutive JSON values, else None."""
    decoder, values, position = json.JSONDecoder(object_pairs_hook=mark_repeated_keys), [], 0
    while position < len(content):
        try:
            value, position = decoder.raw_decode(content, position + _blanks(content, position))
        except (ValueError, RecursionError):
            return None
        values.append(value)
        position += _blanks(content, position)
    return values


def _blanks(content: str, position: int) -> int:
    length = len(content)
    end = position
    while end < length and content[end].isspace():
        end += 1
    return end - position


def _list_inside(value: object) -> list[Any] | None:
    """Return the only list of records inside an object that is not a record itself, else None."""
    if not isinstance(value, dict) or _is_record(value):
        return None
    lists = [inner for inner in value.values() if _is_list_of_records(inner)]
    if not lists and len(value) == 1:
        return _list_inside(next(iter(value.values())))
    return lists[0] if len(lists) == 1 else None


def _is_list_of_records(value: object) -> bool:
    """Return whether the value is a list of records, some of which may be null (left empty by the tool)."""
    return isinstance(value, list) and any(value) and all(item is None or _is_record(item) for item in value)


def _is_record(value: object) -> bool:
    if not isinstance(value, dict):
        return is_text_with_entities(value)
    return (
        any(isinstance(value.get(key), str) for key in _TEXT_KEYS)
        or any(isinstance(value.get(key), list) for key in _WORD_KEYS)
        or isinstance(value.get("data"), dict)
        # A document of BioC.
        or isinstance(value.get("passages"), list)
    )


def _has_objects(lines: Sequence[str]) -> bool:
    """Return whether a file with an invalid first line has an object on a line of its own further down."""
    return not lines[0].lstrip().startswith("[") and any(
        line.startswith("{") and len(line) > 2 and _parses(line) for line in lines[1:]
    )


def _parses(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
