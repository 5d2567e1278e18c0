"""Names of runs for tables, from their study or else from their recipe."""

import json
import re
from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from typing import Any

from lookboth.config import parse_config
from lookboth.data import split_name
from lookboth.evaluation import SEED_KEYS

# Keys that never distinguish methods.
_NOT_SETTINGS = SEED_KEYS | {"study", "command"}


def data_name(config: Mapping[str, Any]) -> str:
    """Return the name of a run's data set.

    >>> data_name({"study": {"data": "ner"}}), data_name({"data": {"train": ["a", "b"]}}), data_name({"data": "c:test"})
    ('ner', 'a+b', 'c')
    """
    data = config.get("data")
    if study := config.get("study"):
        return str(study.get("data", "data"))
    if isinstance(data, Mapping):
        first, *more = data.get("train") or ["data"]
        return "+".join([first, *more]) if len(more) < 3 else f"{first} and {len(more)} more"
    return split_name(data)[0] if isinstance(data, str) else "data"


def data_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that distinguish data sets with the same name."""
    if study := config.get("study"):
        return {"name": study.get("name")}
    data = config.get("data")
    return {"data": {**data, "train": None}} if isinstance(data, Mapping) else {}


def model_name(config: Mapping[str, Any]) -> str:
    """Return the name of a run's model."""
    names = [
        (config.get("study") or {}).get("model"),
        *(config.get(key) for key in ("model", "labeler", "pipeline")),
    ]
    return str(next(filter(None, names), "")) or "unnamed"


def method_name(config: Mapping[str, Any], plan: str | None) -> str:
    """Return the name of a run's method: the study's, else the plan.

    >>> method_name({"plan": "0011"}, "0011"), method_name({"study": {"method": "sr1"}}, "causal")
    ('0011', 'sr1')
    """
    study = config.get("study") or {}
    if config.get("method") == "search" and not study.get("method"):
        return f"search, {(config.get('search') or {}).get('strategy')}"
    return str(study.get("method") or config.get("plan") or plan or "no plan")


def slug(name: str) -> str:
    """Return a name that is safe as a file name.

    >>> slug("uner_en_ewt → wikigold")
    'uner_en_ewt-wikigold'
    """
    return re.sub(r"[^A-Za-z0-9_.+=]+", "-", name).strip("-")


def is_bits(method: str) -> bool:
    """Return whether a method is named by the bits of its plan, such as 0011."""
    return bool(method) and set(method) <= {"0", "1"}


def differences(names: Sequence[Hashable], settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return for each entry the settings that distinguish it from others with the same name, "" if there are none.

    Default values are not shown.

    Args:
        names: the name of each entry.
        settings: the recipe of each entry, or a part of it.

    >>> differences(["a", "a", "b"], [{"label_on": "last"}, {"label_on": "first"}, {"label_on": "first"}])
    ['', 'label_on=first', '']
    """
    flat = [_flatten(setting) for setting in settings]
    added = []
    for name, own in zip(names, flat, strict=True):
        alike = [other for other, theirs in zip(flat, names, strict=True) if theirs == name]
        keys = [key for key in dict.fromkeys(k for other in alike for k in other) if _differ(key, alike)]
        shown = [key for key in keys if own.get(key) and own[key] != _defaults().get(key)]
        added.append(", ".join(f"{key.rpartition('.')[2]}={_show(own[key])}" for key in shown))
    return added


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if key in _NOT_SETTINGS:
            continue
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _differ(key: str, settings: Sequence[Mapping[str, Any]]) -> bool:
    default = _defaults().get(key)
    return len({json.dumps(s.get(key, default), sort_keys=True, default=str) for s in settings}) > 1


@cache
def _defaults() -> dict[str, Any]:
    return _flatten(parse_config({"data": {"train": "any"}}).to_dict())


def _show(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
