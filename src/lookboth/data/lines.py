"""Lines of files: read whatever their ends and encoding trouble, written as JSON any reader takes."""

import codecs
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lookboth.data.problems import ProblemLog
from lookboth.errors import DataError

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
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
    """Return the lines of a UTF-8 file without their ends (LF, CRLF or CR) and without a byte order mark.

    Only these ends end a line: a form feed or U+2028 inside a text stays in it. A line that is not UTF-8
    is a problem, repaired with U+FFFD in place of each undecodable byte; so is a file without content.

    Raises:
        DataError: if the file does not exist, cannot be opened or is UTF-16.
    """
    data = read_bytes(path)
    lines = _split_lines(io.BytesIO(data), str(path))
    decoded = [_decode_line(line, number, log) for number, line in enumerate(lines, 1)]
    if not data.removeprefix(codecs.BOM_UTF8).strip():
        log.add(1, "empty-file", "the file has no content")
    return decoded


def stream_file(path: str | Path) -> Iterator[str]:
    """Yield the lines that `read_lines` gives, as they are needed.

    Raises:
        DataError: while iterating, if the file cannot be opened, or as of `stream_lines`.
    """
    try:
        with Path(path).open("rb") as file:
            yield from stream_lines(file, str(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}. Name a readable file.") from error


def stream_lines(file: Iterable[bytes], name: str) -> Iterator[str]:
    """Yield the lines of an open file, each once it is there; without line feeds it is read whole.

    Args:
        file: lines with their line feeds.
        name: for messages.

    Raises:
        DataError: while iterating, if it is UTF-16 or a line is not UTF-8.
    """
    for number, line in enumerate(_split_lines(file, name), 1):
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{name}:{number}: not UTF-8 (byte {line[error.start]:#04x} at {error.start}). "
                "Convert the file, for example: iconv -f latin1 -t utf-8 FILE"
            ) from error


def _split_lines(file: Iterable[bytes], name: str) -> Iterator[bytes]:
    for number, line in enumerate(file):
        piece = line if number else line.removeprefix(codecs.BOM_UTF8)
        if number == 0 and piece.startswith(_UTF16):
            raise DataError(
                f"{name}: the file is UTF-16; lookboth reads UTF-8. Convert it: iconv -f UTF-16 -t UTF-8."
            )
        if number == 0 and not piece.endswith(b"\n"):  # there is no other line: lines end in CR
            yield from piece.removesuffix(b"\r").split(b"\r") if piece else ()
        else:
            yield piece.removesuffix(b"\n").removesuffix(b"\r")


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


def _decode_line(line: bytes, number: int, log: ProblemLog) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = f"byte 0x{line[error.start]:02x} at position {error.start + 1}"
        log.add(number, "encoding", f"{byte} of the line is not UTF-8", "read as U+FFFD")
        return line.decode("utf-8", errors="replace")
