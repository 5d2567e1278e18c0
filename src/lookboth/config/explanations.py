"""Errors of pydantic as messages: the key, the value that was found, what is allowed, and the closest name."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from lookboth.errors import closest, did_you_mean


def explain(error: ValidationError, known: Sequence[str], *, section: str = "") -> str:
    """Return one line per invalid key of a recipe.

    Args:
        error: of pydantic.
        known: every key of a recipe, with its sections: "training.lr".
        section: the section that was checked; "" for the whole recipe.
    """
    return "\n  ".join(_explain(detail, known, section) for detail in error.errors())


def _explain(detail: Any, known: Sequence[str], section: str) -> str:
    # Besides keys, `loc` has list positions and, for a key of several types, the type that was tried.
    parts = [part for part in detail["loc"] if isinstance(part, str) and "[" not in part]
    # A rule that needs several sections names the key itself.
    context = detail.get("ctx", {})
    parts += [context["key"]] if "key" in context else []
    key = ".".join([section, *parts] if section else parts)
    if detail["type"] == "extra_forbidden":
        return _unknown(key, known)
    if detail["type"] == "missing":
        return f"{key!r} is missing; for example train = 'wnut17' in the section [data]."
    found = context.get("found", detail.get("input"))
    return f"{key} = {found!r}: {_reason(key, detail)}"


def _unknown(key: str, known: Sequence[str]) -> str:
    # Only a Python dictionary can have such a key: in a file a dot opens a section.
    if key in known:
        section, _, name = key.rpartition(".")
        return f"{key!r} is a key within a section: give {{{section!r}: {{{name!r}: ...}}}}."
    match = _closest_key(key, known)
    hint = "" if match is None else f" Did you mean {match!r}?"
    return f"unknown key {key!r}.{hint} Keys: docs/recipes.md."


def _reason(key: str, detail: Any) -> str:
    if detail["type"] == "model_type":
        return f"expected a section [{key}] of keys. Keys: docs/recipes.md."
    if detail["type"] == "too_short":
        return "at least one is needed."
    if detail["type"] == "literal_error":
        return _not_among(str(detail["input"]), detail["ctx"]["expected"])
    message = detail["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list")
    return f"{message[0].lower()}{message[1:]}."


def _not_among(found: str, expected: str) -> str:
    """Return what is allowed; pydantic writes it as "'a', 'b' or 'c'"."""
    allowed = expected.replace("' or '", "', '").replace("'", "").split(", ")
    return f"allowed are {', '.join(allowed)}.{did_you_mean(found, allowed)}"


def _closest_key(key: str, known: Sequence[str]) -> str | None:
    """Return the known key or section whose last part is spelled most alike."""
    sections = {name.partition(".")[0]: name.partition(".")[0] for name in known}
    section = key.rpartition(".")[0]
    # If several sections have this key, prefer the section that was typed, else the first one.
    here = [name for name in known if name.rpartition(".")[0] == section]
    leaves = sections | {name.rpartition(".")[2]: name for name in [*known[::-1], *here]}
    match = closest(key.rpartition(".")[2], leaves)
    return None if match is None else leaves[match]
