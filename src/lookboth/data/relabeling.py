"""Copies of data files in which the labels of some sentences are replaced and everything else stays as it is."""

import csv
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lookboth.data.charspans import END_KEYS, LABEL_KEYS, START_KEYS
from lookboth.data.column_layout import Columns, Places, take_header
from lookboth.data.encodings import encoded_as, named_encoding
from lookboth.data.fields import are_spans, choose_fields
from lookboth.data.lines import read_bytes, read_whole
from lookboth.data.packed_files import suffix_of
from lookboth.data.problems import ProblemLog
from lookboth.data.readers import ReadOptions, read_dataset
from lookboth.data.schemes import encode_spans
from lookboth.data.separators import Splitter
from lookboth.data.sources import map_labels
from lookboth.data.suffixes import CONLL_SUFFIXES, JSON_LINES_SUFFIXES
from lookboth.errors import DataError
from lookboth.files import whole_file
from lookboth.types import Dataset, Example, Span

NewSpans = Mapping[int, Sequence[Span]]  # by index of the sentence
# Spelling of the tag of each word: (tag of the scheme, label) to what the file writes.
_Spell = Callable[[str], Any]


def relabel_file(
    dataset: Dataset, changes: NewSpans, out: Path, options: ReadOptions, label_map: Mapping[str, str]
) -> None:
    """Write a copy of a data file with other spans in some sentences; all other content stays as it is.

    The copy is read back, and it is kept only if exactly the spans of these sentences changed.

    Args:
        dataset: the data of the file `dataset.name`, as read with `options` and then mapped with `label_map`.
        changes: the new spans of each changed sentence.
        out: file to write; must have the suffix of the source.
        options: how the source is read.
        label_map: as in `map_labels`.

    Raises:
        DataError: the format or the spelling of the labels does not allow it; nothing is written.
    """
    path = Path(dataset.name)
    with encoded_as(options.encoding):
        text, encode = _decoded(path)
        lines = text.split("\n") if "\n" in text else text.split("\r")
        joined = "\n" if "\n" in text else "\r"
        suffix = suffix_of(path)
        if suffix in CONLL_SUFFIXES:
            edits = _edit_columns(lines, dataset, changes, options)
        elif suffix in JSON_LINES_SUFFIXES:
            edits = _edit_records(lines, dataset, changes, options)
        else:
            raise DataError(f"{path}: labels are replaced in columns and JSON lines, not in {suffix!r} files")
        for number, line in edits:
            lines[number] = line
        content = encode(joined.join(lines))
    with whole_file(out) as work:
        work.write_bytes(content)
        _require_same(dataset, changes, map_labels(read_dataset(work, options).examples, label_map))


def _decoded(path: Path) -> tuple[str, Callable[[str], bytes]]:
    """Return the text of a file and the function that encodes it as in the file."""
    data = read_bytes(path)
    encoding, text = named_encoding(data) or "utf-8", read_whole(path)
    mark = next((mark for mark in ("", "\ufeff") if (mark + text).encode(encoding, "replace") == data), None)
    if mark is None:
        raise DataError(f"{path}: its encoding cannot be written unchanged")
    return text, lambda new: (mark + new).encode(encoding)


def _require_same(dataset: Dataset, changes: NewSpans, found: Sequence[Example]) -> None:
    """Check that a written file has the wanted spans, and otherwise the same examples."""
    wanted = [
        replace(example, spans=tuple(changes.get(number, example.spans)), source="")
        for number, example in enumerate(dataset.examples)
    ]
    if wanted != [replace(example, source="") for example in found]:
        raise DataError(f"{dataset.name}: the layout of its labels does not allow these changes")


def _edit_columns(
    lines: Sequence[str], dataset: Dataset, changes: NewSpans, options: ReadOptions
) -> Iterator[tuple[int, str]]:
    """Yield (index, new line) of the words whose tag changes."""
    plain = [line.removesuffix("\r") for line in lines]
    splitter = Splitter.of(plain, options.separator, quoted=suffix_of(dataset.name) == ".csv")
    rows = list(map(splitter.split, plain))
    given = Places(options.word_column, options.tag_column)
    columns = Columns.of(rows, take_header(rows, ProblemLog(dataset.name), given), blanks=splitter.blanks)
    words = [_lines_of(example, rows, columns) for example in dataset.examples]
    spell = _spelling(dataset, [[rows[line][columns.tag] for line in of] for of in words])
    for number, spans in changes.items():
        example = dataset.examples[number]
        old, new = (encode_spans(s, len(example.words), dataset.scheme) for s in (example.spans, spans))
        for line, before, after in zip(words[number], old, new, strict=True):
            if before != after:
                end = lines[line][len(plain[line]) :]
                yield line, _with_cell(plain[line], splitter, columns.tag, str(spell(after))) + end


def _lines_of(example: Example, rows: Sequence[list[str]], columns: Columns) -> list[int]:
    """Return the index of the line of each word."""
    found: list[int] = []
    line = _line_number(example) - 1
    while len(found) < len(example.words) and line < len(rows):
        row = rows[line]
        if len(row) >= columns.needed and row[columns.word] and not columns.is_range(row):
            found.append(line)
        line += 1
    if len(found) < len(example.words):
        raise DataError(f"{example.source}: the lines of its words are not found")
    return found


def _line_number(example: Example) -> int:
    number = example.source.rpartition(":")[2]
    if not number.isdecimal():
        raise DataError(f"{example.source}: the file is one list, and labels are replaced line by line")
    return int(number)


def _spelling(dataset: Dataset, written: Sequence[Sequence[Any]]) -> _Spell:
    """Return how the file spells a tag of its scheme, learned from its own tags.

    Args:
        dataset: the data with its scheme.
        written: the tag of each word as written in the file, of the sentences that have tags.
    """
    seen: dict[str, Counter[Any]] = defaultdict(Counter)
    for example, tags in zip(dataset.examples, written, strict=True):
        for tag, own in zip(
            encode_spans(example.spans, len(example.words), dataset.scheme), tags, strict=False
        ):
            seen[tag][own] += 1
    usual = {tag: counts.most_common(1)[0][0] for tag, counts in seen.items()}

    def spell(tag: str) -> Any:
        if tag in usual:
            return usual[tag]
        prefix, label = _parts(tag)
        # A tag that the file lacks is spelled like the tag of another label at the same position in a span.
        for other, own in usual.items():
            start, name = _parts(other)
            if start == prefix and name and isinstance(own, str) and name in own:
                return own.replace(name, label)
        if all(own == other for other, own in usual.items()):
            return tag
        raise DataError(f"{dataset.name}: it is not known how the file spells the tag {tag}")

    return spell


def _parts(tag: str) -> tuple[str, str]:
    match = re.fullmatch(r"([A-Z])-(.+)", tag)
    return (match[1], match[2]) if match else ("", tag if tag != "O" else "")


def _with_cell(line: str, splitter: Splitter, index: int, cell: str) -> str:
    """Return a line with another cell; blanks around it stay."""
    if splitter.quoted:
        cells = next(csv.reader([line], delimiter=str(splitter.separator)))
        cells[index] = cell
        file = io.StringIO()
        csv.writer(file, delimiter=str(splitter.separator), lineterminator="").writerow(cells)
        return file.getvalue()
    separator = splitter.separator or ("\t" if "\t" in line else None)
    if separator is None:
        match = list(re.finditer(r"\S+" if splitter.any_blank else r"[^ \t]+", line))[index]
        return line[: match.start()] + cell + line[match.end() :]
    kept = line.rstrip(" \t") if splitter.separator is None else line
    cells = kept.split(separator)
    cells[index] = cells[index].replace(cells[index].strip(), cell, 1) if cells[index].strip() else cell
    return separator.join(cells) + line[len(kept) :]


def _edit_records(
    lines: Sequence[str], dataset: Dataset, changes: NewSpans, options: ReadOptions
) -> Iterator[tuple[int, str]]:
    """Yield (index, new line) of the JSON records whose labels change."""
    records = {number: json.loads(line) for number, line in enumerate(lines) if line.strip()}
    fields = choose_fields(list(records.values()), options.text_field, options.label_field)
    if isinstance(fields, str):
        raise DataError(f"{dataset.name}: {fields}")
    places = [_line_number(example) - 1 for example in dataset.examples]
    keys = [fields.of(records[place]) for place in places]
    values = [
        None if key.labels is None else records[place][key.labels]
        for place, key in zip(places, keys, strict=True)
    ]
    tagged = [
        isinstance(value, list) and not are_spans(str(key.labels), value, has_words=key.words is not None)
        for value, key in zip(values, keys, strict=True)
    ]
    spell = _spelling(
        dataset, [value if is_tags and value else [] for value, is_tags in zip(values, tagged, strict=True)]
    )
    for number, spans in changes.items():
        example, record, value = dataset.examples[number], records[places[number]], values[number]
        if tagged[number]:
            tags = encode_spans(spans, len(example.words), dataset.scheme)
            old = encode_spans(example.spans, len(example.words), dataset.scheme)
            new = [own if a == b else spell(b) for own, a, b in zip(value or [], old, tags, strict=True)]
        else:
            new = _new_records(value or [], example, spans)
        record[str(keys[number].labels)] = new
        end = "\r" if lines[places[number]].endswith("\r") else ""
        yield places[number], json.dumps(record, ensure_ascii=False) + end


def _new_records(items: Sequence[Any], example: Example, spans: Sequence[Span]) -> list[Any]:
    """Return span records for other spans; records of unchanged spans stay, others are written like them."""
    kept = {_place(item): item for item in items}
    model = items[0] if items else {"start": 0, "end": 0, "label": ""}
    return [_record(span, example, kept, model) for span in sorted(spans)]


def _record(span: Span, example: Example, kept: Mapping[tuple[Any, ...], Any], model: Any) -> Any:
    text, start, end = example.text or "", example.offsets[span.start][0], example.offsets[span.end - 1][1]
    if (start, end, span.label) in kept:
        return kept[start, end, span.label]
    if isinstance(model, list):
        return [start, end, span.label]
    values: dict[str, Any] = {_key(model, START_KEYS): start, _key(model, END_KEYS): end}
    values[_key(model, LABEL_KEYS)] = span.label
    # Keys of annotation tools that repeat the place of a span; Prodigy's last token is inclusive.
    repeated = {"text": text[start:end], "token_start": span.start, "token_end": span.end - 1}
    return values | {key: value for key, value in repeated.items() if key in model}


def _place(item: Any) -> tuple[Any, ...]:
    if isinstance(item, Mapping):
        return tuple(item.get(_key(item, keys)) for keys in (START_KEYS, END_KEYS, LABEL_KEYS))
    return tuple(item)


def _key(record: Mapping[str, Any], keys: Sequence[str]) -> str:
    return next((key for key in keys if key in record), keys[0])
