"""JSON records in which the labels of some sentences are replaced and everything else stays as it is."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from lookboth.data.charspans import END_KEYS, LABEL_KEYS, START_KEYS
from lookboth.data.fields import are_spans, choose_fields
from lookboth.data.learned_spelling import learn_spelling
from lookboth.data.readers import ReadOptions
from lookboth.data.schemes import encode_spans
from lookboth.errors import DataError
from lookboth.types import Dataset, Example, Span

NewSpans = Mapping[int, Sequence[Span]]  # by index of the sentence
_Record = dict[str, Any]
_Rename = Callable[[str], str]
_NUMBER = re.compile(r"(record )?(\d+)$")


def edit_records(
    lines: Sequence[str],
    dataset: Dataset,
    changes: NewSpans,
    options: ReadOptions,
    label_map: Mapping[str, str],
) -> list[str]:
    """Return the lines of JSON lines, or of one list of records, with other labels.

    A line without changes stays as it is. A list is written again with its indentation.

    Args:
        lines: the lines of the file, without line feeds.
        dataset, changes, options, label_map: as in `relabel_file`.

    Raises:
        DataError: the file is neither JSON lines nor one list of records, or the spelling of a tag is not known.
    """
    is_list = next(filter(str.strip, lines), "").lstrip().startswith("[")
    if not is_list and any("record " in example.source.rpartition(":")[2] for example in dataset.examples):
        raise DataError(f"{dataset.name}: labels are replaced in JSON lines and in one list of records")
    if is_list:
        values = json.loads("\n".join(lines))
        values = [
            *(dict(enumerate(values)) | dict(_changed(values, dataset, changes, options, label_map))).values()
        ]
        end = "\r" if lines[0].endswith("\r") else ""
        written = json.dumps(values, ensure_ascii=False, indent=_indent(lines)).split("\n")
        # Line ends and blank lines after the list stay.
        last = max(number for number, line in enumerate(lines) if line.strip())
        return [
            *(line + end for line in written[:-1]),
            written[-1] + end * (last + 1 < len(lines)),
            *lines[last + 1 :],
        ]
    records = [json.loads(line) if line.strip() else None for line in lines]
    edited = [*lines]
    for place, record in _changed(records, dataset, changes, options, label_map):
        edited[place] = json.dumps(record, ensure_ascii=False) + "\r" * lines[place].endswith("\r")
    return edited


def line_number(example: Example) -> int:
    """Return the number of the first line, or of the record, of an example."""
    match = _NUMBER.match(example.source.rpartition(":")[2])
    if match is None:
        raise DataError(f"{example.source}: the place of the sentence in the file is not known")
    return int(match[2])


def _indent(lines: Sequence[str]) -> int | None:
    """Return the indentation of a list over several lines; None for a list in one line."""
    inner = next((line for line in lines[1:] if line.startswith(" ")), "")
    return len(inner) - len(inner.lstrip(" ")) or None


def _changed(
    records: Sequence[Any],
    dataset: Dataset,
    changes: NewSpans,
    options: ReadOptions,
    label_map: Mapping[str, str],
) -> Iterator[tuple[int, _Record]]:
    """Yield (index, new record) of the changed sentences."""
    fields = choose_fields(
        [record for record in records if isinstance(record, dict)], options.text_field, options.label_field
    )
    if isinstance(fields, str):
        raise DataError(f"{dataset.name}: {fields}")
    places = [line_number(example) - 1 for example in dataset.examples]
    keys = [fields.of(records[place]) for place in places]
    values = [
        None if key.labels is None else records[place][key.labels]
        for place, key in zip(places, keys, strict=True)
    ]
    tagged = [
        isinstance(value, list) and not are_spans(str(key.labels), value, has_words=key.words is not None)
        for value, key in zip(values, keys, strict=True)
    ]
    spell = learn_spelling(
        dataset, [value if is_tags and value else [] for value, is_tags in zip(values, tagged, strict=True)]
    )
    rename = _renaming(label_map)
    raw = _raw_labels([value for value, is_tags in zip(values, tagged, strict=True) if not is_tags], rename)
    for number, spans in changes.items():
        example, record, value = dataset.examples[number], records[places[number]], values[number]
        if tagged[number]:
            tags = encode_spans(spans, len(example.words), dataset.scheme)
            old = encode_spans(example.spans, len(example.words), dataset.scheme)
            new = [own if a == b else spell(b) for own, a, b in zip(value or [], old, tags, strict=True)]
        else:
            new = _new_items(value or [], example, spans, rename, raw)
        yield places[number], record | {str(keys[number].labels): new}


def _renaming(label_map: Mapping[str, str]) -> _Rename:
    """Return how `map_labels` renames a label."""
    return lambda label: label_map.get(label, label_map.get("*", label))


def _raw_labels(values: Sequence[Any], rename: _Rename) -> dict[str, str]:
    """Return the most common label of the file for each renamed label."""
    counts = Counter(str(_place(item)[2]) for items in values for item in items or ())
    found: dict[str, str] = {}
    for label, _ in counts.most_common():
        found.setdefault(rename(label), label)
    return found


def _new_items(
    items: Sequence[Any], example: Example, spans: Sequence[Span], rename: _Rename, raw: Mapping[str, str]
) -> list[Any]:
    """Return span records for other spans: those of removed spans are left out, others stay, new ones are added.

    Records that are not among the spans of the example, such as those of dropped labels, stay too, unless a new span
    overlaps with them.
    """
    removed, added = {*example.spans} - {*spans}, {*spans} - {*example.spans}
    model = items[0] if items else {"start": 0, "end": 0, "label": ""}

    def stays(span: Span) -> bool:
        return span not in removed and not any(span.start < new.end and new.start < span.end for new in added)

    kept = [item for item in items if stays(_span_of(item, example, rename))]
    items_added = [_item(span, example, raw.get(span.label, span.label), model) for span in added]
    # Offsets that are not numbers were left out by the reader.
    return sorted(
        [*kept, *items_added], key=lambda item: [at if isinstance(at, int) else -1 for at in _place(item)[:2]]
    )


def _span_of(item: Any, example: Example, rename: _Rename) -> Span:
    """Return the words of a span record, widened to whole words, with their renamed label; none if it is invalid."""
    start, end, label = _place(item)
    if not isinstance(start, int) or not isinstance(end, int):
        return Span(0, 0, "")
    first = sum(word_end <= start for _, word_end in example.offsets)
    return Span(first, sum(word_start < end for word_start, _ in example.offsets), rename(str(label)))


def _item(span: Span, example: Example, label: str, model: Any) -> Any:
    """Return the record of a new span, written like `model`."""
    text, start, end = example.text or "", example.offsets[span.start][0], example.offsets[span.end - 1][1]
    if isinstance(model, list):
        return [start, end, label]
    values: dict[str, Any] = {_key(model, START_KEYS): start, _key(model, END_KEYS): end}
    values[_key(model, LABEL_KEYS)] = label
    # Keys of annotation tools that repeat the place of a span; Prodigy's last token is inclusive.
    repeated = {"text": text[start:end], "token_start": span.start, "token_end": span.end - 1}
    return values | {key: value for key, value in repeated.items() if key in model}


def _place(item: Any) -> tuple[Any, ...]:
    """Return start, end and label of a span record."""
    if isinstance(item, Mapping):
        return tuple(item.get(_key(item, keys)) for keys in (START_KEYS, END_KEYS, LABEL_KEYS))
    return tuple(item)[:3]


def _key(record: Mapping[str, Any], keys: Sequence[str]) -> str:
    return next((key for key in keys if key in record), keys[0])
