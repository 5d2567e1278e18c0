"""Reader of CoNLL-2012 (OntoNotes): columns with entities in brackets, `(PERSON* *)`, documents between comments."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lookboth.data import ONE_LABEL, ProblemLog, Sentence, build_dataset, overlaps_kept, read_lines
from lookboth.data.conversion.convert_options import Converted, ConvertOptions
from lookboth.types import Span

BEGIN = "#begin document"
# Columns; the entity column is followed by a varying number of predicates and by coreference.
_WORD, _ENTITY = 3, 10
_NUM_COLUMNS = 12
_CELL = re.compile(r"(\([^()*]+)*[*-]?\)*")
_BRACKET = re.compile(r"\((?P<label>[^()*]+)|\)")
_LEFT_OUT = "the sentence is left out"


def read_conll2012(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read the entities of a CoNLL-2012 file; its other columns are not converted.

    Args:
        path: a file *_conll, UTF-8.
        options: none.
        repair: leave out sentences that cannot be read instead of reporting them as fatal.

    Raises:
        DataError: if the file cannot be read at all.
    """
    log = ProblemLog(str(path), repair=repair)
    sentences: list[Sentence] = []
    document = 0
    for number, rows in _blocks(read_lines(path, log)):
        if not rows:
            document += 1
            continue
        sentence = _read_sentence(number, rows)
        if isinstance(sentence, str):
            log.add(number, "columns", sentence, _LEFT_OUT)
        else:
            sentences.append(replace(sentence, document=document))
    return Converted(build_dataset(sentences, "IOB2", log))


def _blocks(lines: list[str]) -> Iterator[tuple[int, list[list[str]]]]:
    """Yield (first line, rows) of each sentence; the beginning of a document has no rows."""
    rows: list[list[str]] = []
    # The empty line ends the last sentence.
    for number, line in enumerate([*lines, ""], 1):
        if line.strip() and not line.startswith("#"):
            rows.append(line.split())
            continue
        if rows:
            yield number - len(rows), rows
        rows = []
        if line.startswith(BEGIN):
            yield number, []


def _read_sentence(first_line: int, rows: list[list[str]]) -> Sentence | str:
    short = next((row for row in rows if len(row) < _NUM_COLUMNS), None)
    if short is not None:
        return (
            f"a line of {len(short)} columns, {' '.join(short)!r:.40}; CoNLL-2012 has {_NUM_COLUMNS} or more"
        )
    spans = _spans([row[_ENTITY] for row in rows])
    if isinstance(spans, str):
        return spans
    lines = tuple(range(first_line, first_line + len(rows)))
    return Sentence(tuple(row[_WORD] for row in rows), lines, None, spans)


def _spans(cells: list[str]) -> tuple[Span, ...] | str:
    """Return the spans of a column of brackets, or the reason why it is invalid.

    >>> _spans(["(ORG*", "*)", "*", "(GPE)"])
    (Span(start=0, end=2, label='ORG'), Span(start=3, end=4, label='GPE'))
    """
    found: list[Span] = []
    opened: list[tuple[int, str]] = []
    for place, cell in enumerate(cells):
        if not _CELL.fullmatch(cell):
            return f"the entity column has {cell!r:.40} at word {place + 1}; allowed are (NAME*, *, *) and (NAME)"
        for mark in _BRACKET.finditer(cell):
            if mark["label"] and opened and not overlaps_kept():
                return f"the entity {cell!r:.40} at word {place + 1} begins inside another; {ONE_LABEL}"
            if mark["label"]:
                opened.append((place, mark["label"]))
            elif opened:
                start, label = opened.pop()
                found.append(Span(start, place + 1, label))
            else:
                return f"the entity column has {cell!r:.40} at word {place + 1}, but no entity is open"
    return f"the entity {opened[-1][1]!r} is never closed" if opened else tuple(sorted(found))
