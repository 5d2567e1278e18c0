"""The README of a data set of the hub: names of class numbers for data files that do not hold them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lookboth.data.lines import read_bytes

_CARD = "README.md"
# Repositories of the hub have their files in a folder such as "data", or in one for each configuration.
_FOLDERS_UP = 3
# Keys of a feature that hold another one, in the YAML of `datasets`.
_INNER = ("sequence", "list", "large_list", "struct", "dtype")


def card_features(file: Path, columns: Sequence[str]) -> Mapping[str, Any]:
    """Return the features of a file from the README of its repository, in the form in which `datasets` stores them.

    Args:
        file: a data file, in the folder of the README or up to two folders below.
        columns: its columns. Of the configurations with these columns, the one that a folder of the file is named after
            is taken; others must not differ.

    Returns:
        Features by column; empty without a README that describes these columns.
    """
    folders = file.absolute().parents[:_FOLDERS_UP]
    card = next((folder / _CARD for folder in folders if (folder / _CARD).is_file()), None)
    if card is None:
        return {}
    described = [
        (str(info.get("config_name")), found)
        for info in _descriptions(card)
        if (found := _by_name(info.get("features"))).keys() == set(columns)
    ]
    inside = {folder.name for folder in folders}
    chosen = [found for name, found in described if name in inside] or [found for _, found in described]
    return chosen[0] if chosen and all(found == chosen[0] for found in chosen) else {}


def _descriptions(card: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the entries of `dataset_info` in the YAML at the beginning of a README."""
    import yaml

    text = read_bytes(card).decode("utf-8", "replace").replace("\r\n", "\n")
    _, border, rest = text.partition("---\n")
    try:
        # All values as strings: a class may be called No or 1.
        data = yaml.load(rest.partition("\n---")[0], yaml.BaseLoader) if border else None
    except (yaml.YAMLError, RecursionError):
        return
    found = data.get("dataset_info") if isinstance(data, Mapping) else None
    yield from (info for info in (found if isinstance(found, list) else [found]) if isinstance(info, Mapping))


def _by_name(features: Any) -> dict[str, Any]:
    if not isinstance(features, list):
        return {}
    return {each["name"]: _feature(each) for each in features if isinstance(each, Mapping) and "name" in each}


def _feature(described: Any) -> Any:
    """Return a feature in the form of `Features.to_dict`, as far as class names are in it."""
    if isinstance(described, list):
        return _by_name(described)
    if not isinstance(described, Mapping):
        return described
    classes = described.get("class_label")
    if isinstance(classes, Mapping) and isinstance(names := classes.get("names"), Mapping):
        return {"_type": "ClassLabel", "names": [names[number] for number in sorted(names, key=int)]}
    return {"feature": next((_feature(described[key]) for key in _INNER if key in described), None)}
