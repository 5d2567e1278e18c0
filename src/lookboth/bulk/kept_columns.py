"""Kept columns of Parquet: copied with their type, or converted to JSON values."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import compute, types

from lookboth.bulk.parts import is_string

# Years from 1970. Arrow formats later years incorrectly, so such a timestamp is written as its number.
_YEARS = 30_000
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def take_rows(column: pa.ChunkedArray, rows: Sequence[int]) -> pa.ChunkedArray:
    """Return some rows of a column, unchanged in type and value."""
    # Each row group has its own dictionary.
    if types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    return column.take(pa.array(rows, pa.int64()))


def json_values(column: pa.ChunkedArray) -> list[Any]:
    """Return the values of a column for JSON, without loss of precision.

    Invalid UTF-8 in strings becomes escapes (`\\xff`). Dates, times and durations become strings in Arrow's notation,
    because Python's types lack nanoseconds and years after 9999. Bytes stay bytes.
    """
    return [value for chunk in column.chunks for value in _values(chunk)]


def _values(array: pa.Array) -> list[Any]:
    kind = array.type
    for is_kind, read in _READERS:
        if is_kind(kind):
            return read(array)
    return array.to_pylist()


def _is_text_extension(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.BaseExtensionType) and is_string(kind.storage_type)


def _strings(array: pa.Array) -> list[Any]:
    return [
        None if value is None else value.decode("utf-8", "backslashreplace")
        for value in array.cast(pa.large_binary()).to_pylist()
    ]


def _times(array: pa.Array) -> list[Any]:
    # Arrow writes a fraction of zeros; earlier results, written by Python, do not have it.
    texts = [_without_zeros(text) for text in array.cast(pa.string()).to_pylist()]
    if not types.is_timestamp(array.type):
        return texts
    most = _YEARS * 31_556_952 * _PER_SECOND[array.type.unit]
    numbers = array.cast(pa.int64()).to_pylist()
    return [
        number if number is not None and abs(number) > most else text
        for number, text in zip(numbers, texts, strict=True)
    ]


def _without_zeros(text: str | None) -> str | None:
    if text is None or "." not in text:
        return text
    whole, fraction = text.split(".", 1)
    digits = fraction[: len(fraction) - len(fraction.lstrip("0123456789"))]
    return text if digits.strip("0") else whole + fraction[len(digits) :]


def _lists(array: pa.Array) -> list[Any]:
    inner = iter(_values(array.flatten()))
    return _grouped(compute.list_value_length(array).to_pylist(), inner)


def _fixed_lists(array: pa.Array) -> list[Any]:
    size = array.type.list_size
    # Null entries of a fixed-size list still have values in the storage; `_flat` removes them first.
    return _grouped([size if valid else None for valid in array.is_valid().to_pylist()], _flat(array))


def _flat(array: pa.Array) -> Iterator[Any]:
    return iter(_values(array.filter(array.is_valid()).flatten()))


def _grouped(lengths: Sequence[int | None], inner: Iterator[Any]) -> list[Any]:
    return [None if length is None else [next(inner) for _ in range(length)] for length in lengths]


def _structs(array: pa.Array) -> list[Any]:
    names = [array.type.field(index).name for index in range(array.type.num_fields)]
    fields = [_values(field) for field in array.flatten()]
    rows = zip(*fields, strict=True) if fields else iter([()] * len(array))
    valid = array.is_valid().to_pylist()
    return [
        dict(zip(names, row, strict=True)) if there else None for row, there in zip(rows, valid, strict=True)
    ]


def _maps(array: pa.Array) -> list[Any]:
    kind = array.type
    entry = pa.struct([pa.field("key", kind.key_type, nullable=False), pa.field("value", kind.item_type)])
    # Maps become lists of pairs, as keys of JSON objects must be strings and unique.
    rows = _values(array.cast(pa.list_(entry)))
    return [None if row is None else [[pair["key"], pair["value"]] for pair in row] for row in rows]


_READERS: tuple[tuple[Callable[[Any], bool], Callable[[pa.Array], list[Any]]], ...] = (
    (types.is_dictionary, lambda array: _values(array.dictionary_decode())),
    (is_string, _strings),
    (types.is_temporal, _times),
    (types.is_fixed_size_list, _fixed_lists),
    (types.is_map, _maps),
    (types.is_list, _lists),
    (types.is_large_list, _lists),
    (types.is_struct, _structs),
    (_is_text_extension, lambda array: _strings(array.storage)),
)
