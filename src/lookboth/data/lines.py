"""Lines of files: reading with any line ends and encoding, and writing of JSON lines."""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from lookboth.data.encodings import Undecodable, decode, is_wide, named_encoding, require_encoding
from lookboth.data.packed_files import UNPACKING_ERRORS, open_unpacked
from lookboth.data.problems import ProblemLog
from lookboth.errors import DataError

_BYTE_ORDER_MARK = "\ufeff"
# JSON allows these inside a string, but some readers end a line there, so they are escaped.
_LINE_ENDS = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def json_line(record: Mapping[str, Any]) -> str:
    """Return a record as one line of JSON; only lone surrogates and unusual line ends are escaped.

    >>> json_line({"text": "Ünïcode"})
    '{"text": "Ünïcode"}\\n'
    """
    line = json.dumps(record, ensure_ascii=False).translate(_LINE_ENDS)
    # UTF-8 cannot encode lone surrogates; backslashreplace turns one into its JSON escape.
    return line.encode("utf-8", errors="backslashreplace").decode("utf-8") + "\n"


def read_lines(path: str | Path, log: ProblemLog) -> list[str]:
    """Return the lines of a file without their ends (LF, CRLF or CR) and without a byte order mark.

    The encoding is that of `encodings.encoded_as`, else of the byte order mark, else UTF-8. Other separators, such as
    a form feed or U+2028, do not end a line. A file that cannot be decoded is one problem and has no lines; an empty
    file is a problem too.

    Raises:
        DataError: if the file does not exist or cannot be opened.
    """
    data = read_bytes(path)
    text = decode(data, named_encoding(data))
    if isinstance(text, Undecodable):
        log.add(text.line, "encoding", text.message)
        return []
    text = text.removeprefix(_BYTE_ORDER_MARK)
    if not text.strip():
        log.add(1, "empty-file", "the file has no content")
    return _lines_of(text)


def read_whole(path: str | Path) -> str:
    """Return the text of a file with its line ends as they are, without a byte order mark.

    Raises:
        DataError: if the file does not exist, cannot be opened or decoded.
    """
    data = read_bytes(path)
    return _require_text(decode(data, named_encoding(data)), str(path)).removeprefix(_BYTE_ORDER_MARK)


def stream_file(path: str | Path, encoding: str | None = None) -> Iterator[str]:
    """Yield the lines of a file lazily, split as in `read_lines`.

    Args:
        path: the file.
        encoding: as in `encoded_as`.

    Raises:
        DataError: while iterating, if the file cannot be opened, or as in `stream_lines`.
    """
    try:
        with open_unpacked(path) as file:
            yield from stream_lines(file, str(path), encoding)
    except (OSError, *UNPACKING_ERRORS) as error:
        raise _unreadable(path, error) from error


def stream_lines(file: Iterable[bytes], name: str, encoding: str | None = None) -> Iterator[str]:
    """Yield each line of an open file as soon as it is read; UTF-16 and files without line feeds are read whole.

    Args:
        file: lines with their line feeds.
        name: name of the file, for messages.
        encoding: as in `encoded_as`.

    Raises:
        ConfigError: while iterating, if the encoding is unknown.
        DataError: while iterating, if a line cannot be decoded.
    """
    lines = iter(file)
    first = next(lines, b"")
    encoding = require_encoding(encoding) or named_encoding(first)
    # Only in encodings with one-byte line feeds can bytes be split into lines before decoding.
    if is_wide(first, encoding) or not first.endswith(b"\n"):
        whole = _require_text(decode(b"".join([first, *lines]), encoding), name)
        yield from _lines_of(whole.removeprefix(_BYTE_ORDER_MARK))
        return
    for number, line in enumerate(chain([first], lines), 1):
        text = _require_text(decode(line, encoding), name, number)
        text = text.removeprefix(_BYTE_ORDER_MARK) if number == 1 else text
        yield text.removesuffix("\n").removesuffix("\r")


def _lines_of(text: str) -> list[str]:
    if "\n" not in text:
        return text.removesuffix("\r").split("\r") if text else []
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def _require_text(text: str | Undecodable, name: str, number: int = 1) -> str:
    if isinstance(text, Undecodable):
        raise DataError(f"{name}:{number + text.line - 1}: {text.message}.")
    return text


def read_bytes(path: str | Path) -> bytes:
    """Return the content of a file, unpacked if it is compressed (see `packed_files`).

    Raises:
        DataError: if the file does not exist, cannot be opened or cannot be unpacked.
    """
    try:
        with open_unpacked(path) as file:
            return file.read()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file. Check the path.") from None
    except (OSError, *UNPACKING_ERRORS) as error:
        raise _unreadable(path, error) from error
    except ValueError as error:
        raise DataError(f"{str(path)!a}: not a valid file name: {error}. Check the path.") from error


def _unreadable(path: str | Path, error: Exception) -> DataError:
    # Errors of unpacking have a message in place of an error number.
    reason = getattr(error, "strerror", None) or str(error)
    return DataError(f"{path}: cannot be read: {reason}. Name a readable file.")
