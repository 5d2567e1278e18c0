"""Reader of Label Studio's CONLL export.

Its words are split at blanks, so spans are lost in languages that are written without blanks.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from lookboth.data import ProblemLog, read_conll, read_lines, split_words
from lookboth.data.conversion.convert_options import Converted, ConvertOptions
from lookboth.errors import DataError

# Text between word and tag.
_MIDDLE = " -X- _ "
_IDEOGRAPHS = re.compile(r"[\u3041-\u30ff\u3400-\u9fff]")
# Characters; longer than most words of Chinese or Japanese.
_LONG = 4


def read_label_studio_conll(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read the words and tags of Label Studio's CONLL.

    Args:
        path: the file, UTF-8.
        options: none apply.
        repair: as in `read_conll`.

    Raises:
        DataError: if the file cannot be read at all, or its words are whole sentences of a language without blanks.
    """
    if has_sentences_as_words(read_lines(path, ProblemLog(str(path), repair=True))):
        found = (
            "Label Studio's CONLL splits words at blanks; here words are whole sentences, and spans are lost"
        )
        advice = "Export the project as JSON and type: lookboth convert label-studio FILE.json OUT.jsonl"
        raise DataError(f"{path}: {found}. {advice}")
    return Converted(read_conll(path, repair=repair))


def has_sentences_as_words(lines: Iterable[str]) -> bool:
    """Return whether lines of Label Studio's CONLL have words with many Han or kana characters.

    >>> has_sentences_as_words(["车在路上碰到石头 -X- _ B-X"])
    True
    """
    words = (line.split(" ")[0] for line in lines if _MIDDLE in line)
    return any(len(_IDEOGRAPHS.findall(word)) > _LONG and len(split_words(word)) > _LONG for word in words)
