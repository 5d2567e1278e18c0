"""Copies of data files in which the labels of some sentences are replaced and everything else stays as it is."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lookboth.data.column_layout import Columns, Places, take_header
from lookboth.data.encodings import encoded_as, named_encoding
from lookboth.data.learned_spelling import learn_spelling
from lookboth.data.lines import read_bytes, read_whole
from lookboth.data.packed_files import suffix_of
from lookboth.data.problems import ProblemLog
from lookboth.data.readers import ReadOptions, read_dataset
from lookboth.data.relabeled_records import NewSpans, edit_records, line_number
from lookboth.data.schemes import encode_spans
from lookboth.data.separators import Splitter
from lookboth.data.sources import map_labels
from lookboth.data.suffixes import CONLL_SUFFIXES, JSONL_SUFFIXES
from lookboth.errors import DataError
from lookboth.files import whole_file
from lookboth.types import Dataset, Example


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
    if path.is_dir():
        raise DataError(f"{path}: is a folder of texts, and labels are replaced in columns and JSON")
    with encoded_as(options.encoding):
        text, encode = _decoded(path)
        lines = text.split("\n") if "\n" in text else text.split("\r")
        joined = "\n" if "\n" in text else "\r"
        suffix = suffix_of(path)
        if suffix in CONLL_SUFFIXES:
            for number, line in _edit_columns(lines, dataset, changes, options):
                lines[number] = line
        elif suffix in JSONL_SUFFIXES:
            lines = edit_records(lines, dataset, changes, options, label_map)
        else:
            raise DataError(f"{path}: labels are replaced in columns and JSON, not in {suffix!r} files")
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
    spell = learn_spelling(dataset, [[rows[line][columns.tag] for line in of] for of in words])
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
    line = line_number(example) - 1
    while len(found) < len(example.words) and line < len(rows):
        row = rows[line]
        if len(row) >= columns.needed and row[columns.word] and not columns.is_range(row):
            found.append(line)
        line += 1
    if len(found) < len(example.words):
        raise DataError(f"{example.source}: the lines of its words are not found")
    return found


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
