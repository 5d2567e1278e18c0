"""The input of `predict`: reads a text, a file or standard input as a stream of examples."""

import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from lookboth.data import (
    CONLL_SUFFIXES,
    FILE_SUFFIXES,
    JSONL_SUFFIXES,
    StrictLog,
    document_of,
    example_from_text,
    parse_objects,
    require_columns,
    stream_file,
    stream_lines,
    stream_words,
    suffix_of,
    texts_of_table,
)
from lookboth.errors import DataError
from lookboth.types import Example

_OBJECTS = {*JSONL_SUFFIXES}
# In training data these suffixes contain columns; here they contain raw text.
_WORDS = {*CONLL_SUFFIXES} - {".txt", ".tsv", ".csv"}
_TABLES = {".csv", ".tsv"}
_NAMES_A_FILE = {*FILE_SUFFIXES, ".text"}
# An example and the name of its document; None: it is a document of its own.
_Named = tuple[Example, str | int | None]
_ALLOWED = 'write {"text": "..."} or {"tokens": ["...", "..."]}'


def read_inputs(source: str, stdin: BinaryIO, encoding: str | None = None) -> Iterator[Example]:
    """Yield the examples in `source`, each a document of its own.

    Args:
        source: a text; the name of a file, pipe or device; or "-" for standard input. The content of a file depends
            on its suffix: one word per line in the columns of labeled data (.conll, .iob2, .conllu; tags are
            ignored), one JSON object per line with "text" or "tokens" (.jsonl, .json), a table with a column of texts
            (.csv, .tsv; see `texts_of_table`), else one text per line. Standard input contains one text per line.
        stdin: stream to read for "-".
        encoding: encoding of the file or standard input; None: that of its byte order mark, else UTF-8.

    Raises:
        ConfigError: the encoding does not exist.
        DataError: the file does not exist or is a folder; a line cannot be decoded, is not JSON, has neither text
            nor tokens, or has other columns than the lines before; or a table has no column of texts.
    """
    return (example for example, _ in _named(source, stdin, encoding))


def read_documents(
    source: str, stdin: BinaryIO, encoding: str | None = None, *, documents: str | None = None
) -> tuple[list[Example], list[str | int | None]]:
    """Return all examples in `source` and the names of their documents, for `join_documents`.

    Args:
        source, stdin, encoding: as in `read_inputs`, also for the errors.
        documents: "file": the source is one document; "blank_lines": several blank lines end a document in columns;
            None: the borders in columns, and "document" in JSON. A text without any is a document of its own.
    """
    columns = os.path.exists(source) and suffix_of(source) in _WORDS
    if not columns:
        require_columns(source, documents)
    pairs = list(_named(source, stdin, encoding, ends_at_blanks=documents == "blank_lines"))
    names = [0 if documents == "file" else name for _, name in pairs]
    if documents != "file" and columns and not any(names):
        names = [None] * len(names)
    return [example for example, _ in pairs], names


def _named(
    source: str, stdin: BinaryIO, encoding: str | None, *, ends_at_blanks: bool = False
) -> Iterator[_Named]:
    """Yield each example with the name of its document."""
    if source == "-":
        return _texts(stream_lines(stdin, "standard input", encoding), "standard input")
    if os.path.isdir(source):
        raise DataError(
            f"{source}: is a folder. Name a file, or type `lookboth bulk` to label a folder. To label this name "
            "as a text, pass it through standard input (-)."
        )
    # A name that does not exist is a text to label, unless it looks like a mistyped file name.
    if not os.path.exists(source):
        _refuse_missing_file(source)
        return iter([(example_from_text(source), None)])
    suffix, lines = suffix_of(source), stream_file(source, encoding)
    if suffix in _WORDS:
        return _sentences(lines, source, ends_at_blanks=ends_at_blanks)
    if suffix in _TABLES:
        return _cells(lines, source, is_csv=suffix == ".csv")
    return _objects(lines, source) if suffix in _OBJECTS else _texts(lines, source)


def _refuse_missing_file(source: str) -> None:
    if not any(char.isspace() for char in source) and suffix_of(source) in _NAMES_A_FILE:
        raise DataError(
            f"{source}: no such file. Name an existing file, type a text in quotes, or type - for standard input."
        )


def _texts(lines: Iterable[str], name: str) -> Iterator[_Named]:
    for number, line in enumerate(lines, start=1):
        yield example_from_text(line, f"{name}:{number}"), None


def _cells(lines: Iterable[str], name: str, *, is_csv: bool) -> Iterator[_Named]:
    for number, text in texts_of_table(list(lines), StrictLog(name), is_csv=is_csv):
        yield example_from_text(text, f"{name}:{number}"), None


def _sentences(lines: Iterable[str], name: str, *, ends_at_blanks: bool) -> Iterator[_Named]:
    log = StrictLog(name)
    for sentence in stream_words(lines, log, ends_at_blanks=ends_at_blanks):
        yield Example(sentence.words, source=log.where(sentence.line(0))), sentence.document


def _objects(lines: Iterable[str], name: str) -> Iterator[_Named]:
    log = StrictLog(name)
    for number, record in parse_objects(lines, log, _ALLOWED):
        text, tokens = record.get("text"), record.get("tokens")
        if isinstance(text, str):
            yield example_from_text(text, log.where(number)), document_of(record)
        elif isinstance(tokens, list) and all(isinstance(token, str) for token in tokens):
            yield Example(tuple(tokens), source=log.where(number)), document_of(record)
        else:
            log.add(number, "json", 'no "text" (a string) and no "tokens" (a list of strings) in the object')
