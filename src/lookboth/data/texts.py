"""Raw text without labels, for prediction."""

from pathlib import Path

from lookboth.data.lines import read_lines
from lookboth.data.problems import ProblemLog
from lookboth.data.words import split_words
from lookboth.types import Dataset, Example


def example_from_text(text: str, source: str = "") -> Example:
    """Return an example of the words of a text, with their offsets into it.

    >>> example_from_text("In Rome.").words
    ('In', 'Rome', '.')
    """
    offsets = tuple(split_words(text))
    words = tuple(text[start:end] for start, end in offsets)
    return Example(words=words, text=text, offsets=offsets, source=source)


def read_text(path: str | Path) -> Dataset:
    """Read one text a line; a blank line is a text without words, so that line n stays text n.

    Args:
        path: the file, read as of `lines.read_lines`.

    Raises:
        DataError: if the file cannot be read at all.
    """
    log = ProblemLog(str(path))
    lines = read_lines(path, log)
    examples = [example_from_text(line, log.where(number)) for number, line in enumerate(lines, 1)]
    return Dataset(examples=examples, problems=log.problems(), name=log.name)
