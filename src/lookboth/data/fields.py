"""Names of the fields for words, texts and labels in files and data sets, and the choice among several."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

WORD_FIELDS = ("tokens", "words", "sentence")
TEXT_FIELDS = ("text", "sentence", "content")
SPAN_FIELDS = ("spans", "entities", "ents")
TAG_FIELDS = ("tags", "ner_tags", "labels", "label", "ner")
# Read only if none of the others is present.
OTHER_TAG_FIELDS = ("pos_tags", "upos")
# Before the name of a field of tags: another layer of tags, as in GermEval 2014 on the hub (nested_ner_tags).
NESTED_PREFIX = "nested_"
# Labels of whole texts. First label_text: some data sets have a number in label and its name in label_text.
LABEL_FIELDS = ("label_text", "label", "labels")
OTHER_FIELDS = "name others: --text-field, --label-field (in a recipe: data.text_field, data.label_field)"
# Name or number of the document of a text.
DOCUMENT_FIELDS = ("document", "document_id", "doc_id", "doc_key")
NO_LABELS: tuple[object, ...] = (None, "", "O", [])


def document_of(record: Mapping[str, Any]) -> str | int | None:
    """Return the name or number of the document of a record; None if it has none.

    >>> document_of({"text": "so", "document_id": "a7"}), document_of({"document": {"title": "so"}})
    ('a7', None)
    """
    named = (record[key] for key in DOCUMENT_FIELDS if key in record)
    return next((name for name in named if isinstance(name, str | int)), None)


class FieldNames(NamedTuple):
    """Possible names of the text and the label column (or key), the preferred name first."""

    text: Sequence[str]
    label: Sequence[str]

    @classmethod
    def of(cls, text: str | None, label: str | None) -> "FieldNames":
        """Return the given names, or the default names for those that are None."""
        return cls((text,) if text else TEXT_FIELDS, (label,) if label else LABEL_FIELDS)

    def find(self, present: Iterable[str]) -> tuple[str, str] | None:
        """Return the text and the label column among those present, ignoring case; None if one is missing."""
        there = {name.strip().lower(): name for name in present}
        text, label = (
            next((there[name.lower()] for name in names if name.lower() in there), None) for names in self
        )
        return None if text is None or label is None else (text, label)

    def __str__(self) -> str:
        return f"{' or '.join(self.text)} and {' or '.join(self.label)}"


class RecordFields(NamedTuple):
    """Keys of one record for its list of words, its text and its labels; None for a missing one."""

    words: str | None
    text: str | None
    labels: str | None


class JsonFields(NamedTuple):
    """Names looked up in each record of a file, the preferred ones first."""

    texts: tuple[str, ...]
    words: tuple[str, ...]
    labels: tuple[str, ...]

    def of(self, record: Mapping[str, Any]) -> RecordFields:
        """Return the keys of a record; all None if the text field that the user named is missing."""
        if len(self.texts) == 1 and self.texts[0] not in record:
            return RecordFields(None, None, None)
        words = next((name for name in self.words if isinstance(record.get(name), list)), None)
        text = next((name for name in self.texts if isinstance(record.get(name), str)), None)
        present = _candidates(record, self.labels, words)
        return RecordFields(words, text, present[0] if present else None)


def choose_fields(
    records: Sequence[Mapping[str, Any]], text_field: str | None, label_field: str | None
) -> JsonFields | str:
    """Return the names to read from the records of one file, or the reason why the user must choose.

    Label keys whose values are empty in the whole file come last. If two label keys of one record have different
    labels, the user must choose.

    Args:
        records: all records of the file.
        text_field: key of words or texts; None: the usual names.
        label_field: key of tags or spans; None: the usual names.
    """
    texts = (text_field,) if text_field else TEXT_FIELDS
    words = (text_field, *WORD_FIELDS) if text_field else WORD_FIELDS
    if label_field:
        return JsonFields(texts, words, (label_field,))
    usual = _usual_names(records, words)
    labeling = {name for name in usual if any(_labels_something(record.get(name)) for record in records)}
    fields = JsonFields(texts, words, tuple(sorted(usual, key=lambda name: name not in labeling)))
    return next(_conflicts(records, fields, labeling), fields)


def choose_tag_field(present: Iterable[str]) -> str | list[str] | None:
    """Return the tag column among the columns of a data set, a list if there are several, or None.

    >>> choose_tag_field(["id", "tokens", "pos_tags", "ner_tags"]), choose_tag_field(["tags", "ner_tags"])
    ('ner_tags', ['tags', 'ner_tags'])
    """
    names = set(present)
    usual = [name for name in TAG_FIELDS if name in names]
    if len(usual) > 1:
        return usual
    return next((name for name in (*usual, *OTHER_TAG_FIELDS) if name in names), None)


def are_spans(name: str, value: Any, *, has_words: bool) -> bool:
    """Return whether the value of a label key holds spans, not tags."""
    first = next((item for item in value if item is not None), None) if isinstance(value, list) else None
    if first is not None:
        return isinstance(first, dict | list)
    return name in SPAN_FIELDS or not has_words


def differing_labels(one: str, other: str) -> str:
    """Return the message for a record in which two fields hold different labels."""
    found = f"{one!r} and {other!r} both hold labels, and they differ"
    return f"{found}; name one: --label-field {one} or --label-field {other} (in a recipe: data.label_field)"


def _usual_names(records: Sequence[Mapping[str, Any]], words: Sequence[str]) -> tuple[str, ...]:
    usual = (*TAG_FIELDS, *SPAN_FIELDS)
    there = any(_candidates(record, usual, _first(record, words)) for record in records)
    return usual if there else OTHER_TAG_FIELDS


def _first(record: Mapping[str, Any], names: Iterable[str]) -> str | None:
    return next((name for name in names if isinstance(record.get(name), list)), None)


def _candidates(record: Mapping[str, Any], names: Iterable[str], words: str | None) -> list[str]:
    """Return the present keys that can hold labels; without words, a list of names labels the whole text."""
    return [n for n in names if n in record and (words is not None or _can_be_spans(n, record[n]))]


def _can_be_spans(name: str, value: Any) -> bool:
    listed = isinstance(value, list) and all(isinstance(item, dict | list | None) for item in value)
    return listed or name in SPAN_FIELDS


def _labels_something(value: Any) -> bool:
    return isinstance(value, list) and any(item not in NO_LABELS for item in value)


def _conflicts(records: Sequence[Mapping[str, Any]], fields: JsonFields, labeling: set[str]) -> Iterator[str]:
    names = [name for name in fields.labels if name in labeling]
    for record in records:
        there = _candidates(record, names, fields.of(record).words)
        for one, other in combinations(there, 2):
            if record[one] != record[other]:
                yield differing_labels(one, other)
