"""Words inside a structured answer: markers escaped reversibly, and found again in the query's words."""

import re
import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher

_NEWLINE, _EMPTY = "\\n", "\\0"
MAX_WORD_CHARS = 200
_SURROGATES = re.compile("[\ud800-\udfff]")


def escape(text: str, markers: str) -> str:
    r"""Return `text` as one piece without spaces, line ends or bare markers; `unescape` reverses it.

    Args:
        text: a word or a label.
        markers: characters that have a meaning in the answer format; letters and digits are none.

    >>> escape("10:30 [UTC]", "[]:")
    '10\\:30\\ \\[UTC\\]'
    """
    if not text:
        return _EMPTY
    escaped = "".join("\\" + char if char in markers or char in "\\ " else char for char in text)
    return escaped.replace("\n", _NEWLINE)


def unescape(text: str) -> str:
    r"""Return what `escape` was given; a bare marker stands for itself.

    >>> unescape(escape("a [b]\n", "[]")) == "a [b]\n"
    True
    """
    if text == _EMPTY:
        return ""
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], text, flags=re.DOTALL)


def write_words(words: Sequence[str], markers: str) -> str:
    r"""Return words as text in which every word can be found again: escaped, joined by one space.

    >>> write_words(["Ada", "[", "New York"], "[]|")
    'Ada \\[ New\\ York'
    """
    return " ".join(escape(word, markers) for word in words)


def read_words(text: str) -> list[str]:
    """Return the words that `write_words` wrote; runs of spaces and line ends count as one space."""
    return [unescape(match[0]) for match in re.finditer(r"(?:\\.|[^\\ \n]|\\$)+", text, re.DOTALL)]


def split_unescaped(text: str, marker: str) -> list[tuple[int, str]]:
    r"""Return (offset, part) of each part of `text` between bare markers.

    >>> split_unescaped("a\\;b;c", ";")
    [(0, 'a\\;b'), (5, 'c')]
    """
    parts, start, position = [], 0, 0
    while position < len(text):
        if text[position] == marker:
            parts.append((start, text[start:position]))
            start = position + 1
        position += 2 if text[position] == "\\" else 1
    return [*parts, (start, text[start:])]


def readable(word: str) -> str:
    """Return `word` as a model is shown it: no lone surrogates, which no tokenizer takes, and not endless."""
    if len(word) > MAX_WORD_CHARS:
        word = word[: MAX_WORD_CHARS // 2] + word[-MAX_WORD_CHARS // 2 :]
    return _SURROGATES.sub("\ufffd", word)


def normalize(words: Sequence[str]) -> list[str]:
    """Return words in the form they are compared in: Unicode NFC, as some tokenizers write them."""
    return [unicodedata.normalize("NFC", word) for word in words]


def align_words(written: Sequence[str], words: Sequence[str]) -> list[int | None]:
    """Return for each written word its index in `words`, None for a word that is not there.

    The common subsequence that difflib finds, so one word too many or too few moves no other word.

    >>> align_words(["a", "x", "b"], ["a", "b", "c"])
    [0, None, 1]
    """
    result: list[int | None] = [None] * len(written)
    if written == words:
        return list(range(len(words)))
    for block in SequenceMatcher(a=written, b=words, autojunk=False).get_matching_blocks():
        result[block.a : block.a + block.size] = range(block.b, block.b + block.size)
    return result
