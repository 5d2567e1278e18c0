"""Data sets of the Hugging Face `datasets` library: hub ids and folders it saved."""

from pathlib import Path
from typing import Any

from lookboth.data.labeled_rows import Table
from lookboth.errors import ConfigError, DataError

# The name of the dev split in most data sets of the hub.
HUB_SPLITS = {"dev": "validation"}


def open_hub(name: str, split: str, *, config: str | None = None) -> Table:
    """Return the rows of one split of a hub data set, or of a folder written by `save_to_disk`.

    Args:
        name: hub id or folder.
        split: "train", "dev" (also found as "validation"), "test" or the data set's own name.
        config: configuration of the data set, if it has several.

    Raises:
        ConfigError: if the `datasets` library is missing.
        DataError: if the data set or the split does not exist or cannot be loaded.
    """
    found = _load(name, split, config)
    features = found.features.to_dict()
    return Table(
        name, f"{name}/{split}", found.column_names, features, lambda names: found.select_columns([*names])
    )


def is_saved_folder(path: Path) -> bool:
    """Return whether `datasets` wrote this folder with `save_to_disk`."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def saved_splits(path: Path) -> tuple[str, ...]:
    """Return the splits of a folder written by `save_to_disk`; ("train",) if it has no splits."""
    if (path / "state.json").is_file():
        return ("train",)
    found = {child.name for child in path.iterdir() if child.is_dir()}
    return tuple(s for s in ("train", "dev", "test") if s in found or HUB_SPLITS.get(s) in found)


def _load(name: str, split: str, config: str | None) -> Any:
    try:
        import datasets
    except ImportError:
        message = f"{name!r} needs the datasets library. Install it: pip install 'lookboth[data]'."
        raise ConfigError(message) from None
    try:
        saved = is_saved_folder(Path(name))
        found = datasets.load_from_disk(name) if saved else datasets.load_dataset(name, config)
    # The library and its back ends raise a dozen unrelated exception types.
    except Exception as error:
        raise DataError(
            f"{name}: cannot be loaded by datasets: {error}. Check the name and the network."
        ) from error
    if isinstance(found, datasets.Dataset):
        return found
    for candidate in (split, HUB_SPLITS.get(split)):
        if candidate in found:
            return found[candidate]
    raise DataError(f"{name}: no split {split!r}; there are {', '.join(found)}. Name one of them.")
