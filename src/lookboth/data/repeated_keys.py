"""JSON objects in which a key occurs twice: the standard parser keeps the last value and drops the others."""

import json
from collections.abc import Callable, Iterable
from typing import Any


class RepeatedKeyObject(dict[str, Any]):
    """A JSON object in which a key has two different values; `repeated` is that key."""

    repeated: str


def parse_json(text: str, *, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """Parse JSON like `json.loads`; an object that has a key twice is a RepeatedKeyObject.

    Args:
        text: one JSON value.
        parse_constant: as in `json.loads`: receives NaN and Infinity, which are not JSON.

    Raises:
        ValueError: the text is not JSON.
        RecursionError: the text is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=mark_repeated_keys, parse_constant=parse_constant)


def mark_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object with these keys and values; equal values of one key are accepted.

    >>> mark_repeated_keys([("text", "a"), ("text", "b")]).repeated
    'text'
    """
    record = dict(pairs)
    if len(record) < len(pairs):
        for key, value in pairs:
            if value != record[key]:
                marked = RepeatedKeyObject(record)
                marked.repeated = key
                return marked
    return record


def repeated_key(value: Any) -> str | None:
    """Return a key that occurs twice in an object anywhere in a parsed value; None: no such key."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, RepeatedKeyObject):
            return found.repeated
        inner: Iterable[Any] = found.values() if isinstance(found, dict) else found
        waiting += [item for item in inner if isinstance(item, dict | list)]
    return None
