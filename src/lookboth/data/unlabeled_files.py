"""Files whose texts are read without labels: JSON records, tables (CSV, tab-separated, Parquet), columns of words."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from lookboth.data.classification import rows_of_split
from lookboth.data.conll import stream_words
from lookboth.data.fields import (
    LABEL_FIELDS,
    OTHER_TAG_FIELDS,
    SPAN_FIELDS,
    TAG_FIELDS,
    TEXT_FIELDS,
    WORD_FIELDS,
    RecordFields,
    choose_fields,
)
from lookboth.data.jsonfile import open_records
from lookboth.data.labeled_rows import Table
from lookboth.data.lines import read_lines
from lookboth.data.packed_files import suffix_of
from lookboth.data.parquet import open_parquet
from lookboth.data.problems import ProblemLog, StrictLog, require_clean
from lookboth.data.readers import ReadOptions
from lookboth.data.record_splits import SPLIT_FIELDS, of_wanted_split
from lookboth.data.separators import Splitter, looks_like_tag
from lookboth.data.suffixes import CONLL_SUFFIXES, JSONL_SUFFIXES, PARQUET_SUFFIXES
from lookboth.data.text_tables import Row, csv_rows, text_column, tsv_rows
from lookboth.errors import DataError
from lookboth.types import Dataset, Example

# A text, or the words of an example.
Item = str | Example
_ALLOWED = 'write {"text": "..."} or {"tokens": ["...", "..."]}'
_LABELS = (*TAG_FIELDS, *OTHER_TAG_FIELDS, *SPAN_FIELDS, *LABEL_FIELDS)
_COLUMNS = {*CONLL_SUFFIXES} - {".txt", ".csv", ".tsv"}


def read_unlabeled_file(path: Path, options: ReadOptions) -> list[Item] | None:
    """Return the texts of a file that can be read without its labels; None if it must be read as labeled data.

    Of a table the column of texts is read, of JSON records the words or the text, of columns the words. Labels of
    whole texts are ignored. Words with tags and texts with spans are labeled data for labeling.

    Args:
        path: an existing file, or the name of Parquet shards.
        options: `text_field` is preferred to the usual names.

    Raises:
        DataError: the file cannot be read, or a CSV file has no column of texts.
    """
    suffix = suffix_of(path)
    if suffix in JSONL_SUFFIXES:
        return _of_records(path, options)
    if suffix in PARQUET_SUFFIXES:
        return _of_parquet(open_parquet(path), options)
    if suffix == ".csv":
        return _of_csv(path, options)
    if suffix == ".tsv":
        return _of_tsv(path, options)
    return _of_columns(path, options) if suffix in _COLUMNS else None


def _of_records(path: Path, options: ReadOptions) -> list[Item] | None:
    log, found = open_records(path, _ALLOWED, repair=options.repair)
    records = [record for _, record in found]
    fields = choose_fields(records, options.text_field, options.label_field)
    keys = [] if isinstance(fields, str) else [fields.of(record) for record in records]
    labeled = options.kind == "labeling"
    if not keys or any(not (key.words or key.text) or (key.labels and labeled) for key in keys):
        return None
    _require_read(log)
    return _shown(_of_record(record, key) for record, key in zip(records, keys, strict=True))


def _of_record(record: Mapping[str, Any], keys: RecordFields) -> Item:
    """Return the words of a record, or its text where its words are objects, as in Prodigy."""
    words = record.get(keys.words or "")
    if isinstance(words, list) and (keys.text is None or all(isinstance(word, str) for word in words)):
        return Example(tuple(map(str, words)))
    return str(record[str(keys.text)])


def _of_parquet(table: Table, options: ReadOptions) -> list[Item] | None:
    usual = (options.text_field, *TEXT_FIELDS, *WORD_FIELDS)
    field = next((name for name in usual if name in table.columns), None)
    if field is None:
        return None
    log = ProblemLog(table.log_name)
    columns = [field, *(name for name in SPLIT_FIELDS if name in table.columns and name != field)]
    values = [row[field] for _, row in of_wanted_split(enumerate(table.rows(columns), 1), log)]
    _require_read(log)
    if options.kind == "labeling" and _has_tagged_words(table, field, values, options):
        return None
    return _shown(Example(tuple(value)) if isinstance(value, list) else str(value or "") for value in values)


def _has_tagged_words(table: Table, field: str, values: Sequence[Any], options: ReadOptions) -> bool:
    """Whether a table has words, in the column of these values or another one, and labels."""
    others = {*table.columns} - {field}
    has_words = any(isinstance(value, list) for value in values) or not others.isdisjoint(WORD_FIELDS)
    return has_words and not others.isdisjoint((options.label_field, *_LABELS))


def _of_csv(path: Path, options: ReadOptions) -> list[Item] | None:
    log = ProblemLog(str(path), repair=options.repair)
    rows = [*csv_rows(read_lines(path, log), log)]
    header = rows[0].columns if rows else ()
    place = _text_place(header, options)
    if place is not None:
        return _cells(rows, place, log)
    # Words and tags, in columns.
    if options.kind == "labeling" and len(header) > 1:
        return None
    _require_read(log)
    raise DataError(
        f"{path}: no column {' or '.join(TEXT_FIELDS)}; the first line has {', '.join(header)!r:.100}. Write the name "
        "of the column of texts there (text), or name another column in the recipe: data.text_field."
    )


def _of_tsv(path: Path, options: ReadOptions) -> list[Item] | None:
    """Return the texts under a header, or the second of two columns without one (label, text)."""
    log = ProblemLog(str(path), repair=options.repair)
    rows = [*tsv_rows(read_lines(path, log))]
    place = _text_place(rows[0].columns, options) if rows else None
    if place is not None and _has_blanks(rows[1:], place):
        return _cells(rows, place, log)
    if all(len(row.columns) == 2 for row in rows) and _has_blanks(rows, 1):
        return _cells([Row(0, ("", "text")), *rows], 1, log)
    return _of_columns(path, options)


def _of_columns(path: Path, options: ReadOptions) -> list[Item] | None:
    """Return the words of CoNLL-U and of columns that have no tags, for whole texts also of columns that have them."""
    log = ProblemLog(str(path), repair=options.repair)
    lines = read_lines(path, log)
    rows = list(filter(None, map(Splitter.of(lines).split, lines)))
    words_only = all(len(row) == 1 for row in rows if row[0] != "#") or (
        suffix_of(path) == ".conllu" and options.word_column == 0
    )
    tagged = options.kind == "classification" and all(looks_like_tag(row[-1]) for row in rows if len(row) > 1)
    if not (words_only or tagged):
        return None
    _require_read(log)
    return [Example(sentence.words) for sentence in stream_words(lines, StrictLog(log.name))]


def _text_place(header: Sequence[str], options: ReadOptions) -> int | None:
    """Return the index of the column of texts in a header, ignoring case; None if there is none."""
    named = [options.text_field.lower()] if options.text_field else ()
    return text_column(header, chain(named, TEXT_FIELDS))


def _has_blanks(rows: Iterable[Row], place: int) -> bool:
    """Whether a column of a tab-separated file has texts of several words."""
    return any(len(row.columns) > place and len(row.columns[place].split()) > 1 for row in rows)


def _cells(rows: Sequence[Row], place: int, log: ProblemLog) -> list[Item]:
    """Return the cells of a column below the header, of the split that is read."""
    header, texts = rows[0].columns, []
    for row in rows_of_split(iter(rows[1:]), header, log):
        if len(row.columns) == len(header):
            texts.append(row.columns[place])
        else:
            message = f"{len(row.columns)} columns; the header has {len(header)}"
            log.add(row.line, "columns", message, "the line is left out")
    _require_read(log)
    return _shown(texts)


def _shown(items: Iterable[Item]) -> list[Item]:
    """Return the items without blank texts."""
    return [item for item in items if not isinstance(item, str) or item.strip()]


def _require_read(log: ProblemLog) -> None:
    """Raise for the fatal problems of a file."""
    require_clean(Dataset((), problems=log.problems(), name=log.name))
