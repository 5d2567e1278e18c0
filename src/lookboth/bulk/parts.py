"""Division of the input into parts: consecutive rows of one file, the unit of work and of resuming."""

import codecs
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lookboth.bulk.bulk_options import BulkOptions
from lookboth.bulk.input_files import InputFile
from lookboth.bulk.storage import Place
from lookboth.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

_CHUNK = 4 * 1024 * 1024
# Rows of Parquet measured at once.
_BATCH = 65_536
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Share of zero bytes above which a file counts as UTF-16, where every second byte of a Latin letter is zero.
_ZEROS = 0.2
_THREADS = 8


class Part(NamedTuple):
    """Consecutive rows of one file.

    Args:
        file: index of the file.
        row: index of the first row in the file; a row is a line, or a row of Parquet.
        num_rows: number of rows.
        start: byte offset of the first line in the uncompressed file; 0 in Parquet.
        size: uncompressed bytes of the lines; in Parquet, the proportional share of the columns that are read.
    """

    file: int
    row: int
    num_rows: int
    start: int
    size: int


def divide_into_parts(folder: Place, files: Sequence[InputFile], options: BulkOptions) -> list[Part]:
    """Return the parts of all files, in order; every row is in exactly one part.

    Text files are read once to find their lines, so that every worker uses the same row numbers.

    Raises:
        DataError: a file cannot be read; a text file is UTF-16, or its lines end in CR only; a Parquet file lacks a
            column, or has two columns with the same name.
    """

    def cut(index: int) -> list[Part]:
        file = files[index]
        place = folder.within(file.name)
        unknown = set(options.keep) - {options.column}
        if file.format == "text" and unknown:
            raise DataError(
                f"{place.path}: a plain text file does not have the column {min(unknown)!r}. Leave out --keep."
            )
        try:
            if file.format == "parquet":
                return list(_cut_parquet(place, index, options))
            return list(_cut_lines(place, index, options, file.packing))
        except OSError as error:
            raise DataError(f"{place.path}: cannot be read: {error}") from error

    with ThreadPoolExecutor(_THREADS) as pool:
        return [part for parts in pool.map(cut, range(len(files))) for part in parts]


def _cut_lines(place: Place, index: int, options: BulkOptions, packing: str | None) -> Iterator[Part]:
    """Yield parts that end with the line that reaches `part_bytes` or `part_rows`."""
    # First byte and row of the current part; bytes and lines read so far.
    start = row = 0
    read = lines = 0
    ends_line, inner_returns = True, False
    with place.filesystem.open_input_stream(place.path, compression=packing) as stream:
        while chunk := stream.read(_CHUNK):
            if read == 0:
                _require_utf8(chunk, place.path)
            inner_returns = inner_returns or (lines == 0 and b"\r" in chunk.rstrip(b"\r"))
            # 10 is the newline byte. numpy finds all of a chunk at once.
            ends = np.flatnonzero(np.frombuffer(chunk, dtype=np.uint8) == 10) + read + 1
            read, ends_line = read + len(chunk), chunk.endswith(b"\n")
            while True:
                last = int(np.searchsorted(ends, start + options.part_bytes))
                last = min(last, row + options.part_rows - lines - 1)
                if last >= len(ends):
                    break
                end, lines = int(ends[last]), lines + last + 1
                yield Part(index, row, lines - row, start, end - start)
                start, row, ends = end, lines, ends[last + 1 :]
            lines += len(ends)
    if lines == 0 and inner_returns:
        raise DataError(
            f"{place.path}: its lines end in CR only, so the file would be one row. Convert it: tr '\\r' '\\n' < FILE"
        )
    if read > start:
        yield Part(index, row, lines - row + (not ends_line), start, read - start)


def _require_utf8(start: bytes, path: str) -> None:
    """Refuse a file whose start looks like UTF-16; decoded as UTF-8, its text would be wrong."""
    if start.startswith(_UTF16) or start.count(0) > _ZEROS * len(start):
        raise DataError(
            f"{path}: the file is UTF-16; lookboth reads UTF-8. Convert it: iconv -f UTF-16 -t UTF-8."
        )


def _cut_parquet(place: Place, index: int, options: BulkOptions) -> Iterator[Part]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(place.path, filesystem=place.filesystem)
    except pa.ArrowInvalid as error:
        raise DataError(f"{place.path}: not a Parquet file: {error}") from error
    with file:
        _require_columns(file.schema_arrow, place.path, options)
        num_rows = file.metadata.num_rows
        size = _column_bytes(file, list(dict.fromkeys((options.column, *options.keep))))
    if not num_rows:
        return
    rows = max(1, min(options.part_rows, num_rows * options.part_bytes // max(1, size)))
    for row in range(0, num_rows, rows):
        length = min(rows, num_rows - row)
        yield Part(index, row, length, 0, size * length // num_rows)


def _column_bytes(file: "ParquetFile", names: list[str]) -> int:
    """Return the uncompressed bytes of the columns."""
    # The metadata has the bytes of plain columns. Those of a dictionary-encoded column count each value once, so it
    # is read and decoded instead.
    meta = file.metadata
    wanted = [c for c in range(meta.num_columns) if _is_of(meta.schema.column(c).path, names)]
    size = 0
    for group in range(meta.num_row_groups):
        chunks = [meta.row_group(group).column(c) for c in wanted]
        if any("DICTIONARY" in encoding for chunk in chunks for encoding in chunk.encodings):
            batches = file.iter_batches(_BATCH, row_groups=[group], columns=names)
            size += sum(_decoded_bytes(column) for batch in batches for column in batch.columns)
        else:
            size += sum(chunk.total_uncompressed_size for chunk in chunks)
    return size


def _is_of(path: str, names: list[str]) -> bool:
    return any(path == name or path.startswith(f"{name}.") for name in names)


def _decoded_bytes(column: "pa.Array") -> int:
    from pyarrow import types

    return int((column.dictionary_decode() if types.is_dictionary(column.type) else column).nbytes)


def _require_columns(schema: "pa.Schema", path: str, options: BulkOptions) -> None:
    known = ", ".join(schema.names)
    for name in (options.column, *options.keep):
        if name not in schema.names:
            option = "--column" if name == options.column else "--keep"
            raise DataError(f"{path}: there is no column {name!r}, only {known}. Type: {option} NAME")
        if schema.names.count(name) > 1:
            raise DataError(
                f"{path}: has {schema.names.count(name)} columns {name!r}. Rename them in the input."
            )
    kind = schema.field(options.column).type
    if not is_text(kind):
        raise DataError(
            f"{path}: column {options.column!r} has the type {kind}, not text. The columns are {known}. "
            "Type: --column NAME"
        )


def is_text(kind: Any) -> bool:
    """Return whether a column of this Arrow type can hold texts: strings, bytes (if UTF-8) or only nulls."""
    from pyarrow import types

    if types.is_dictionary(kind):
        return is_text(kind.value_type)
    tests = (types.is_binary, types.is_large_binary, types.is_binary_view, types.is_null)
    return is_string(kind) or any(test(kind) for test in tests)


def is_string(kind: Any) -> bool:
    """Return whether a column of this Arrow type holds strings."""
    from pyarrow import types

    if types.is_dictionary(kind):
        return is_string(kind.value_type)
    return any(test(kind) for test in (types.is_string, types.is_large_string, types.is_string_view))
