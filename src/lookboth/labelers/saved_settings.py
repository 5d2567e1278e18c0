"""Checked access to the values of an untrusted `config.json`: a wrong type or size raises a ModelError."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from lookboth.errors import ModelError

# Limits for untrusted files, far above real models: larger values could exhaust the memory.
MAX_LAYERS = 10_000
MAX_SPECIAL_TOKENS = 1000
Kind = TypeVar("Kind")


def setting(
    data: Mapping[str, Any], key: str, kind: type[Kind], *, least: int = 0, most: float = 10**12
) -> Kind:
    """Return the value of a required key.

    Args:
        data: the JSON object.
        key: the key.
        kind: the type: str, int, float, dict or list; true and false are not numbers.
        least, most: range of a number, or of the length of a string, object or list.

    Raises:
        ModelError: the key is missing, or its value has another type, is out of range, or contains half a surrogate
            pair.

    >>> setting({"max_tokens": 512}, "max_tokens", int, least=1)
    512
    """
    if key not in data:
        raise ModelError(f"{key} is missing")
    value = data[key]
    # Not isinstance, because true and false are ints in Python.
    if type(value) is not kind:
        raise ModelError(f"{key} is {type(value).__name__}, not {kind.__name__}")
    size = value if isinstance(value, int | float) else len(value)  # type: ignore[arg-type]
    if not least <= size <= most:
        what = key if isinstance(value, int | float) else f"the length of {key}"
        raise ModelError(f"{what} is {size}; allowed are {least} to {most:,}")
    if isinstance(value, str):
        _require_text(key, value)
    return value


def optional(
    data: Mapping[str, Any],
    key: str,
    kind: type[Kind],
    default: Any = None,
    *,
    least: int = 0,
    most: float = 10**12,
) -> Any:
    """Return the value of a key, or `default` if it is missing or null; see `setting`."""
    if data.get(key) is None:
        return default
    return setting(data, key, kind, least=least, most=most)


def texts(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the object of a key in which every string is valid Unicode.

    Raises:
        ModelError: the value is not such an object.
    """
    found = setting(data, key, dict)
    # One check for all strings at any depth.
    _require_text(key, json.dumps(found, ensure_ascii=False))
    return found


def strings(data: Mapping[str, Any], key: str) -> list[str]:
    """Return the non-empty list of strings of a key.

    Raises:
        ModelError: the value is not such a list.
    """
    found = setting(data, key, list, least=1)
    for value in found:
        _require_text(key, value)
    return found


def numbered(data: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Return the strings of an object whose keys are "0", "1", ..., in the order of the numbers.

    Raises:
        ModelError: the value is not such an object.

    >>> numbered({"id2label": {"1": "B-PER", "0": "O"}}, "id2label")
    ('O', 'B-PER')
    """
    found = setting(data, key, dict, least=1)
    if found.keys() != {str(index) for index in range(len(found))}:
        raise ModelError(f"the keys of {key} do not count from 0 to {len(found) - 1}")
    return tuple(strings({key: [found[str(index)] for index in range(len(found))]}, key))


def token_ids(data: Mapping[str, Any], key: str) -> tuple[int, ...]:
    """Return the list of token ids of a key, up to `MAX_SPECIAL_TOKENS`.

    Raises:
        ModelError: the value is not such a list.
    """
    found = setting(data, key, list, most=MAX_SPECIAL_TOKENS)
    return tuple(setting({key: value}, key, int) for value in found)


def card_scores(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores for the model card unchanged, after a check of the types that the card uses.

    Raises:
        ModelError: a value has another type.
    """
    scores = optional(data, "scores", dict, {})
    optional(scores, "metric", str)
    optional(scores, "recipe", dict)
    tests = optional(scores, "test", dict, {})
    for value in (*tests.values(), scores.get("dev", 0.0)):
        if type(value) not in (int, float):
            raise ModelError(f"a score in scores is {value!r:.40}, not a number")
    return scores


def _require_text(key: str, value: Any) -> None:
    if not isinstance(value, str):
        raise ModelError(f"{key} contains {value!r:.40}, not str")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ModelError(f"{key} contains half of a surrogate pair, which is not valid text") from None
