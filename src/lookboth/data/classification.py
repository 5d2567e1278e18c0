"""Reader of texts with labels of the whole text: tab-separated files, CSV and JSON lines."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from lookboth.data.fields import LABEL_FIELDS, OTHER_FIELDS, FieldNames, differing_labels
from lookboth.data.jsonfile import open_records
from lookboth.data.jsonl import is_rejected
from lookboth.data.lines import read_lines
from lookboth.data.packed_files import suffix_of
from lookboth.data.problems import ProblemLog
from lookboth.data.record_splits import SPLIT_FIELDS, named_split, of_wanted_split
from lookboth.data.sentences import check_string
from lookboth.data.suffixes import JSONL_SUFFIXES
from lookboth.data.text_tables import Row, csv_rows, tsv_rows
from lookboth.data.words import example_from_text
from lookboth.types import Dataset, Example

_ALLOWED = 'write {"text": "...", "label": "..."} or {"text": "...", "labels": ["...", "..."]}'


class LabeledText(NamedTuple):
    """One text as read from a file.

    Args:
        line: first line of the text.
        text: the text, unchanged.
        labels: labels of the whole text.
        listed: whether the labels were a list, which may be empty.
    """

    line: int
    text: str
    labels: tuple[str, ...]
    listed: bool = False


def read_classification(
    path: str | Path,
    *,
    text_field: str | None = None,
    label_field: str | None = None,
    classes: Sequence[str] | None = None,
    repair: bool = False,
) -> Dataset:
    """Read texts with labels of the whole text; the result lists every problem.

    A .csv file has a header, separated by commas, semicolons or tabs, and CSV quoting. A .json, .jsonl or .ndjson file
    has one object per text. Any other file is tab-separated without quoting: one `label<TAB>text` per line, or columns
    in the order of its header. In CSV and tab-separated files `|` separates the labels of one text.

    Args:
        path: the file, decoded as in `lines.read_lines`.
        text_field, label_field: columns or keys; None: the first of `fields.TEXT_FIELDS` and of `fields.LABEL_FIELDS`.
        classes: names of class numbers, counted from 0; None: a number is its own name.
        repair: apply the repair of each invalid line instead of reporting the line as fatal.

    Raises:
        DataError: if the file cannot be read at all.
    """
    names = FieldNames.of(text_field, label_field)
    suffix = suffix_of(path)
    if suffix in JSONL_SUFFIXES:
        log, records = open_records(path, _ALLOWED, repair=repair)
        return build_text_dataset(_from_objects(records, names, classes, log), log)
    log = ProblemLog(str(path), repair=repair)
    lines = read_lines(path, log)
    rows = csv_rows(lines, log) if suffix == ".csv" else tsv_rows(lines)
    return build_text_dataset(_from_rows(rows, names, classes, log, header=suffix == ".csv"), log)


def build_text_dataset(texts: Iterable[LabeledText], log: ProblemLog) -> Dataset:
    """Check texts and labels and return the data set with all problems of the log.

    Args:
        texts: in file order.
        log: problems found by the reader. Texts without words are added. Texts without a label are added unless
            their labels were a list or other texts have several labels.
    """
    found = list(texts)
    # In a multi-label file a text without a label is a valid example.
    several = any(len(text.labels) > 1 for text in found)
    examples = []
    for text in found:
        if not (text.labels or text.listed or several):
            log.add(text.line, "no-label", "the text has no label", "the text is left out")
            continue
        example = _build_example(text, log)
        if example.words:
            examples.append(example)
        else:
            log.add(text.line, "empty-text", "the text has no words; it is left out", fatal=False)
    return Dataset(examples=examples, scheme="text", problems=log.problems(), name=log.name)


def parse_labels(value: Any, names: Sequence[str] | None = None) -> tuple[str, ...] | str:
    """Return the labels of one value (a name, a number, or a list of them), or the reason why it is invalid.

    Args:
        value: from JSON or a data set, not yet checked.
        names: class names by number; None: a number is its own name.

    >>> parse_labels("spam"), parse_labels([0, 2], ["joy", "fear", "anger"])
    (('spam',), ('joy', 'anger'))
    """
    if isinstance(value, list):
        parsed = [parse_labels(item, names) for item in value if not isinstance(item, list)]
        wrong = [item for item in parsed if isinstance(item, str)]
        if wrong or len(parsed) < len(value):
            return wrong[0] if wrong else "the labels are a list of lists; a label is a name"
        return tuple(dict.fromkeys(label for labels in parsed for label in labels))
    if isinstance(value, str) and value.strip():
        return (value.strip(),)
    if type(value) is not int:
        return f"the label {value!r:.40} is not a name; a label is a string or a whole number"
    if names is None:
        return (str(value),)
    if value == -1:
        return "the label -1 means that the label is hidden; such a split cannot be scored"
    if 0 <= value < len(names):
        return (names[value],)
    return f"the label {value} has no name; there are {len(names)}, counted from 0"


def _build_example(text: LabeledText, log: ProblemLog) -> Example:
    example = example_from_text(check_string(text.text, text.line, log), log.where(text.line))
    labels = tuple(check_string(label, text.line, log) for label in text.labels)
    return replace(example, text_labels=labels)


def _from_objects(
    records: Iterable[tuple[int, dict[str, Any]]],
    names: FieldNames,
    classes: Sequence[str] | None,
    log: ProblemLog,
) -> Iterator[LabeledText]:
    for number, record in records:
        if is_rejected(record, number, log):
            continue
        other = _other_labels(record, names)
        if other:
            log.add(number, "fields", other)
            continue
        fields = names.find(record)
        text, value = (record[field] for field in fields) if fields else (None, None)
        if not isinstance(text, str):
            message = f"keys {sorted(record)!r:.100} are not supported; {_ALLOWED}"
            log.add(number, "json", message, "the line is left out")
            continue
        labels = parse_labels(value, classes)
        if isinstance(labels, str):
            log.add(number, "label", labels, "the line is left out")
        else:
            yield LabeledText(number, text, labels, isinstance(value, list))


def _other_labels(record: Mapping[str, Any], names: FieldNames) -> str:
    """Return the message for a record whose "label" and "labels" differ, else ""."""
    usual = [key for key in ("label", "labels") if record.get(key) not in (None, "", [])]
    if (
        # A key that the user named decides; the usual keys may contradict each other.
        names.label != LABEL_FIELDS
        or len(usual) < 2
        or len({parse_labels(record[key]) for key in usual}) == 1
    ):
        return ""
    return differing_labels("label", "labels")


def rows_of_split(rows: Iterator[Row], columns: Sequence[str], log: ProblemLog) -> Iterator[Row]:
    """Return the rows of the split that is read, if a column names splits."""
    places = [place for place, name in enumerate(columns) if name.strip().lower() in SPLIT_FIELDS]
    if not places:
        return rows

    def split_of(row: Row) -> str | None:
        return named_split(row.columns[places[0]]) if len(row.columns) == len(columns) else None

    return (row for _, row in of_wanted_split(((row.line, row) for row in rows), log, split_of))


def _from_rows(
    rows: Iterator[Row],
    names: FieldNames,
    classes: Sequence[str] | None,
    log: ProblemLog,
    *,
    header: bool,
) -> Iterator[LabeledText]:
    """Yield the texts of rows; the first row may be a header, with `header` it must be one."""
    first = next(rows, None)
    if first is None:
        return
    heads = names.find(first.columns)
    if heads:
        text_column, label_column = map(first.columns.index, heads)
        count = len(first.columns)
    elif header:
        message = f"the header has {', '.join(first.columns)!r:.100}; it needs {names}; {OTHER_FIELDS}"
        log.add(first.line, "columns", message)
        return
    else:
        text_column, label_column, count = 1, 0, 2
        rows = chain([first], rows)
    for row in rows_of_split(rows, first.columns if heads else (), log):
        if len(row.columns) != count:
            message = f"{len(row.columns)} columns; a line must have {count}, including a label and a text"
            log.add(row.line, "columns", message, "the line is left out")
            continue
        cells = [cell.strip() for cell in row.columns[label_column].split("|")]
        labels = parse_labels([int(c) if classes and c.isdecimal() else c for c in cells if c], classes)
        if isinstance(labels, str):
            log.add(row.line, "label", labels, "the line is left out")
        else:
            yield LabeledText(row.line, row.columns[text_column], labels)
