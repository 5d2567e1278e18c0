"""Settings typed as KEY=VALUE: the one parser of `--set`, for recipes and for the server."""

import tomllib
from typing import Any

from lookboth.errors import ConfigError


def read_value(text: str) -> Any:
    """Return `text` as a TOML value, or unchanged if it is not TOML: a bare word needs no quotes.

    >>> read_value("2e-4"), read_value("[1, 2]"), read_value("causal")
    (0.0002, [1, 2], 'causal')
    """
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except (ValueError, RecursionError):
        return text


def read_override(override: str, example: str = "training.epochs=2") -> tuple[str, Any]:
    """Return the key and the value of a setting typed as `key=value`.

    Args:
        override: what was typed after `--set`.
        example: a setting that is allowed here, for the message.

    Raises:
        ConfigError: no key, or no equals sign.

    >>> read_override("training.lr=2e-4")
    ('training.lr', 0.0002)
    """
    key, sign, text = override.partition("=")
    if not sign or not key.strip():
        raise ConfigError(f"--set {override!r}: expected key=value, for example --set {example}")
    return key.strip(), read_value(text)


def set_value(values: dict[str, Any], override: str) -> None:
    """Set the value of a dotted `key=value` in nested settings.

    Raises:
        ConfigError: it cannot be read, or a part of the key before the last is not a section.
    """
    key, value = read_override(override)
    *sections, last = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {override!r}: {section!r} is a single value, not a section.")
    values[last] = value
