"""Word splitters that a user names, for scripts without blanks between words, such as Thai, Chinese and Japanese.

Libraries are imported only for the splitter that is named.
"""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from itertools import chain, pairwise
from types import MappingProxyType

from lookboth.data.words import split_words
from lookboth.errors import ConfigError
from lookboth.types import Example

Split = Callable[[str], list[tuple[int, int]]]
DEFAULT = ""
_SPACY = "spacy:"
# Joiners belong to the character before them.
_JOINERS = "\u200c\u200d"
# Thai, Lao, Burmese, Khmer: several letters in a row, without blanks between words.
_UNSPLIT = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]{8,}")
# Characters; a piece that is found further away is another occurrence.
_MOST_SKIPPED = 20
_splitter: ContextVar[str] = ContextVar("splitter", default=DEFAULT)
_cuts_words: ContextVar[bool] = ContextVar("cuts_words", default=False)


def named_splitter(name: str) -> Split:
    """Return the function that splits a text into character ranges of words, as `split_words` does.

    Args:
        name: "" (`split_words`), "char", "jieba", "pythainlp", "fugashi" or "spacy:LANGUAGE".

    Raises:
        ConfigError: if the name is unknown, or its library is not installed.

    >>> named_splitter("char")("北京 ok")
    [(0, 1), (1, 2), (3, 4), (4, 5)]
    """
    if name == DEFAULT:
        return split_words
    pieces = _pieces_function(name)
    return lambda text: list(_places(text, pieces(text)))


def example_of_words(text: str, splitter: str = DEFAULT, source: str = "") -> Example:
    """Return an example with the words of a text by the named splitter, and their offsets.

    Raises:
        ConfigError: as in `named_splitter`.
    """
    offsets = tuple(named_splitter(splitter)(text))
    words = tuple(text[start:end] for start, end in offsets)
    return Example(words=words, text=text, offsets=offsets, source=source)


@contextmanager
def split_with(splitter: str | None, *, cut_words: bool = False) -> Iterator[None]:
    """Split texts that are read inside a `with` block with this splitter.

    Args:
        splitter: as in `named_splitter`; None: the one that is active.
        cut_words: whether a word is cut where a span begins or ends inside it.

    Raises:
        ConfigError: as in `named_splitter`.
    """
    name = _splitter.get() if splitter is None else splitter
    named_splitter(name)
    tokens = _splitter.set(name), _cuts_words.set(cut_words or _cuts_words.get())
    try:
        yield
    finally:
        _splitter.reset(tokens[0])
        _cuts_words.reset(tokens[1])


def split_read_text(text: str) -> list[tuple[int, int]]:
    """Return the words of a text that a reader reads, with the splitter of `split_with`."""
    return named_splitter(_splitter.get())(text)


def cut_at(offsets: Sequence[tuple[int, int]], borders: Iterable[int]) -> list[tuple[int, int]]:
    """Return the words, cut at each border inside one if `split_with` asks for it.

    >>> with split_with(None, cut_words=True):
    ...     cut_at([(0, 9), (10, 12)], [5, 9, 10])
    [(0, 5), (5, 9), (10, 12)]
    """
    if not _cuts_words.get():
        return [*offsets]
    places = sorted(set(borders))
    return [
        piece
        for start, end in offsets
        for piece in pairwise((start, *places[bisect_right(places, start) : bisect_left(places, end)], end))
    ]


def is_unsplit(text: str) -> bool:
    """Return whether a text has a script without blanks, and `split_with` names no splitter.

    >>> is_unsplit("กรุงเทพมหานคร"), is_unsplit("Oslo")
    (True, False)
    """
    return _splitter.get() == DEFAULT and _UNSPLIT.search(text) is not None


@lru_cache(maxsize=8)
def _pieces_function(name: str) -> Callable[[str], Iterable[str]]:
    """Return the function that cuts a text into consecutive pieces, with or without the blanks between them."""
    if name.startswith(_SPACY):
        return _spacy(name)
    make = _LIBRARIES.get(name)
    if make is None:
        known = ", ".join([*_LIBRARIES, f"{_SPACY}LANGUAGE"])
        raise ConfigError(f"the word splitter {name!r} does not exist; allowed are {known}.")
    return make()


def _spacy(name: str) -> Callable[[str], Iterable[str]]:
    language = name.removeprefix(_SPACY)
    try:
        import spacy
    except ImportError:
        raise _missing(name, "spaCy", "lookboth[spacy]") from None
    try:
        pipeline = spacy.blank(language)
    # spaCy raises ImportError for an unknown language and for a missing library of a known one.
    except (ImportError, OSError) as error:
        found = f"the word splitter {name!r}: spaCy has no such language, or a library of it is missing"
        raise ConfigError(f"{found}: {error!s:.300}") from error
    # The limit protects parsers and taggers, which a blank pipeline does not have.
    pipeline.max_length = 10**9
    return lambda text: [token.text for token in pipeline.make_doc(text)]


def _chars() -> Callable[[str], Iterable[str]]:
    return _clusters


def _clusters(text: str) -> Iterator[str]:
    """Yield each character with the marks that follow it."""
    start = 0
    for place, char in enumerate(text):
        if place > start and not (unicodedata.category(char).startswith("M") or char in _JOINERS):
            yield text[start:place]
            start = place
    if text:
        yield text[start:]


def _jieba() -> Callable[[str], Iterable[str]]:
    try:
        import jieba
    except ImportError:
        raise _missing("jieba", "jieba", "lookboth[chinese]") from None
    # It logs the loading of its dictionary at level DEBUG, to a handler of its own.
    jieba.setLogLevel("WARNING")
    return jieba.lcut


def _pythainlp() -> Callable[[str], Iterable[str]]:
    try:
        from pythainlp.tokenize import word_tokenize
    except ImportError:
        raise _missing("pythainlp", "PyThaiNLP", "lookboth[thai]") from None
    return lambda text: word_tokenize(text, engine="newmm", keep_whitespace=True)


def _fugashi() -> Callable[[str], Iterable[str]]:
    try:
        from fugashi import Tagger

        tagger = Tagger()
    # Tagger raises RuntimeError without a dictionary.
    except (ImportError, RuntimeError):
        raise _missing("fugashi", "fugashi with a dictionary", "lookboth[japanese]") from None
    return lambda text: [word.surface for word in tagger(text)]


def _missing(name: str, library: str, extra: str) -> ConfigError:
    return ConfigError(f"the word splitter {name!r} needs {library}. Install it: pip install '{extra}'.")


_LIBRARIES: Mapping[str, Callable[[], Callable[[str], Iterable[str]]]] = MappingProxyType(
    {"char": _chars, "jieba": _jieba, "pythainlp": _pythainlp, "fugashi": _fugashi}
)


def _places(text: str, pieces: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Yield the ranges of consecutive pieces, without blanks; what a library changes or drops is split by itself.

    >>> list(_places("a b（c", ["a", "b", "(", "c"]))
    [(0, 1), (2, 3), (3, 4), (4, 5)]
    """
    position = 0
    # A piece with a blank inside would be a word that no file with columns can hold.
    for shown in chain.from_iterable(piece.split() for piece in pieces):
        start = text.find(shown, position)
        # Some libraries normalize characters; a piece that is not next is left to the words around it.
        if start < 0 or len(text[position:start].strip()) > _MOST_SKIPPED:
            continue
        yield from _between(text, position, start)
        yield start, start + len(shown)
        position = start + len(shown)
    yield from _between(text, position, len(text))


def _between(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    yield from ((start + first, start + last) for first, last in split_words(text[start:end]))
