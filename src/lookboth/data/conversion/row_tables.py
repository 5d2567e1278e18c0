"""Reader of CSV and TSV with a header and one text per row: words and tags, or spans, as lists in the cells."""

import ast
import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lookboth.data import (
    ProblemLog,
    Table,
    delimiter_of,
    read_lines,
    read_word_rows,
    require_clean,
)
from lookboth.data.conversion.convert_options import Converted, ConvertOptions
from lookboth.types import Dataset

SUFFIXES = (".csv", ".tsv")
# Names of columns in tables -> names that all readers know.
_ALIASES = {"tag": "tags", "ner_tag": "tags", "slots": "tags"}
_TEXTS = {"text", "sentence", "tokens", "words", "content"}
_LABELS = {"tags", "ner_tags", "labels", "label", "ner", "spans", "entities", "ents", "pos_tags"}
_TAGS = re.compile(r"(?:O|[BIESLU]-\S+)(?:\s+(?:O|[BIESLU]-\S+))+")
_LIST = re.compile(r"\s*\[.*\]\s*", re.DOTALL)
# Rows from which the layout is recognized.
_NUM_ROWS = 50


def read_row_table(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read the words and tags, or the text and the spans, of each row.

    Cells hold lists of Python or JSON, or items separated by blanks.

    Args:
        path: the file, with a header.
        options: `text_field`, `label_field`, `scheme` and `labels`.
        repair: as in `read_jsonl`.

    Raises:
        DataError: if the file cannot be read, or has no such columns.
    """
    log = ProblemLog(str(path), repair=repair)
    lines = read_lines(path, log)
    require_clean(Dataset((), problems=log.problems(), name=log.name))
    columns, *rows = _rows(lines)
    names = [_name(column) for column in columns]

    def records(wanted: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        for row in rows:
            cells = dict(zip(names, row, strict=False))
            yield {name: _value(cells.get(name, "")) for name in wanted}

    dataset = read_word_rows(
        Table(str(path), str(path), names, {}, records),
        word_field=_name(options.text_field) if options.text_field else _only_text(names),
        tag_field=options.label_field and _name(options.label_field),
        scheme=options.scheme,
        labels=options.class_names,
        repair=repair,
    )
    return Converted(dataset)


def has_texts_in_rows(lines: Sequence[str]) -> bool:
    """Return whether a header names columns of texts and labels, and a row has a list, or several tags, as labels."""
    columns, *rows = _rows(lines[:_NUM_ROWS]) or [[]]
    names = [_name(column) for column in columns]
    places = [i for i, name in enumerate(names) if name in _LABELS]
    if not _TEXTS.intersection(names):
        return False
    cells = (row[i] for row in rows for i in places if i < len(row))
    return any(_LIST.fullmatch(cell) or _TAGS.fullmatch(cell.strip()) for cell in cells)


def _only_text(names: Sequence[str]) -> str | None:
    """Return the only column of texts; None if several are there."""
    found = [name for name in names if name in _TEXTS]
    return found[0] if len(found) == 1 else None


def _rows(lines: Sequence[str]) -> list[list[str]]:
    content = io.StringIO("\n".join(lines))
    return [row for row in csv.reader(content, delimiter=delimiter_of(lines)) if row]


def _name(column: str) -> str:
    name = column.strip().lower()
    return _ALIASES.get(name, name)


def _value(cell: str) -> Any:
    """Return the list in a cell; other cells are text."""
    if not _LIST.fullmatch(cell):
        return cell
    # NumPy writes no commas between strings.
    listed = cell if "," in cell else re.sub(r"(['\"])\s+(?=['\"])", r"\1, ", cell)
    try:
        return _as_lists(ast.literal_eval(listed.strip()))
    # A text in square brackets.
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return cell


def _as_lists(value: Any) -> Any:
    return [_as_lists(item) for item in value] if isinstance(value, list | tuple) else value
