"""Recipe files and overrides: read, merged and checked; all mistakes are reported in one message."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from lookboth.config.explanations import explain
from lookboth.config.overrides import set_value
from lookboth.config.recipe import RunConfig
from lookboth.errors import ConfigError
from lookboth.files import read_toml

Kind = TypeVar("Kind", bound=BaseModel)


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a recipe (TOML) and apply the `key=value` overrides.

    Raises:
        ConfigError: not TOML, an unknown key, or a value outside its range; all of them in one message.
    """
    values = read_toml(Path(path), "no such recipe. The folder recipes/ has the shipped ones.")
    return parse_config(values, overrides, where=str(path))


def parse_config(
    values: Mapping[str, Any], overrides: Sequence[str] = (), *, where: str = "configuration"
) -> RunConfig:
    """Check nested settings and return the recipe.

    Args:
        values: settings as in a recipe file.
        overrides: `key=value` settings that replace those of `values`.
        where: place for error messages.

    Raises:
        ConfigError: unknown keys or invalid values; all of them in one message.

    >>> parse_config({"data": {"train": "wnut17"}}, ["training.lr=2e-4"]).training.lr
    0.0002
    """
    merged = overlay(values)
    for override in overrides:
        set_value(merged, override)
    try:
        return RunConfig.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(f"{where}: {explain(error, _known_keys())}") from None


def parse_section(kind: type[Kind], values: Mapping[str, Any], name: str) -> Kind:
    """Check the settings of one section, as they are saved with a labeler.

    Args:
        kind: class of the section.
        values: its keys.
        name: of the section, for messages.

    Raises:
        ConfigError: an unknown key or a value outside its range; all of them in one message.

    >>> from lookboth.config import HeadConfig
    >>> parse_section(HeadConfig, {"kind": "crf"}, "head").kind
    'crf'
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigError(explain(error, _known_keys(), section=name)) from None


def as_compared(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a saved recipe in a form that can be compared: all current keys, without those of an unused search.

    A mapping that is not a recipe is returned unchanged.

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
    """Merge nested settings; values of later layers replace those of earlier ones.

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
    """Return nested settings for settings with dotted keys.

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
    """Return (key, default, description) for every key of a recipe, in order."""
    return list(_walk(RunConfig, ""))


def _known_keys() -> list[str]:
    return [name for name, _, _ in document_keys()]


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
