"""Parser of the entities in brat's .ann, .a1 and .a2 files.

`T1<TAB>Organization 0 4<TAB>Sony` is an entity. Offsets count characters from the start of the file, end exclusive
(https://brat.nlplab.org/standoff.html); the server is written in Python, so these are code points. The texts of the
entities may show that offsets count something else (CRLF as one character, say); they are then read that way. An
annotation may consist of pieces, `0 5;16 23`. brat also writes an entity that crosses a line end in pieces, with only
white space between them. Events, relations, attributes, normalizations and notes start with other letters and are not
spans.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from lookboth.data import (
    CharSpan,
    Claim,
    Counting,
    ProblemLog,
    Ruler,
    find_counting,
    find_said,
    is_true,
    read_lines,
)

# At most 18 digits: longer numbers are not offsets, and converting them takes long.
_ENTITY = re.compile(r"T\S*\t(\S+) (\d{1,18} \d{1,18}(?:;\d{1,18} \d{1,18})*)(?:\t(.*))?")
_OTHER_KINDS = {"R": "relation", "E": "event", "A": "attribute", "M": "attribute", "N": "normalization"}
_LEFT_OUT = "it is left out"


class _Line(NamedTuple):
    """An entity as written on its line: offsets of its pieces, and the text that the line states for it, if any."""

    number: int
    label: str
    pieces: tuple[tuple[int, int], ...]
    said: str | None

    @property
    def shown(self) -> str:
        """The offsets of the pieces, for messages."""
        return ";".join(f"{start} {end}" for start, end in self.pieces)


def read_entities(file: Path, text: str, log: ProblemLog) -> Iterator[CharSpan]:
    """Yield the entities of an annotation file; offsets are read in the unit that fits their texts best.

    Args:
        file: the annotation file.
        text: the annotated text, with its line ends unchanged.
        log: receives the problems and the number of annotations that are not converted.
    """
    lines = list(_entity_lines(file, log))
    counting = find_counting(text, [Claim(e.pieces, e.said) for e in lines if e.said is not None])
    if counting != Counting():
        message = f"by the texts of the entities, offsets count {counting.describe()}; they are read as such"
        log.add(lines[0].number, "offsets", message, fatal=False)
    ruler = Ruler(text, counting)
    for line in lines:
        entity = _place(line, text, ruler, log)
        if entity is not None:
            yield entity


def _entity_lines(file: Path, log: ProblemLog) -> Iterator[_Line]:
    others: Counter[str] = Counter()
    # A document without annotations has an empty file, which is not a problem here.
    empty_log = ProblemLog(str(file), repair=True)
    for number, line in enumerate(read_lines(file, empty_log), 1):
        match = _ENTITY.fullmatch(line)
        if match is not None:
            pieces = tuple(tuple(map(int, place.split())) for place in match[2].split(";"))
            yield _Line(number, match[1], tuple((start, end) for start, end in pieces), match[3])
        elif line.startswith("T"):
            message = f"{line[:60]!r} is not an entity; write T1<TAB>Label 0 4<TAB>text"
            log.add(number, "span", message, _LEFT_OUT)
        elif line.strip():
            others[_OTHER_KINDS.get(line[0], "note" if line[0] == "#" else "other line")] += 1
    if others:
        counted = ", ".join(f"{count} {kind}{'s' * (count > 1)}" for kind, count in sorted(others.items()))
        log.add(1, "other-results", f"not spans, and not converted: {counted}", fatal=False)


def _place(line: _Line, text: str, ruler: Ruler, log: ProblemLog) -> CharSpan | None:
    """Return the entity in code points, or None; log an entity whose text is not at its offsets."""
    named = f"{line.label} {line.shown}"
    found = [ruler.place(start, end) for start, end in line.pieces]
    places = [place for place in found if place is not None]
    whole = len(places) == len(found)
    covered = " ".join(text[start:end] for start, end in places)
    if whole and (line.said is None or is_true(line.said, text, places)):
        return _joined(sorted(places), line, text, log)
    length = line.pieces[0][1] - line.pieces[0][0] if len(line.pieces) == 1 else 0
    start = find_said(line.said or "", text, length)
    if start is not None:
        message = f"{named}: its own text {line.said!r:.60} is at {start} {start + length}; it is read there"
        log.add(line.number, "offsets", message, fatal=False)
        return _trimmed(start, start + length, line, text)
    if whole:
        message = f"{named} is {covered!r:.60}, not {line.said!r:.60}; offsets count characters"
    else:
        message = f"{named} is outside the text of {len(text)} characters, or empty"
    log.add(line.number, "span", message, _LEFT_OUT)
    return None


def _joined(places: Sequence[tuple[int, int]], line: _Line, text: str, log: ProblemLog) -> CharSpan | None:
    """Join pieces that only white space separates; log other entities as discontinuous."""
    gaps = [text[left[1] : right[0]] for left, right in pairwise(places)]
    if any(gap.strip() for gap in gaps):
        covered = " ... ".join(text[start:end] for start, end in places)
        message = f"{line.label} {line.shown} {covered!r:.60} is discontinuous; a span has no gaps"
        log.add(line.number, "discontinuous", message, _LEFT_OUT)
        return None
    start, end = places[0][0], max(end for _, end in places)
    if any(left[1] > right[0] for left, right in pairwise(places)):
        message = f"the pieces of {line.label} {line.shown} overlap; it is read as {text[start:end]!r:.60}"
        log.add(line.number, "discontinuous", message, fatal=False)
    return _trimmed(start, end, line, text)


def _trimmed(start: int, end: int, line: _Line, text: str) -> CharSpan:
    """Return the entity without surrounding white space, unless it covers only white space."""
    covered = text[start:end]
    if covered.strip():
        start, end = end - len(covered.lstrip()), start + len(covered.rstrip())
    return CharSpan(start, end, line.label, line.shown)
