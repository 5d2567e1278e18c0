"""Lines of files: read whatever their ends and encoding trouble, written as JSON any reader takes."""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from lookboth.data.encodings import Undecodable, decode, is_wide, named_encoding, require_encoding
from lookboth.data.problems import ProblemLog
from lookboth.errors import DataError

_MARK = "\ufeff"  # byte order mark
# JSON allows these inside a string, but some readers end a line at them: escaped, no reader does.
_LINE_ENDS = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def json_line(record: Mapping[str, Any]) -> str:
    """Return a record as one line of JSON, readable as it stands; lone surrogates are escaped.

    >>> json_line({"text": "Ünïcode"})
    '{"text": "Ünïcode"}\\n'
    """
    line = json.dumps(record, ensure_ascii=False).translate(_LINE_ENDS)
    # UTF-8 has no lone surrogates; what backslashreplace makes of one is its JSON escape.
    return line.encode("utf-8", errors="backslashreplace").decode("utf-8") + "\n"


def read_lines(path: str | Path, log: ProblemLog) -> list[str]:
    """Return the lines of a file without their ends (LF, CRLF or CR) and without a byte order mark.

    The encoding is that of `encodings.encoded_as`, else of the byte order mark, else UTF-8. Only these ends end a
    line: a form feed or U+2028 inside a text stays in it. A file that cannot be decoded is one problem and gives no
    lines; a file without content is a problem too.

    Raises:
        DataError: if the file does not exist or cannot be opened.
    """
    data = read_bytes(path)
    text = decode(data, named_encoding(data))
    if isinstance(text, Undecodable):
        log.add(text.line, "encoding", text.message)
        return []
    text = text.removeprefix(_MARK)
    if not text.strip():
        log.add(1, "empty-file", "the file has no content")
    return _lines_of(text)


def read_whole(path: str | Path) -> str:
    """Return the text of a file with its line ends as they are, without a byte order mark.

    Raises:
        DataError: if the file does not exist, cannot be opened or decoded.
    """
    data = read_bytes(path)
    return _require_text(decode(data, named_encoding(data)), str(path)).removeprefix(_MARK)


def stream_file(path: str | Path, encoding: str | None = None) -> Iterator[str]:
    """Yield the lines that `read_lines` gives, as they are needed.

    Args:
        path, encoding: as of `read_lines` and `encoded_as`.

    Raises:
        DataError: while iterating, if the file cannot be opened, or as of `stream_lines`.
    """
    try:
        with Path(path).open("rb") as file:
            yield from stream_lines(file, str(path), encoding)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}. Name a readable file.") from error


def stream_lines(file: Iterable[bytes], name: str, encoding: str | None = None) -> Iterator[str]:
    """Yield the lines of an open file, each once it is there; UTF-16 and a file without line feeds are read whole.

    Args:
        file: lines with their line feeds.
        name: for messages.
        encoding: as of `encoded_as`.

    Raises:
        ConfigError: while iterating, if there is no such encoding.
        DataError: while iterating, if a line cannot be decoded.
    """
    lines = iter(file)
    first = next(lines, b"")
    encoding = require_encoding(encoding) or named_encoding(first)
    if is_wide(first, encoding) or not first.endswith(b"\n"):
        whole = _require_text(decode(b"".join([first, *lines]), encoding), name)
        yield from _lines_of(whole.removeprefix(_MARK))
        return
    for number, line in enumerate(chain([first], lines), 1):
        text = _require_text(decode(line, encoding), name, number)
        text = text.removeprefix(_MARK) if number == 1 else text
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
    """Return what a file holds.

    Raises:
        DataError: if the file does not exist or cannot be opened.
    """
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file. Check the path.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}. Name a readable file.") from error
    except ValueError as error:
        raise DataError(f"{str(path)!a}: no name of a file: {error}.") from error
