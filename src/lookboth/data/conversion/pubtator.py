"""Reader of PubTator: a title, an abstract and one line per annotation of each document.

`227508|t|Naloxone reverses ...`, `227508|a|In unanesthetized ...`, then `227508<TAB>0<TAB>8<TAB>Naloxone<TAB>Chemical`
with offsets into title and abstract joined by one character (BC5CDR, NCBI Disease, MedMentions, BioRED).
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from lookboth.data import ProblemLog, Sentence, build_dataset, parse_char_spans, read_lines
from lookboth.data.conversion.convert_options import Converted, ConvertOptions
from lookboth.data.conversion.line_units import line_sentences

PUBTATOR_LINE = re.compile(r"([^|\t]+)\|([a-z])\|(.*)")
_ALLOWED = "write ID|t|title, ID|a|abstract and ID<TAB>start<TAB>end<TAB>text<TAB>label"
_LEFT_OUT = "the line is left out"


class _Document(NamedTuple):
    number: int
    name: str
    passages: list[str]
    rows: list[tuple[int, list[str]]]


def read_pubtator(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read the annotations of each document; the title and each line of the abstract are sentences of their own.

    Relations and identifiers are not converted, and their numbers are logged.

    Args:
        path: the file, UTF-8.
        options: `several` and `offsets`.
        repair: leave out or widen spans that cannot be converted instead of reporting them as fatal.

    Raises:
        DataError: if the file cannot be read at all.
    """
    log = ProblemLog(str(path), repair=repair)
    sentences: list[Sentence] = []
    num_others = 0
    for document in _documents(read_lines(path, log), log):
        records = [_record(row) for _, row in document.rows if _is_annotation(row)]
        num_others += len(document.rows) - len(records)
        text = "\n".join(document.passages)
        spans = parse_char_spans(records, text, document.number, log, options.counting)
        found = line_sentences(text, spans, log, several=options.several, number=document.number)
        sentences += [replace(sentence, document=document.number) for sentence in found]
    if num_others:
        log.add(1, "other-results", f"not spans, and not converted: {num_others} relations", fatal=False)
    return Converted(build_dataset(sentences, "IOB2", log))


def _documents(lines: list[str], log: ProblemLog) -> Iterator[_Document]:
    """Yield the documents; a line of another document or of an unknown form is a problem."""
    document: _Document | None = None
    for number, line in enumerate(lines, 1):
        head = PUBTATOR_LINE.fullmatch(line)
        row = line.split("\t")
        if head is not None and (document is None or head[2] == "t" or head[1] != document.name):
            if document is not None:
                yield document
            document = _Document(number, head[1], [head[3]], [])
        elif head is not None and document is not None:
            document.passages.append(head[3])
        elif document is not None and row[0] == document.name and len(row) > 3:
            document.rows.append((number, row))
        elif line.strip():
            log.add(number, "columns", f"{line[:60]!r} belongs to no document; {_ALLOWED}", _LEFT_OUT)
    if document is not None:
        yield document


def _is_annotation(row: list[str]) -> bool:
    return len(row) > 4 and row[1].isdecimal() and row[2].isdecimal()


def _record(row: list[str]) -> dict[str, Any]:
    # At most 18 digits: longer numbers are not offsets, and converting them takes long.
    return {"start": int(row[1][:18]), "end": int(row[2][:18]), "text": row[3], "label": row[4]}
