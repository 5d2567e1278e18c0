"""Reader of CoNLL-2003 as published: word, part of speech, chunk and entity, separated by blanks, with IOB1 tags."""

import re
from pathlib import Path

from lookboth.data import ProblemLog, read_conll, read_lines
from lookboth.data.conversion.convert_options import COLUMNS, Converted, ConvertOptions
from lookboth.errors import DataError

DOCUMENT = "-DOCSTART-"
_COLUMN = re.compile(r"[^ \t]+")
_NUM_COLUMNS = 4


def read_conll2003(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read one tag column of a CoNLL-2003 file; the scheme (IOB1 or IOB2) is detected.

    The original has IOB1 tags: a span begins with B- only if it directly follows another span of its label. Many later
    copies have IOB2 tags.

    Args:
        path: eng.train, eng.testa, eng.testb, or a copy with the same four columns.
        options: `column`.
        repair: repair ill-formed tags instead of reporting them as fatal.

    Raises:
        DataError: if the file cannot be read, or a line does not have four columns.
    """
    lines = read_lines(path, ProblemLog(str(path), repair=True))
    for number, line in enumerate(lines, 1):
        count = len(_COLUMN.findall(line))
        if count not in (0, _NUM_COLUMNS) and not line.startswith(DOCUMENT):
            wanted = "word, part of speech, chunk and entity. Files with other columns need no conversion"
            raise DataError(f"{path}:{number}: {count} columns; a line of CoNLL-2003 has four: {wanted}.")
    column = options.column or "ner"
    scheme = "plain" if column == "pos" else None
    return Converted(read_conll(path, tag_column=COLUMNS[column], scheme=scheme, repair=repair))
