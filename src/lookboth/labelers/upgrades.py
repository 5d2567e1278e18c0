"""Saved labelers of earlier format versions: what their `config.json` becomes, one step a version."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lookboth.errors import ModelError

FORMAT_VERSION = 1
# The step from each earlier version to the one after it, over the whole of `config.json`.
UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}


def upgrade_settings(data: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """Return the settings of a saved labeler as this version would have written them.

    Args:
        data: what `config.json` holds, of this format version or an earlier one.
        file: where it was read, for messages.

    Raises:
        ModelError: it is of a later version, or of none.
    """
    version = data.get("format_version")
    if type(version) is not int or version < 1:
        raise ModelError(
            f"{file}: format version {version!r}; a saved labeler has a whole number from 1 there. "
            "Save the labeler again."
        )
    if version > FORMAT_VERSION:
        raise ModelError(
            f"{file}: format version {version}, written by a later lookboth; this one reads up to {FORMAT_VERSION}. "
            "Type: pip install --upgrade lookboth"
        )
    settings = dict(data)
    for step in range(version, FORMAT_VERSION):
        settings = UPGRADES[step](settings) | {"format_version": step + 1}
    return settings
