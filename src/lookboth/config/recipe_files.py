"""Recipe files and overrides, read and checked; mistakes are all told in one message."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from lookboth.config.recipe import RunConfig
from lookboth.errors import ConfigError, first_line


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a recipe (TOML) and the `key=value` overrides laid over it.

    Raises:
        ConfigError: not TOML, an unknown key, or a value outside its range; all of them in one message.
    """
    values = read_toml(Path(path), "no such recipe. The shipped ones are in the folder recipes/.")
    return parse_config(values, overrides, where=str(path))


def read_toml(path: Path, missing: str) -> dict[str, Any]:
    """Return what a TOML file holds.

    Args:
        path: the file.
        missing: what to say where there is none.

    Raises:
        ConfigError: it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: {missing}") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from error
    except (
        ValueError,
        RecursionError,
    ) as error:  # not TOML, not UTF-8, a number of 5,000 digits, 1,000 brackets
        raise ConfigError(f"{path}: not a TOML file: {first_line(error)}.") from error


def read_value(text: str) -> Any:
    """Return the TOML value that `text` is, or `text` itself: a bare word needs no quotes.

    >>> read_value("2e-4"), read_value("[1, 2]"), read_value("causal")
    (0.0002, [1, 2], 'causal')
    """
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except (ValueError, RecursionError):
        return text


def parse_config(
    values: Mapping[str, Any], overrides: Sequence[str] = (), *, where: str = "configuration"
) -> RunConfig:
    """Check a nested mapping of settings.

    >>> parse_config({"data": {"train": "wnut17"}}, ["training.lr=2e-4"]).training.lr
    0.0002
    """
    merged = overlay(values)
    for override in overrides:
        _set(merged, override)
    try:
        return RunConfig.model_validate(merged)
    except ValidationError as error:
        lines = [_explain(detail) for detail in error.errors()]
        raise ConfigError(f"{where}: " + "\n  ".join(lines)) from None


def as_compared(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored recipe as it is held against others: all keys of today, those of an unused search left out.

    What is no recipe is returned as it stands.

    >>> as_compared({"data": {"train": "wnut17"}}) == as_compared(
    ...     {"data": {"train": ["wnut17"]}, "search": {"groups": 3}}
    ... )
    True
    """
    try:
        read = parse_config(config).to_dict()
    except ConfigError:
        return dict(config)
    if read["method"] != "search":
        del read["search"]
    return read


def overlay(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings laid over each other, the last one on top.

    >>> overlay({"plan": "causal", "training": {"lr": 1, "epochs": 2}}, {"training": {"lr": 3}})
    {'plan': 'causal', 'training': {'lr': 3, 'epochs': 2}}
    """
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            below = result.get(key)
            if isinstance(value, Mapping):
                value = overlay(below, value) if isinstance(below, Mapping) else overlay(value)
            result[key] = value
    return result


def nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with dotted keys as nested ones.

    >>> nest({"training.lr": 1, "plan": "full"})
    {'training': {'lr': 1}, 'plan': 'full'}
    """
    result: dict[str, Any] = {}
    for key, value in values.items():
        for part in reversed(key.split(".")):
            value = {part: value}
        result = overlay(result, value)
    return result


def document_keys() -> list[tuple[str, str, str]]:
    """Return (key, default, description) for every key a recipe may hold, in order."""
    return list(_walk(RunConfig, ""))


def _walk(section: type[BaseModel], prefix: str) -> list[tuple[str, str, str]]:
    rows = []
    for name, field in section.model_fields.items():
        inner = next((t for t in (field.annotation, *get_args(field.annotation)) if _is_section(t)), None)
        if inner is not None:
            rows += _walk(inner, f"{prefix}{name}.")
        else:
            default = (
                "(required)" if field.is_required() else repr(field.get_default(call_default_factory=True))
            )
            rows.append((prefix + name, default, field.description or ""))
    return rows


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _set(values: dict[str, Any], override: str) -> None:
    key, sign, text = override.partition("=")
    if not sign or not key.strip():
        raise ConfigError(f"--set {override!r}: expected key=value, for example --set training.epochs=2")
    *sections, last = key.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {override!r}: {section!r} is a single value, not a section.")
    values[last] = read_value(text)


def _explain(detail: Any) -> str:
    # Besides keys, places hold list positions and, for a key of several types, the type that was tried.
    key = ".".join(part for part in detail["loc"] if isinstance(part, str) and "[" not in part)
    if detail["type"] == "extra_forbidden":
        known = [name for name, _, _ in document_keys()]
        if key in known:  # of a dictionary: in a file a dot would have made a section
            section, _, name = key.rpartition(".")
            return f"{key!r} is a key within a section: give {{{section!r}: {{{name!r}: ...}}}}."
        close = _closest(key, known)
        return (
            f"unknown key {key!r}."
            + (f" Did you mean {close!r}?" if close else "")
            + " Keys: docs/recipes.md."
        )
    if detail["type"] == "missing":
        return f"{key!r} is missing; for example train = 'wnut17' in the section [data]."
    if detail["type"] == "model_type":
        return f"{key} = {detail.get('input')!r}: expected a section [{key}] of keys. Keys: docs/recipes.md."
    if detail["type"] == "too_short":
        return f"{key} = {detail.get('input')!r}: at least one is needed."
    message = detail["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list")
    return f"{key} = {detail.get('input')!r}: {message[0].lower()}{message[1:]}."


def _closest(key: str, known: Sequence[str]) -> str | None:
    """Return the known key or section whose last part is spelled most alike."""
    from difflib import get_close_matches

    sections = {name.partition(".")[0]: name.partition(".")[0] for name in known}
    section = key.rpartition(".")[0]
    # Of keys of one name that in the section at hand is meant, else the first.
    here = [name for name in known if name.rpartition(".")[0] == section]
    leaves = sections | {name.rpartition(".")[2]: name for name in [*known[::-1], *here]}
    matches = get_close_matches(key.rpartition(".")[2], list(leaves), n=1, cutoff=0.6)
    return leaves[matches[0]] if matches else None
