"""Readers of labels inside text: WikiNER's `word|POS|tag` and OpenNLP's `<START:person> Anna Moss <END>`."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from lookboth.data import ProblemLog, Sentence, build_dataset, read_lines
from lookboth.data.conversion.convert_options import Converted, ConvertOptions
from lookboth.types import Span

WIKINER_LINE = re.compile(r"\s*(?:\S+\|(?:\S+\|)?(?:O|[A-Z]-\S+)(?:\s+|$))+")
_MARK = re.compile(r"<(START(?::([^<>\s]+))?|END)>")
# OpenNLP's own name for a mark without a type.
_NO_TYPE = "default"
_LEFT_OUT = "the line is left out"


def read_wikiner(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read lines of `word|POS|tag` or `word|tag`, separated by blanks.

    Args:
        path: the file, UTF-8.
        options: none apply.
        repair: repair ill-formed tags and leave out invalid lines instead of reporting them as fatal.

    Raises:
        DataError: if the file cannot be read at all.
    """
    return _read(path, _piped, scheme=None, repair=repair)


def read_opennlp(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read lines of words in which `<START:label>` and `<END>` mark spans; a mark without a label has "default".

    Args:
        path: the file, UTF-8.
        options: none apply.
        repair: leave out invalid lines instead of reporting them as fatal.

    Raises:
        DataError: if the file cannot be read at all.
    """
    return _read(path, _marked, scheme="IOB2", repair=repair)


def _read(
    path: str | Path, parse: Callable[[str, int], Sentence | str], *, scheme: str | None, repair: bool
) -> Converted:
    log = ProblemLog(str(path), repair=repair)
    sentences = []
    for number, line in enumerate(read_lines(path, log), 1):
        if not line.strip():
            continue
        sentence = parse(line, number)
        if isinstance(sentence, str):
            log.add(number, "columns", sentence, _LEFT_OUT)
        else:
            sentences.append(sentence)
    return Converted(build_dataset(sentences, scheme, log))


def _piped(line: str, number: int) -> Sentence | str:
    if WIKINER_LINE.fullmatch(line) is None:
        return f"{line!r:.60} is not a WikiNER line; write word|POS|tag word|POS|tag"
    words, tags = [], []
    for item in line.split():
        # From the right, because the word may contain the separator.
        parts = item.rsplit("|", 2)
        words.append(parts[0])
        tags.append(parts[-1])
    return Sentence(tuple(words), (number,), tuple(tags))


def _marked(line: str, number: int) -> Sentence | str:
    words: list[str] = []
    spans: list[Span] = []
    opened: tuple[int, str] | None = None
    for is_mark, piece in _pieces(line):
        if not is_mark:
            words += piece.split()
        elif piece.startswith("START") and opened is None:
            opened = len(words), piece.partition(":")[2] or _NO_TYPE
        elif piece == "END" and opened is not None and opened[0] < len(words):
            spans.append(Span(opened[0], len(words), opened[1]))
            opened = None
        else:
            return f"<{piece}> after {len(words)} words does not fit; a span is <START:NAME> words <END>, none inside"
    if opened is not None:
        return f"<START:{opened[1]}> after {opened[0]} words is not closed by <END>"
    return Sentence(tuple(words), (number,), None, tuple(spans))


def _pieces(line: str) -> Iterator[tuple[bool, str]]:
    position = 0
    for mark in _MARK.finditer(line):
        yield False, line[position : mark.start()]
        yield True, mark[1]
        position = mark.end()
    yield False, line[position:]
