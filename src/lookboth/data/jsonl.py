"""Reader of JSON records with tokens and tags, or with a text and its spans."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lookboth.data.charspans import LABEL_KEYS
from lookboth.data.counting import Counting
from lookboth.data.fields import NESTED_PREFIX, JsonFields, are_spans, choose_fields, document_of
from lookboth.data.jsonfile import open_records
from lookboth.data.nesting import overlaps_kept
from lookboth.data.problems import ProblemLog
from lookboth.data.sentences import Sentence, build_dataset
from lookboth.data.spantexts import text_sentence
from lookboth.data.tag_layers import layer_note
from lookboth.types import Dataset

_ALLOWED = 'write {"tokens": [...], "tags": [...]} or {"text": "...", "spans": [...]}'
_NOT_TAKEN = ("reject", "ignore")


def read_jsonl(
    path: str | Path,
    *,
    scheme: str | None = None,
    text_field: str | None = None,
    label_field: str | None = None,
    labels: Sequence[str] | None = None,
    several: str | None = None,
    counting: Counting | None = None,
    repair: bool = False,
    head: str | None = None,
) -> Dataset:
    """Read JSON records, one per line or as one list; the result lists every problem, and none stops the reading.

    A record is `{"tokens": [str], "tags": [str]}`, or `{"text": str, "spans": [...]}` with spans as in
    `charspans.parse_char_spans` and offsets in characters, end exclusive. `fields` lists other names of these keys; one
    choice is made for the whole file. If a text has its own "tokens", these are its words. Records with Prodigy's
    "answer" reject or ignore are left out. Texts with the same "document" (`fields.DOCUMENT_FIELDS`) are one document,
    in the order of the file.

    Args:
        path: the file, decoded as in `lines.read_lines`.
        scheme: tag scheme, one of `schemes.SCHEMES`, or None to detect it.
        text_field, label_field: keys of the words or text, and of the tags or spans; None: the usual names.
        labels: names of class numbers, counted from 0.
        several: how ranges with several labels are resolved, as in `charspans.settle_labels`.
        counting: what the offsets count; None: detected.
        repair: apply the repair of each invalid record instead of reporting the record as fatal.
        head: scheme of the head that will use the data; see `tag_reading.choose_reading`.

    Raises:
        DataError: if the file cannot be read at all.
    """
    log, found = open_records(path, _ALLOWED, repair=repair)
    # The whole file is read first, because the choice of keys depends on all records.
    records = list(found)
    fields = choose_fields([record for _, record in records], text_field, label_field)
    if isinstance(fields, str):
        log.add(records[0][0], "fields", fields)
        return Dataset((), problems=log.problems(), name=log.name)
    sentences = []
    for number, record in records:
        if is_rejected(record, number, log):
            continue
        sentence = _parse_record(
            record, fields, number, log, labels=labels, several=several, counting=counting
        )
        if isinstance(sentence, Sentence):
            sentences.append(replace(sentence, document=document_of(record)))
        else:
            log.add(number, "json", sentence, "the record is left out")
    _note_layers([record for _, record in records], fields, log)
    return build_dataset(sentences, scheme, log, head=head)


def _note_layers(records: Sequence[Mapping[str, Any]], fields: JsonFields, log: ProblemLog) -> None:
    """Log a further layer of tags, and whether it is read."""
    for key in fields.labels:
        if any(key in record and NESTED_PREFIX + key in record for record in records):
            log.add(1, "two-layers", layer_note(NESTED_PREFIX + key, key), fatal=False)


def is_rejected(record: Mapping[str, Any], number: int, log: ProblemLog) -> bool:
    """Return whether a record has Prodigy's answer reject or ignore, and log it."""
    answer = record.get("answer")
    if answer not in _NOT_TAKEN:
        return False
    log.add(number, "answer", f"the answer is {answer!r}; the text is left out", fatal=False)
    return True


def parse_tagged(
    tokens: Any, tags: Any, number: int, *, names: Sequence[str] = ("tokens", "tags")
) -> Sentence | str:
    """Return the sentence of a list of words and a list of tags, or the reason why they are invalid.

    Args:
        tokens, tags: from JSON or a data set, not yet checked.
        number: number of the record.
        names: names of the two keys or columns, for messages.
    """
    # Some tables have words and tags as strings.
    if isinstance(tokens, str) and isinstance(tags, str | list):
        tokens, tags = tokens.split(), tags.split() if isinstance(tags, str) else tags
    for name, values in zip(names, (tokens, tags), strict=True):
        if not isinstance(values, list):
            return f"{name!r} is {'null' if values is None else repr(values)[:40]}, not a list of strings"
        wrong = next((i for i, value in enumerate(values) if not isinstance(value, str)), None)
        if wrong is not None:
            value = values[wrong]
            numbers = (
                "; name the classes of the numbers from 0: --class-names O,B-PER,I-PER (in a recipe: data.class_names)"
                if type(value) is int
                else ""
            )
            shown = "null" if value is None else repr(value)[:40]
            return f"item {wrong + 1} of {name!r} is {shown}, not a string{numbers}"
    if len(tokens) != len(tags):
        return f"{len(tokens)} {names[0]} but {len(tags)} {names[1]}; each token has one tag"
    return Sentence(tuple(tokens), (number,), tuple(tags))


def parse_layers(
    record: Mapping[str, Any],
    names: tuple[str, str, str | None],
    classes: Sequence[str] | None,
    number: int,
) -> Sentence | str:
    """Return the sentence of a record of words and tags, or the reason why it is invalid.

    Args:
        record: from JSON or a data set.
        names: keys of words, tags, and a further layer of tags that is read if overlaps are kept; None: no such layer.
        classes: names of class numbers, as in `name_classes`.
        number: number of the record.
    """
    words, *layers = names
    found = [
        parse_tagged(record[words], name_classes(record[key], classes), number, names=(words, key))
        for key in layers
        if key is not None and (key == layers[0] or overlaps_kept())
    ]
    wrong = next((each for each in found if isinstance(each, str)), None)
    if wrong is not None:
        return wrong
    sentences = [each for each in found if isinstance(each, Sentence)]
    return replace(
        sentences[0], more_tags=tuple(tags for each in sentences[1:] for tags in each.tag_sequences)
    )


def name_classes(value: Any, names: Sequence[str] | None) -> Any:
    """Return tags or spans with the names of class numbers; a number without a name is kept, so that it is reported.

    Args:
        value: a list of tags, or of spans as in `charspans.parse_char_spans`; anything else is returned as it is.
        names: names of the classes, counted from 0; None: the value is returned as it is.

    >>> name_classes([0, 1, 7], ["O", "B-PER"]), name_classes([[0, 4, 1]], ["O", "PER"])
    (['O', 'B-PER', 7], [[0, 4, 'PER']])
    """
    if names is None or not isinstance(value, list):
        return value
    known = dict(enumerate(names))

    def named(item: Any) -> Any:
        if isinstance(item, Mapping):
            return {
                key: known.get(v, v) if key in LABEL_KEYS and type(v) is int else v for key, v in item.items()
            }
        if isinstance(item, list):
            return [*item[:-1], *map(named, item[-1:])]
        return known.get(item, item) if type(item) is int else item

    return [named(item) for item in value]


def _parse_record(
    record: Mapping[str, Any],
    fields: JsonFields,
    number: int,
    log: ProblemLog,
    *,
    labels: Sequence[str] | None,
    several: str | None,
    counting: Counting | None,
) -> Sentence | str:
    """Return the sentence of a record, or the reason why it is invalid."""
    words, text, key = fields.of(record)
    if key is None or (words is None and text is None):
        return _not_read(record)
    value = name_classes(record[key], labels)
    if value is None:
        return f"{key!r} is null; {_ALLOWED}"
    if words is None or are_spans(key, value, has_words=True):
        if not isinstance(value, list):
            return f"{key!r} is {value!r:.40}, not a list of spans; {_ALLOWED}"
        if text is None:
            return f"{key!r} are spans, but the record has no text; {_ALLOWED}"
        own = record[words] if words is not None else None
        return text_sentence(record[text], value, number, log, tokens=own, several=several, counting=counting)
    nested = NESTED_PREFIX + key if NESTED_PREFIX + key in record else None
    return parse_layers(record, (words, key, nested), labels, number)


def _not_read(record: Mapping[str, Any]) -> str:
    found = f"keys {sorted(record)!r:.100} are not supported"
    if any(isinstance(record.get(key), str | list) for key in ("label", "labels", "label_text")):
        return f"{found}; {_ALLOWED}; if the labels belong to whole texts, pass --task classification"
    return f"{found}; {_ALLOWED}, or name the keys: --text-field, --label-field"
