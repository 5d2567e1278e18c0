"""Reader of Parquet files, alone or in shards, with the class names in them or in the README of their repository."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookboth.data.hub_cards import card_features
from lookboth.data.labeled_rows import Table
from lookboth.data.lines import read_bytes
from lookboth.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pyarrow

_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})")
# Pattern of the number of a shard, for `glob`.
_ANY = "?????"


def open_parquet(path: str | Path) -> Table:
    """Return the rows of a Parquet file, or of all shards of a split.

    Args:
        path: the file, or the name of shards as `shards_of` returns it.

    Raises:
        ConfigError: if pyarrow is not installed.
        DataError: if a file cannot be read, or the shards have different columns.
    """
    path = Path(path)
    files = sorted(path.parent.glob(path.name)) if _ANY in path.name else [path]
    tables = [_read(file) for file in files]
    schema = tables[0].schema
    other = next((f for f, t in zip(files, tables, strict=True) if t.column_names != schema.names), None)
    if other is not None:
        raise DataError(f"{other}: other columns than {files[0].name}. Name one file.")

    def rows(columns: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        for table in tables:
            for batch in table.select(columns).to_batches():
                yield from batch.to_pylist()

    features = _features(schema) or card_features(path, schema.names)
    return Table(str(path), str(path), schema.names, features, rows)


def split_stem(stem: str) -> str:
    """Return the name of a file without the number of its shard.

    >>> split_stem("train-00000-of-00002"), split_stem("train")
    ('train', 'train')
    """
    match = _SHARD.fullmatch(stem)
    return match[1] if match else stem


def shards_of(files: Sequence[Path]) -> Path | None:
    """Return the name with which `open_parquet` reads the shards of one split; None if the files are not shards.

    Raises:
        DataError: if a shard is missing.
    """
    found = [_SHARD.fullmatch(file.stem) for file in files]
    kinds = {(match[1], match[3]) for match in found if match is not None}
    if len(kinds) != 1 or None in found or {file.suffix for file in files} != {files[0].suffix}:
        return None
    ((name, count),) = kinds
    if len(files) != int(count):
        raise DataError(f"{files[0].parent}: {len(files)} of {int(count)} files of {name!r}. Add the others.")
    return files[0].with_name(f"{name}-{_ANY}-of-{count}{files[0].suffix}")


def _read(path: Path) -> "pyarrow.Table":
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise ConfigError(f"{path}: needs pyarrow. Install it: pip install 'lookboth[data]'.") from None
    content = read_bytes(path)
    try:
        return ParquetFile(pyarrow.BufferReader(content)).read()
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a Parquet file: {error!s:.200}. Write it again.") from error


def _features(schema: "pyarrow.Schema") -> Mapping[str, Any]:
    """Return the features that `datasets` stores in the metadata of a file; empty for files of other libraries."""
    try:
        found: Any = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, Mapping) else {}
