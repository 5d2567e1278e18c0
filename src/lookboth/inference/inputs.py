"""What `predict` is given, a text, a file or standard input, as examples to label, read as they are needed."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from lookboth.data.readers import FILE_SUFFIXES
from lookboth.data.texts import example_from_text
from lookboth.errors import DataError
from lookboth.types import Example

WORDS_SUFFIXES = (".conll", ".iob2", ".bio", ".iob", ".conllu")
JSONL_SUFFIXES = (".jsonl", ".ndjson")
_NAMES_A_FILE = {*FILE_SUFFIXES, *JSONL_SUFFIXES, ".text"}


def read_inputs(source: str, stdin: BinaryIO) -> Iterator[Example]:
    """Yield what `source` names.

    Args:
        source: a text; the name of a file, pipe or device, with a text a line (any suffix), a word a line in the
            first column and blank lines between sentences (.conll, .iob2, .bio), or a JSON object a line with "text"
            or "tokens" (.jsonl); or "-" for standard input, a text a line.
        stdin: read for "-".

    Raises:
        DataError: no such file, a folder, or a line that is not UTF-8, not JSON, or has neither text nor tokens.
    """
    if source == "-":
        return _texts(_lines(stdin, "standard input"), "standard input")
    if os.path.isdir(source):
        raise DataError(
            f"{source}: is a folder. Name a file, type `lookboth bulk` to label a folder, or give a text of this "
            "name through -."
        )
    if not os.path.exists(source):
        _refuse_missing_file(source)
        return iter([example_from_text(source)])
    lines = _file_lines(source)
    suffix = Path(source).suffix.lower()
    if suffix in WORDS_SUFFIXES:
        return _sentences(lines, source)
    return _objects(lines, source) if suffix in JSONL_SUFFIXES else _texts(lines, source)


def _refuse_missing_file(source: str) -> None:
    if not any(char.isspace() for char in source) and Path(source).suffix.lower() in _NAMES_A_FILE:
        raise DataError(f"{source}: no such file. Give a file that exists, a text in quotes, or - for input.")


def _file_lines(name: str) -> Iterator[str]:
    with Path(name).open("rb") as file:
        yield from _lines(file, name)


def _lines(file: Iterable[bytes], name: str) -> Iterator[str]:
    for number, line in enumerate(file, start=1):
        try:
            text = line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{name}:{number}: not UTF-8 (byte {error.object[error.start]:#04x} at {error.start}). "
                "Convert the file, for example: iconv -f latin1 -t utf-8 FILE"
            ) from error
        yield text.removeprefix("\ufeff") if number == 1 else text


def _texts(lines: Iterable[str], name: str) -> Iterator[Example]:
    for number, line in enumerate(lines, start=1):
        yield example_from_text(line, f"{name}:{number}")


def _sentences(lines: Iterable[str], name: str) -> Iterator[Example]:
    words: list[str] = []
    first = 1
    for number, line in enumerate(lines, start=1):
        columns = line.split("\t") if "\t" in line else line.split()
        if columns and columns[0] != "-DOCSTART-":
            first = first if words else number
            words.append(columns[0])
        elif words:
            yield Example(tuple(words), source=f"{name}:{first}")
            words = []
    if words:
        yield Example(tuple(words), source=f"{name}:{first}")


def _objects(lines: Iterable[str], name: str) -> Iterator[Example]:
    for number, line in enumerate(lines, start=1):
        where = f"{name}:{number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f'{where}: not JSON ({error}). Each line is an object: {{"text": "..."}}'
            ) from error
        text, tokens = (
            (record.get("text"), record.get("tokens")) if isinstance(record, dict) else (None, None)
        )
        if isinstance(text, str):
            yield example_from_text(text, where)
        elif isinstance(tokens, list) and all(isinstance(token, str) for token in tokens):
            yield Example(tuple(tokens), source=where)
        else:
            raise DataError(
                f'{where}: no "text" (a string) and no "tokens" (a list of strings) in the object.'
            )
