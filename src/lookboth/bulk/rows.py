"""Reading the rows of a part: texts to label, and invalid rows with their reason."""

import codecs
import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NoReturn

import pyarrow as pa
from pyarrow import parquet

from lookboth.bulk.bulk_options import BulkOptions
from lookboth.bulk.input_files import InputFile
from lookboth.bulk.kept_columns import json_values, take_rows
from lookboth.bulk.parts import Part, is_text
from lookboth.bulk.storage import Place
from lookboth.data import parse_json, repeated_key
from lookboth.errors import DataError

# Limit of a line, so that a file without newlines does not fill the memory.
LINE_BYTES = 64 * 1024 * 1024
_CHUNK = 1024 * 1024
# Maximum number of keys in a message.
_SHOWN = 20
# Escapes of surrogates in JSON. Only lines with one need the slower check for lone surrogates.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


@dataclass(slots=True)
class Row:
    """A row of the input.

    Args:
        number: index of the row in its file.
        text: text to label; None in an invalid row.
        kept: the kept columns, as far as they could be read.
        reason: short name of the problem of an invalid row, else "".
        message: description of the problem.
        byte: byte offset of the line in the uncompressed file; None in Parquet.
    """

    number: int
    text: str | None = None
    kept: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    message: str = ""
    byte: int | None = None

    def invalidate(self, reason: str, message: str) -> None:
        """Mark the row as invalid."""
        self.text, self.reason, self.message = None, reason, message


class _InvalidRow(Exception):
    """Raised when a row is invalid; its arguments are reason and message."""


def read_rows(folder: Place, file: InputFile, part: Part, options: BulkOptions) -> Iterator[Row]:
    """Yield the rows of a part, including invalid ones.

    Raises:
        DataError: the file has changed since the run started.
    """
    place = file.require_unchanged(folder)
    if file.format == "parquet":
        yield from _parquet_rows(place, part, options)
        return
    for number, byte, line in _lines(place, file, part):
        row = Row(number, byte=byte)
        try:
            _fill_from_line(row, line, file.format, options)
        except _InvalidRow as invalid:
            row.invalidate(*invalid.args)
        yield row


def _lines(place: Place, file: InputFile, part: Part) -> Iterator[tuple[int, int, bytes]]:
    """Yield (row, first byte, line); a line is cut after LINE_BYTES + 1 bytes, so that memory is bounded."""
    if file.packing:
        raw = place.filesystem.open_input_stream(place.path, compression=file.packing)
    else:
        raw = place.filesystem.open_input_file(place.path)
        raw.seek(part.start)
    with io.BufferedReader(raw, _CHUNK) as stream:
        if file.packing:
            _skip(stream, part.start)
        byte = part.start
        for number in range(part.row, part.row + part.num_rows):
            line = stream.readline(LINE_BYTES + 1)
            if not line:
                raise DataError(
                    f"{place.path}: ends before row {number}; it has changed since the run started."
                )
            yield number, byte, line
            byte += len(line)
            if len(line) > LINE_BYTES and not line.endswith(b"\n"):
                byte += _skip_line(stream)


def _skip(stream: io.BufferedReader, num_bytes: int) -> None:
    while num_bytes:
        num_bytes -= len(stream.read(min(num_bytes, _CHUNK))) or num_bytes


def _skip_line(stream: io.BufferedReader) -> int:
    """Read to the end of a line and return the number of bytes read."""
    num_bytes = 0
    while piece := stream.readline(_CHUNK):
        num_bytes += len(piece)
        if piece.endswith(b"\n"):
            break
    return num_bytes


def _fill_from_line(row: Row, line: bytes, file_format: str, options: BulkOptions) -> None:
    if len(line) > LINE_BYTES:
        raise _InvalidRow("line-too-long", f"the line has more than {LINE_BYTES} bytes")
    line = line.removesuffix(b"\n").removesuffix(b"\r")
    text: Any = _decoded(line.removeprefix(codecs.BOM_UTF8) if row.number == 0 else line)
    if file_format == "text":
        # The lines are the only column of a text file.
        row.kept = dict.fromkeys(options.keep, text)
    else:
        record = _record(text, may_hold_surrogates=_SURROGATE.search(line) is not None)
        row.kept = {name: record.get(name) for name in options.keep}
        if options.column not in record:
            known = ", ".join(record)[:200] or "none"
            raise _InvalidRow("no-column", f"the key {options.column!r} is missing; the keys are: {known}")
        text = record[options.column]
    row.text = _checked(text, options)


def require_keys(folder: Place, files: Sequence[InputFile], options: BulkOptions) -> None:
    """Refuse columns that are missing in every record of the JSON files, probably because of a typing error.

    Files are read until each column has been found, usually in the first record.

    Raises:
        DataError: a column is missing; the message lists the existing keys.
    """
    missing, known = dict.fromkeys((options.column, *options.keep)), dict[str, None]()
    for file in files:
        for record in _records(folder, file) if file.format == "jsonl" and missing else ():
            for name in [name for name in missing if name in record]:
                del missing[name]
            if not missing:
                return
            known |= dict.fromkeys(list(record)[: _SHOWN - len(known)])
    if missing and known and all(file.format == "jsonl" for file in files):
        name = next(iter(missing))
        option = "--column" if name == options.column else "--keep"
        raise DataError(
            f"{folder.path}: no record has the key {name!r}. The keys are {', '.join(known)}. Type: {option} NAME"
        )


def _records(folder: Place, file: InputFile) -> Iterator[dict[str, Any]]:
    """Yield the valid JSON objects of a file."""
    place = folder.within(file.name)
    raw = place.filesystem.open_input_stream(place.path, compression=file.packing)
    with io.BufferedReader(raw, _CHUNK) as stream:
        first = True
        while line := stream.readline(LINE_BYTES + 1):
            if len(line) > LINE_BYTES and not line.endswith(b"\n"):
                _skip_line(stream)
            with suppress(_InvalidRow):
                yield _record(_decoded(line.removeprefix(codecs.BOM_UTF8) if first else line))
            first = False


def _record(text: str, *, may_hold_surrogates: bool = False) -> dict[str, Any]:
    try:
        record = parse_json(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _InvalidRow("not-json", f"not JSON: {error}") from error
    if not isinstance(record, dict):
        raise _InvalidRow("not-an-object", f"a JSON object is expected, not {type(record).__name__}")
    if (key := repeated_key(record)) is not None:
        raise _InvalidRow(
            "repeated-key", f"the key {key!r:.100} occurs twice in one object, with different values"
        )
    if may_hold_surrogates:
        try:
            json.dumps(record, ensure_ascii=False).encode()
        except (UnicodeEncodeError, RecursionError) as error:
            raise _InvalidRow(
                "lone-surrogate", "the text has half of a surrogate pair, which UTF-8 cannot encode"
            ) from error
    return record


def _refuse_constant(name: str) -> NoReturn:
    # Python's parser accepts NaN and Infinity, which are not JSON.
    raise ValueError(f"{name} is not a JSON value")


def _parquet_rows(place: Place, part: Part, options: BulkOptions) -> Iterator[Row]:
    table = _parquet_slice(place, part, options)
    texts = _texts(table.column(options.column))
    kept = {name: _kept(table.column(name), is_the_text=name == options.column) for name in options.keep}
    for i, text in enumerate(texts):
        row = Row(part.row + i, kept={name: values[i] for name, values in kept.items()})
        try:
            row.text = _checked(_decoded(text) if isinstance(text, bytes) else text, options)
        except _InvalidRow as invalid:
            row.invalidate(*invalid.args)
        yield row


def kept_columns(
    folder: Place, file: InputFile, part: Part, options: BulkOptions, rows: Sequence[Row]
) -> dict[str, pa.ChunkedArray]:
    """Return the kept columns of some rows of a Parquet part, with type and values unchanged.

    Raises:
        DataError: the file has changed since the run started.
    """
    table = _parquet_slice(file.require_unchanged(folder), part, options)
    numbers = [row.number - part.row for row in rows]
    return {name: take_rows(table.column(name), numbers) for name in options.keep}


def _texts(column: pa.ChunkedArray) -> list[bytes | None]:
    """Return texts as bytes, because pyarrow raises on the whole column if one string is not UTF-8."""
    return column.cast(pa.large_binary()).to_pylist() if is_text(column.type) else column.to_pylist()


def _kept(column: pa.ChunkedArray, *, is_the_text: bool) -> list[Any]:
    """Return the values of a column for JSON; bytes in the text column become strings, invalid bytes escapes."""
    values = json_values(column)
    if not is_the_text:
        return values
    return [v.decode("utf-8", "backslashreplace") if isinstance(v, bytes) else v for v in values]


def _parquet_slice(place: Place, part: Part, options: BulkOptions) -> pa.Table:
    """Return the rows of a part; row groups are read whole and the last two stay cached for the next part."""
    names = tuple(dict.fromkeys((options.column, *options.keep)))
    info = place.info()
    tables, first = [], 0
    for group, num_rows in enumerate(_group_sizes(place, info.mtime_ns)):
        start, end = max(part.row - first, 0), min(part.row + part.num_rows - first, num_rows)
        if start < end:
            tables.append(_read_group(place, info.mtime_ns, group, names).slice(start, end - start))
        first += num_rows
    return pa.concat_tables(tables)


@lru_cache(maxsize=16)
def _group_sizes(place: Place, changed: int | None) -> list[int]:
    with parquet.ParquetFile(place.path, filesystem=place.filesystem) as file:
        return [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]


@lru_cache(maxsize=2)
def _read_group(place: Place, changed: int | None, group: int, names: tuple[str, ...]) -> pa.Table:
    with parquet.ParquetFile(place.path, filesystem=place.filesystem) as file:
        return file.read_row_group(group, columns=list(names))


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _InvalidRow(
            "not-utf-8", f"not UTF-8: byte {data[error.start]:#04x} at offset {error.start} of the text"
        ) from error


def _checked(text: Any, options: BulkOptions) -> str:
    if text is None:
        raise _InvalidRow("null", f"{options.column!r} is null")
    if not isinstance(text, str):
        raise _InvalidRow("not-a-string", f"{options.column!r} is {type(text).__name__}, not a string")
    if len(text) > options.max_chars:
        raise _InvalidRow(
            "too-long", f"{len(text)} characters; the limit is {options.max_chars} (--max-chars)"
        )
    return text
