"""brat's standoff: a text file and, beside it, an .ann file with a line for each annotation.

`T1<TAB>Organization 0 4<TAB>Sony` is an entity; offsets count characters from the start of the file, the end exclusive
(https://brat.nlplab.org/standoff.html), by which the server, written in Python, means code points. An annotation may
consist of pieces, `0 5;16 23`; so is one written that crosses a line end, where only white space lies between them.
Events, relations, attributes, normalizations and notes have other letters and are not spans.
"""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

from lookboth.data.conversion.marked import Marked, MarkedSpan
from lookboth.data.conversion.options import Converted, ConvertOptions
from lookboth.data.lines import read_lines
from lookboth.data.problems import ProblemLog
from lookboth.data.sentences import build_dataset
from lookboth.data.spantexts import text_sentence
from lookboth.errors import DataError
from lookboth.files import write_whole
from lookboth.types import Dataset

TEXTS_A_DOCUMENT = 100  # brat shows a document on one page
_ENTITY = re.compile(r"T\S*\t(\S+) (\d{1,18} \d{1,18}(?:;\d{1,18} \d{1,18})*)(?:\t(.*))?")
_OTHER_KINDS = {"R": "relation", "E": "event", "A": "attribute", "M": "attribute", "N": "normalization"}
_COLLECTION = ("*.txt", "*.ann", "annotation.conf")
_SURROGATES = re.compile("[\ud800-\udfff]")


class _Entity(NamedTuple):
    """An entity of a document: characters from the start of the file, end exclusive."""

    start: int
    end: int
    label: str


def read_brat(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read the entities (and triggers of events) of one document or of all in a folder.

    Each line of a document is an example, but for lines that an entity joins. Discontinuous entities are problems; a
    repair leaves them out. What else is not taken over is named.

    Args:
        path: a .txt or .ann file, or a folder of such pairs.
        options: `several`.
        repair: leave out or widen what cannot be taken over instead of calling it fatal.

    Raises:
        DataError: if a file is missing or cannot be read at all.
    """
    path = Path(path)
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path.with_suffix(".txt")]
    if not files:
        raise DataError(f"{path}: no .txt files in the folder; a document of brat is NAME.txt and NAME.ann.")
    documents = [_read_document(file, options.several, repair=repair) for file in files]
    examples = tuple(example for document in documents for example in document.examples)
    problems = tuple(problem for document in documents for problem in document.problems)
    return Converted(Dataset(examples, "IOB2", problems, str(path)))


def write_brat(texts: Iterable[Marked], folder: str | Path) -> int:
    """Write numbered documents with a text a line, and an annotation.conf with the labels; return how many.

    A score is a note on its entity. A span that crosses a line end is written in pieces, as brat does itself.

    Args:
        texts: read as they are needed.
        folder: created where missing; one with documents or an annotation.conf is left as it is.

    Raises:
        DataError: the folder holds such files, cannot be written, or a label has white space.
    """
    folder = Path(folder)
    there = next((file for pattern in _COLLECTION for file in sorted(folder.glob(pattern))), None)
    if there is not None:
        raise DataError(
            f"{folder}: there is {there.name} in the folder; no collection is changed. Name a new one."
        )
    labels: set[str] = set()
    number, stream = 0, iter(texts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while some := list(islice(stream, TEXTS_A_DOCUMENT)):
            number += 1
            text, annotations = render_document(some)
            labels |= {span.label for marked in some for span in marked.spans}
            for suffix, content in ((".txt", text), (".ann", annotations)):
                write_whole(folder / f"{number:04d}{suffix}", [content])
        sections = "".join(f"\n[{name}]\n" for name in ("relations", "events", "attributes"))
        entities = "".join(f"{label}\n" for label in sorted(labels))
        write_whole(folder / "annotation.conf", [f"[entities]\n{entities}{sections}"])
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror}. Name another folder.") from error
    return number


def render_document(texts: Sequence[Marked]) -> tuple[str, str]:
    r"""Return the contents of the .txt and the .ann file, a text a line.

    Lone surrogates, which UTF-8 has not, become U+FFFD.

    Raises:
        DataError: a label has white space.

    >>> render_document([Marked("In Rome", ((0, 2), (3, 7)), (MarkedSpan(3, 7, "LOC", 1, 2),))])
    ('In Rome\n', 'T1\tLOC 3 7\tRome\n')
    """
    lines: list[str] = []
    position = number = 0
    for marked in texts:
        text = _SURROGATES.sub("\ufffd", marked.text)
        for span in marked.spans:
            number += 1
            lines += _render_span(span, text, position, number)
        position += len(text) + 1
    content = "".join(_SURROGATES.sub("\ufffd", marked.text) + "\n" for marked in texts)
    return content, "".join(f"{line}\n" for line in lines)


def _render_span(span: MarkedSpan, text: str, position: int, number: int) -> Iterator[str]:
    if not span.label or any(char.isspace() for char in span.label):
        raise DataError(f"the label {span.label!r}: brat allows no white space in labels. Rename it.")
    pieces = [(m.start() + span.start, m.end() + span.start) for m in _pieces(text[span.start : span.end])]
    places = ";".join(f"{position + start} {position + end}" for start, end in pieces)
    said = " ".join(text[start:end] for start, end in pieces)
    yield f"T{number}\t{span.label} {places}\t{said}"
    if span.score is not None:
        yield f"#{number}\tAnnotatorNotes T{number}\tscore {span.score}"


def _pieces(text: str) -> Iterator[re.Match[str]]:
    """Find the parts of a span on each line, without the white space around them."""
    return re.finditer(r"[^\s](?:[^\n]*[^\s])?", text)


def _read_document(file: Path, several: str | None, *, repair: bool) -> Dataset:
    annotations = file.with_suffix(".ann")
    if not annotations.is_file():
        raise DataError(
            f"{annotations}: no such file; beside {file.name} brat has an .ann file, maybe empty."
        )
    log, text_log = ProblemLog(str(annotations), repair=repair), ProblemLog(str(file), repair=repair)
    text = _read_text(file)
    entities = list(_entities(annotations, text, log))
    sentences = []
    for line, start, end, inside in _units(text, entities):
        spans = [{"start": e.start - start, "end": e.end - start, "label": e.label} for e in inside]
        sentences.append(text_sentence(text[start:end], spans, line, text_log, several=several))
    dataset = build_dataset(sentences, "IOB2", text_log)
    return Dataset(dataset.examples, "IOB2", (*log.problems(), *dataset.problems), str(file))


def _read_text(file: Path) -> str:
    """Return the text as brat counts it, line ends untouched."""
    try:
        return file.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise DataError(f"{file}: no such file. Check the path.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read as UTF-8: {error}. Convert the file.") from error


def _units(text: str, entities: Sequence[_Entity]) -> Iterator[tuple[int, int, int, list[_Entity]]]:
    """Yield (line number, start, end, entities) of each line that is not blank, those that an entity joins as one."""
    ends = [match.start() for match in re.finditer("\n", text)]
    joined = {
        number
        for entity in entities
        for number in range(bisect_left(ends, entity.start), bisect_left(ends, entity.end))
    }
    cuts = [-1, *(end for number, end in enumerate(ends) if number not in joined), len(text)]
    inside: list[list[_Entity]] = [[] for _ in cuts]
    for entity in entities:
        inside[bisect_left(cuts, entity.start) - 1].append(entity)
    for number, (before, cut) in enumerate(pairwise(cuts)):
        if text[before + 1 : cut].strip() or inside[number]:
            yield bisect_left(ends, before + 1) + 1, before + 1, cut, inside[number]


def _entities(file: Path, text: str, log: ProblemLog) -> Iterator[_Entity]:
    others: Counter[str] = Counter()
    empty_log = ProblemLog(str(file), repair=True)  # a document without annotations has an empty file
    for number, line in enumerate(read_lines(file, empty_log), 1):
        if line.startswith("T"):
            entity = _parse_entity(line, number, text, log)
            if entity is not None:
                yield entity
        elif line.strip():
            others[_OTHER_KINDS.get(line[0], "note" if line[0] == "#" else "other line")] += 1
    if others:
        counted = ", ".join(f"{count} {kind}{'s' * (count > 1)}" for kind, count in sorted(others.items()))
        log.add(1, "other-results", f"not spans, and not taken over: {counted}", fatal=False)


def _parse_entity(line: str, number: int, text: str, log: ProblemLog) -> _Entity | None:
    match = _ENTITY.fullmatch(line)
    if match is None:
        message = f"{line[:60]!r} is no entity; it is written T1<TAB>Label 0 4<TAB>text"
        log.add(number, "span", message, "it is left out")
        return None
    label, places, said = match.groups()
    pieces = [tuple(map(int, place.split())) for place in places.split(";")]
    covered = [text[start:end] for start, end in pieces]
    if not all(0 <= start < end <= len(text) for start, end in pieces):
        message = f"{label} {places} is outside the text of {len(text)} characters, or empty"
        log.add(number, "span", message, "it is left out")
    elif said is not None and said.split() != " ".join(covered).split():
        message = f"{label} {places} is {' '.join(covered)!r:.60}, not {said!r:.60}; offsets count characters"
        log.add(number, "span", message, "it is left out")
    elif any(text[left[1] : right[0]].strip() or left[1] > right[0] for left, right in pairwise(pieces)):
        message = f"{label} {places} {' ... '.join(covered)!r:.60} is discontinuous; a span has no gaps"
        log.add(number, "discontinuous", message, "it is left out")
    else:
        return _trimmed(pieces[0][0], pieces[-1][1], label, text)
    return None


def _trimmed(start: int, end: int, label: str, text: str) -> _Entity | None:
    """Return the entity without the white space around it; as it is where it covers nothing else."""
    covered = text[start:end]
    if covered.strip():
        start, end = end - len(covered.lstrip()), start + len(covered.rstrip())
    return _Entity(start, end, label)
