"""Upgrades of the `config.json` of saved labelers from earlier format versions, one step per version."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lookboth.errors import ModelError

FORMAT_VERSION = 1
# From each earlier version, the function that converts its `config.json` to the next version.
UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}


def upgrade_settings(data: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """Convert the settings of a saved labeler to the current format version.

    Args:
        data: content of `config.json`, of this format version or an earlier one.
        file: path of the file, for messages.

    Raises:
        ModelError: the format version is missing, invalid, or later than this one.
    """
    version = data.get("format_version")
    if type(version) is not int or version < 1:
        raise ModelError(
            f"{file}: format_version is {version!r}; allowed is a whole number from 1. "
            "Save the labeler again."
        )
    if version > FORMAT_VERSION:
        raise ModelError(
            f"{file}: format version {version} is from a later version of lookboth; this version reads up to "
            f"{FORMAT_VERSION}. Type: pip install --upgrade lookboth"
        )
    settings = dict(data)
    for step in range(version, FORMAT_VERSION):
        settings = UPGRADES[step](settings) | {"format_version": step + 1}
    return settings
