"""Words in a structured answer: reversible escaping of markers, and alignment with the words of the query."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

_NEWLINE, _EMPTY = "\\n", "\\0"
# Characters; longer words are usually data errors and would fill the prompt.
MAX_WORD_CHARS = 200
# Words; texts of the default generative.max_tokens are shorter.
MAX_ALIGNED = 1000
# Words; an answer may add or leave out half of it in a row.
_STRETCH = 200
_SURROGATES = re.compile("[\ud800-\udfff]")


def escape(text: str, markers: str) -> str:
    r"""Return `text` as one piece without spaces, line ends or bare markers; `unescape` reverses it.

    Args:
        text: a word or a label.
        markers: characters with a meaning in the answer format; never letters or digits.

    >>> escape("10:30 [UTC]", "[]:")
    '10\\:30\\ \\[UTC\\]'
    """
    if not text:
        return _EMPTY
    escaped = "".join("\\" + char if char in markers or char in "\\ " else char for char in text)
    return escaped.replace("\n", _NEWLINE)


def unescape(text: str) -> str:
    r"""Return the original text of an escaped one; bare markers are kept.

    >>> unescape(escape("a [b]\n", "[]")) == "a [b]\n"
    True
    """
    if text == _EMPTY:
        return ""
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], text, flags=re.DOTALL)


def write_words(words: Sequence[str], markers: str) -> str:
    r"""Return words as text from which they can be recovered: escaped and joined by spaces.

    >>> write_words(["Ada", "[", "New York"], "[]|")
    'Ada \\[ New\\ York'
    """
    return " ".join(escape(word, markers) for word in words)


def read_words(text: str) -> list[str]:
    """Parse the output of `write_words`; runs of spaces and line ends count as one space."""
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
    """Return `word` in the form used in prompts: shortened, and without lone surrogates, which tokenizers
    reject.
    """
    if len(word) > MAX_WORD_CHARS:
        word = word[: MAX_WORD_CHARS // 2] + word[-MAX_WORD_CHARS // 2 :]
    return _SURROGATES.sub("\ufffd", word)


def normalize(words: Sequence[str]) -> list[str]:
    """Return words in Unicode NFC for comparison, because some tokenizers normalize their output."""
    return [unicodedata.normalize("NFC", word) for word in words]


def align_words(written: Sequence[str], words: Sequence[str]) -> list[int | None]:
    """Return the index in `words` of each copied word; None for a word that is not there.

    It aligns the common subsequence of difflib, so an extra or missing word does not shift the others. difflib takes
    quadratic time, so answers and texts of more than MAX_ALIGNED words are aligned stretch by stretch.

    >>> align_words(["a", "x", "b"], ["a", "b", "c"])
    [0, None, 1]
    """
    if written == words:
        return list(range(len(words)))
    result: list[int | None] = [None] * len(written)
    short = max(len(written), len(words)) <= MAX_ALIGNED
    for a, b, size in _common_parts(written, words) if short else _common_stretches(written, words):
        result[a : a + size] = range(b, b + size)
    return result


def _common_parts(written: Sequence[str], words: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """Yield (index in `written`, index in `words`, length) of the common parts, in order."""
    for block in SequenceMatcher(a=written, b=words, autojunk=False).get_matching_blocks():
        if block.size:
            yield block.a, block.b, block.size


def _common_stretches(written: Sequence[str], words: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """Yield common parts as `_common_parts` does, in linear time: of the next words only, from each difference on."""
    a = b = 0
    while a < len(written) and b < len(words):
        same = _num_equal(written, words, a, b)
        if same:
            yield a, b, same
        a, b = a + same, b + same
        for first, place, size in _common_parts(written[a : a + _STRETCH], words[b : b + _STRETCH]):
            yield a + first, b + place, size
            step = first + size, place + size
            # The words after the middle are aligned again, with the words that follow them.
            if max(step) >= _STRETCH // 2:
                break
        else:
            step = (_STRETCH // 2, _STRETCH // 2)
        a, b = a + step[0], b + step[1]


def _num_equal(written: Sequence[str], words: Sequence[str], a: int, b: int) -> int:
    """Return the number of equal words from the indices `a` and `b` on."""
    longest = min(len(written) - a, len(words) - b)
    return next((i for i in range(longest) if written[a + i] != words[b + i]), longest)
