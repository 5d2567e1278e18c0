"""Data by the names recipes and commands use: "wnut17", "wnut17:dev", a file, a folder, a hub id."""

from lookboth.data.problems import require_clean
from lookboth.data.readers import ReadOptions, Task, read_split
from lookboth.types import Dataset


def split_name(source: str, default: str = "test") -> tuple[str, str]:
    """Cut "name:split" in two; a name without a split gets the default one.

    >>> split_name("wnut17"), split_name("wnut17:dev")
    (('wnut17', 'test'), ('wnut17', 'dev'))
    """
    name, sign, split = source.rpartition(":")
    return (name, split) if sign and split.isidentifier() else (source, default)


def read_source(
    source: str, default_split: str = "test", *, repair: bool = False, task: Task = "labeling"
) -> Dataset:
    """Read "name" or "name:split" and refuse data with errors.

    Args:
        source: a file, folder, built-in name or hub id, with or without ":split".
        default_split: the split to read where none is named.
        repair: repair ill-formed tags instead of refusing them.
        task: "labeling", where words have labels, or "classification", where whole texts have.

    Raises:
        DataError: there is no such data, or it has errors that were not repaired.
    """
    dataset = read_split(*split_name(source, default_split), ReadOptions(task=task), repair=repair)
    require_clean(dataset)
    return dataset
