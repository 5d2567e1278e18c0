"""Readers of rows with named columns: data sets of the Hugging Face hub and Parquet files."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from lookboth.data.charspans import LABEL_KEYS
from lookboth.data.classification import LabeledText, build_text_dataset, parse_labels
from lookboth.data.fields import (
    DOCUMENT_FIELDS,
    NESTED_PREFIX,
    OTHER_FIELDS,
    OTHER_TAG_FIELDS,
    SPAN_FIELDS,
    TAG_FIELDS,
    TEXT_FIELDS,
    WORD_FIELDS,
    FieldNames,
    are_spans,
    choose_tag_field,
    document_of,
)
from lookboth.data.jsonl import name_classes, parse_layers
from lookboth.data.problems import ProblemLog
from lookboth.data.record_splits import SPLIT_FIELDS, of_wanted_split
from lookboth.data.sentences import Sentence, build_dataset
from lookboth.data.spantexts import text_sentence
from lookboth.data.tag_layers import layer_note
from lookboth.errors import DataError
from lookboth.types import Dataset


class Table(NamedTuple):
    """Rows with named columns.

    Args:
        name: name of the file or data set, for messages about columns.
        log_name: the same with its split, for messages about rows.
        columns: names of the columns.
        features: features of the columns as the `datasets` library writes them; they name classes.
        rows: returns the rows with these columns only: decoding others (audio, images) takes long.
    """

    name: str
    log_name: str
    columns: Sequence[str]
    features: Mapping[str, Any]
    rows: Callable[[Sequence[str]], Iterable[Mapping[str, Any]]]


def read_word_rows(
    table: Table,
    *,
    word_field: str | None = None,
    tag_field: str | None = None,
    scheme: str | None = None,
    labels: Sequence[str] | None = None,
    repair: bool = False,
    head: str | None = None,
) -> Dataset:
    """Read words with tags, or texts with character spans; rows with the same "document" are one document.

    Args:
        table: the rows.
        word_field, tag_field: the columns; None: the first of `fields.WORD_FIELDS` (for spans: `fields.TEXT_FIELDS`),
            and the one that `fields.choose_tag_field` finds, else the first of `fields.SPAN_FIELDS`.
        scheme: tag scheme, one of `schemes.SCHEMES`, or None to detect it.
        labels: names of class numbers, counted from 0; None: those of the features.
        repair: apply the repair of each invalid row instead of reporting the row as fatal.
        head: scheme of the head that will use the data; see `tag_reading.choose_reading`.

    Raises:
        DataError: if a column does not exist.
    """
    _choose_field(word_field, tuple(dict.fromkeys((*WORD_FIELDS, *TEXT_FIELDS))), table, "text")
    tags = _choose_tags(tag_field, table)
    names = labels or class_names(table.features.get(tags))
    log = ProblemLog(table.log_name, repair=repair)
    columns = [c for c in table.columns if c in _usual(word_field, tags)]
    rows = [*of_wanted_split(enumerate(table.rows(columns), 1), log)]
    if _hold_spans(tags, rows):
        text = _choose_field(word_field, TEXT_FIELDS, table, "text")
        tokens = next((name for name in WORD_FIELDS if name != text and name in table.columns), None)
        sentences = [_span_row(row, (text, tokens, tags), names, number, log) for number, row in rows]
    else:
        words = _choose_field(word_field, WORD_FIELDS, table, "text")
        nested = next((name for name in table.columns if name == NESTED_PREFIX + tags), None)
        sentences = [_tagged_row(row, (words, tags, nested), names, number, log) for number, row in rows]
        if nested is not None:
            log.add(1, "two-layers", layer_note(nested, tags), fatal=False)
    placed = [
        replace(sentence, document=document_of(row))
        for sentence, (_, row) in zip(sentences, rows, strict=True)
        if sentence is not None
    ]
    return build_dataset(placed, scheme, log, head=head)


def read_text_rows(
    table: Table,
    *,
    text_field: str | None = None,
    label_field: str | None = None,
    labels: Sequence[str] | None = None,
    repair: bool = False,
) -> Dataset:
    """Read texts with labels of the whole text.

    Args:
        table: the rows.
        text_field, label_field: the columns; None: the first of `fields.TEXT_FIELDS` and of `fields.LABEL_FIELDS`.
        labels: names of class numbers, counted from 0; None: those of the features.
        repair: apply the repair of each invalid row instead of reporting the row as fatal.

    Raises:
        DataError: if a column does not exist.
    """
    fields = FieldNames.of(text_field, label_field)
    found = fields.find(table.columns)
    if found is None:
        present = ", ".join(table.columns)
        raise DataError(f"{table.name}: needs columns {fields}; there are {present}; {OTHER_FIELDS}")
    text, label = found
    names = labels or class_names(table.features.get(label))
    log = ProblemLog(table.log_name, repair=repair)
    columns = dict.fromkeys([text, label, *(name for name in SPLIT_FIELDS if name in table.columns)])
    rows = of_wanted_split(enumerate(table.rows([*columns]), 1), log)
    return build_text_dataset(_texts(((n, row[text], row[label]) for n, row in rows), names, log), log)


def read_raw_rows(table: Table, text_field: str | None = None) -> list[str]:
    """Return the raw texts: the text column, or the words of each row joined by spaces.

    Args:
        table: the rows.
        text_field: preferred column; the usual columns are used if it does not exist.

    Raises:
        DataError: if there is no such column.
    """
    usual = (*filter(None, [text_field]), *TEXT_FIELDS, *WORD_FIELDS)
    field = _choose_field(None, usual, table, "text")
    values = (row[field] for row in table.rows([field]))
    return [value if isinstance(value, str) else " ".join(value) for value in values if value]


def class_names(feature: Any) -> list[str] | None:
    """Return the class names of a column of numbers (ClassLabel), also inside lists and spans, else None.

    >>> class_names({"_type": "List", "feature": {"_type": "ClassLabel", "names": ["O", "B-PER"]}})
    ['O', 'B-PER']
    """
    if isinstance(feature, Mapping):
        names = feature.get("names")
        if isinstance(names, list):
            return names
        # Of the fields of a span, only the label has classes that are read.
        inner = [feature[key] for key in LABEL_KEYS if key in feature] or list(feature.values())
        return next((found for each in inner if (found := class_names(each)) is not None), None)
    return class_names(feature[0]) if isinstance(feature, list) and feature else None


def _usual(word_field: str | None, tags: str) -> set[str]:
    named = {*TEXT_FIELDS} if word_field is None else {word_field}
    return {tags, NESTED_PREFIX + tags, *WORD_FIELDS, *DOCUMENT_FIELDS, *SPLIT_FIELDS, *named}


def _hold_spans(tags: str, rows: Iterable[tuple[int, Mapping[str, Any]]]) -> bool:
    values = (_spans_of(row[tags]) for _, row in rows)
    return are_spans(tags, next((v for v in values if isinstance(v, list) and v), []), has_words=True)


def _spans_of(value: Any) -> Any:
    """Return the spans of a row as objects; `datasets` decodes a sequence of objects to an object of lists."""
    if isinstance(value, Mapping) and value and all(isinstance(column, list) for column in value.values()):
        return [dict(zip(value, cells, strict=False)) for cells in zip(*value.values(), strict=False)]
    return value


def _tagged_row(
    row: Mapping[str, Any],
    columns: tuple[str, str, str | None],
    names: Sequence[str] | None,
    number: int,
    log: ProblemLog,
) -> Sentence | None:
    sentence = parse_layers(row, columns, names, number)
    if isinstance(sentence, Sentence):
        return sentence
    log.add(number, "row", sentence, "the row is left out")
    return None


def _span_row(
    row: Mapping[str, Any],
    columns: tuple[str, str | None, str],
    names: Sequence[str] | None,
    number: int,
    log: ProblemLog,
) -> Sentence | None:
    text, tokens, spans = (row[column] if column is not None else None for column in columns)
    found = name_classes(_spans_of(spans), names)
    if not isinstance(text, str) or not isinstance(found, list):
        name = columns[0] if not isinstance(text, str) else columns[2]
        wanted = "a string" if not isinstance(text, str) else "a list of spans"
        log.add(number, "row", f"{name!r} is {row[name]!r:.40}, not {wanted}", "the row is left out")
        return None
    return text_sentence(text, found, number, log, tokens=tokens)


def _texts(
    rows: Iterable[tuple[int, Any, Any]], names: Sequence[str] | None, log: ProblemLog
) -> Iterator[LabeledText]:
    for number, text, value in rows:
        labels = parse_labels(value, names)
        if isinstance(labels, str):
            log.add(number, "row", labels, "the row is left out")
        elif not isinstance(text, str):
            log.add(number, "row", f"the text {text!r:.40} is not a string", "the row is left out")
        else:
            yield LabeledText(number, text, labels, isinstance(value, list))


def _choose_field(given: str | None, usual: Sequence[str], table: Table, kind: str) -> str:
    for field in (given,) if given else usual:
        if field in table.columns:
            return field
    wanted = given or " or ".join(usual)
    raise DataError(
        f"{table.name}: no column {wanted}; there are {', '.join(table.columns)}. "
        f"Name the column: --{kind}-field, in a recipe data.{kind}_field."
    )


def _choose_tags(given: str | None, table: Table) -> str:
    found = choose_tag_field(table.columns) if given is None else given
    if isinstance(found, list):
        raise DataError(
            f"{table.name}: columns {' and '.join(found)} both look like labels. "
            f"Name one: --label-field {found[0]}, in a recipe data.label_field."
        )
    return _choose_field(found, (*TAG_FIELDS, *OTHER_TAG_FIELDS, *SPAN_FIELDS), table, "label")
