"""Word tokenization of raw text by the conventions of open NER data.

The rules follow the English Universal Dependencies treebanks (EWT and PUD): most open NER data are tagged over their
words, and a labeler works best on words split as in its training data.

- clitics are words: `Obama's` is `Obama` `'s`, `don't` is `do` `n't`, `cannot` is `can` `not`;
- hyphens are words (`state` `-` `of` `-` `the` `-` `art`), except after a prefix (`co-founder`, `e-mail`) and inside
  phone numbers and dates;
- a period stays with initials and well-known abbreviations (`U.S.`, `Dr.`, `J.` before a name);
- numbers keep their punctuation (`1,000.50`, `9/11`, `5:30`, `20th`); currency and percent signs are separate words;
- URLs, e-mail addresses, @names, emoticons and HTML entities are one word; the `#` of a hashtag is a separate word,
  so that a name in a hashtag can be a span;
- a run of the same mark is one word (`...`, `--`, `!!`); any other punctuation mark is a word.

Beyond English: a word is everything between spaces and punctuation, including combining marks and joiners. An emoji
sequence (skin tone, ZWJ, flag) is one word. Each Han or kana character is a word, since the text does not mark word
borders; Thai, Lao, Khmer and Burmese are not split between spaces. Invisible characters (zero-width space, byte order
mark, control characters) are separate words.

Word F1 on the original text of the treebanks: EWT dev 99.1, EWT test 99.1, PUD 99.9.
"""

import re
from collections.abc import Callable
from itertools import takewhile

from lookboth.types import Example

# Characters; a longer run of one kind is split, so that junk cannot form an endless word.
MAX_WORD_CHARS = 1000

# `re` has no classes for marks, controls and scripts, so word characters are defined by exclusion.
_PUNCTUATION = (
    r"!-/:-@\[-`{-~"  # ASCII, the underscore included
    r"\u00a1-\u00a9\u00ab-\u00b1\u00b4\u00b6-\u00b8\u00bb\u00bf\u00d7\u00f7"  # Latin-1
    r"\u037e\u0387\u055a-\u055f\u0589\u058a\u05be\u05c0\u05c3\u05f3\u05f4"  # Greek, Armenian, Hebrew
    r"\u060c\u061b\u061e\u061f\u066a-\u066d\u06d4\u0964\u0965\u0df4\u0e4f\u0e5a\u0e5b"  # Arabic to Thai
    r"\u0f04-\u0f12\u104a-\u104f\u10fb\u1360-\u1368\u166e\u17d4-\u17da\u1800-\u180a"  # Tibetan to Mongolian
    r"\u2010-\u2027\u2030-\u205e\u207a-\u207e\u208a-\u208e\u20a0-\u20cf"  # dashes, quotes, currency
    r"\u2100\u2101\u2103\u2105-\u2109\u2116-\u2118\u2122\u2190-\u2bff"  # symbols, arrows, boxes
    r"\u3001-\u3004\u3008-\u3020\u3030\u303d\u30fb\ufe10-\ufe19\ufe30-\ufe6b"  # CJK
    r"\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\uffe0-\uffee"  # full width
)
_EMOJI = r"\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff"
_INVISIBLE = r"\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\ufeff"
_IDEOGRAPH = (
    r"\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uf900-\ufaff\U00020000-\U0003ffff"
)
_MARKS = r"\u0300-\u036f\u3099\u309a\ufe00-\ufe0f\U000e0100-\U000e01ef"

_CHAR = rf"[^\s{_PUNCTUATION}{_EMOJI}{_INVISIBLE}{_IDEOGRAPH}]"
_RUN = rf"{_CHAR}{{1,{MAX_WORD_CHARS}}}"
# Pieces of words with inner punctuation; bounded, so that backtracking takes constant time.
_PIECE = rf"{_CHAR}{{1,60}}"
_APOSTROPHE = r"['’]"
_CLITIC = rf"{_APOSTROPHE}(?i:s|m|d|re|ve|ll)(?!{_CHAR})"
_NEGATION = rf"(?i:n{_APOSTROPHE}t)(?!{_CHAR})"

_PREFIXES = (
    "anti|bi|co|counter|de|e|ex|extra|inter|intra|mid|micro|mini|mis|multi|neo|non|over|post|pre|pro|"
    "pseudo|psycho|quasi|re|semi|sub|super|trans|tri|ultra|un|under|vice|wi"
)
_ABBREVIATIONS = (
    "Mr|Mrs|Ms|Messrs|Dr|Drs|Prof|Rev|Hon|Gen|Col|Maj|Capt|Cpt|Cmdr|Lt|Sgt|Gov|Sen|Rep|Pres|"
    "Jr|Sr|St|Sts|Ste|Mt|Ft|Ave|Blvd|Rd|Inc|Corp|Co|Ltd|Bros|Dept|Univ|Assn|"
    "Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec|Mon|Tue|Tues|Wed|Thu|Thurs|Fri|"
    "vs|etc|ca|cf|approx|Calif|Ont|Mass|Conn|Penn|Ariz|Va|Fla"
)

_ALTERNATIVES = (
    # URL, e-mail address, @name, HTML entity
    r"(?:(?:https?|ftp)://|www\.)[^\s<>\"]{0,900}[^\s<>\"'’”.,;:!?)\]}]",
    rf"(?:mailto:)?(?:{_CHAR}|[.+_-]){{1,64}}@(?:{_CHAR}|[_-]){{1,60}}(?:\.(?:{_CHAR}|-){{1,60}}){{0,6}}",
    rf"(?<!\w)@(?:{_CHAR}|_){{1,60}}",
    r"&(?:amp|lt|gt|quot|apos|nbsp|\#\d{1,6});",
    # emoticon, emoji sequence, keycap, flag
    r"(?<!\w)[:;=]['’^o]?-?[)(DPp|/\\*\]\[]{1,9}(?!\w|/)|<3(?!\d)|\^_+\^|-_+-",
    r"[\U0001f1e6-\U0001f1ff]{2}|[0-9#*]\ufe0f?\u20e3",
    rf"[{_EMOJI}](?:[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]|\u200d[{_EMOJI}]){{0,32}}",
    # phone number, date, number
    r"\d{3}-\d{3}-\d{4}(?!\d)|(?:\d{3}|\d{5})-\d{4}(?!\d)|\d{4}-\d\d-\d\d(?!\d)|\d{1,2}-[A-Z][a-z]{2}-\d{2,4}",
    rf"\d{{1,60}}(?:[.,:/]\d{{1,60}}){{1,12}}{_CHAR}{{0,60}}|(?<!\w)\.\d{{1,60}}",
    # initials and abbreviations with their period
    r"(?:[^\W\d_]\.){2,12}(?:[^\W\d_](?!\w))?",
    r"[A-HJ-Z]\.(?=[ \u00a0]?[A-Z])",
    rf"(?:{_ABBREVIATIONS})\.(?!\w)|(?:(?i:no|nos|pp?|vol|fig|ext|sec|art)\.)(?=[ \u00a0]?\d)",
    # clitics and the words before them
    _NEGATION,
    _CLITIC,
    rf"{_CHAR}{{1,60}}(?={_NEGATION})",
    rf"(?i:can(?=not(?!{_CHAR}))|(?:gon|wan)(?=na(?!{_CHAR}))|got(?=ta(?!{_CHAR})))",
    # prefixed word, X&Y, single letters around a slash, dotted name, inner apostrophe
    rf"(?i:(?:{_PREFIXES})-){_PIECE}",
    r"[A-Z]{1,4}&[A-Z]{1,4}(?!\w)|[A-Za-z]/[A-Za-z](?!\w)|\b[Ww]/(?=\s|$)",
    rf"{_PIECE}(?:(?:_{{1,3}}|(?<![a-z])\.|\.(?![A-Z])|{_APOSTROPHE}(?<!n['’](?=[tT]))"
    rf"(?!(?i:s|m|d|re|ve|ll)(?!{_CHAR}))){_PIECE}){{1,12}}",
    _RUN,
    rf"[{_IDEOGRAPH}][{_MARKS}]{{0,8}}",
    rf"[{_INVISIBLE}]{{1,{MAX_WORD_CHARS}}}",
    # punctuation
    rf"[.?!]{{1,{MAX_WORD_CHARS}}}|([^\w\s()\[\]{{}}\"“”„«»])\1{{1,{MAX_WORD_CHARS}}}|_{{1,{MAX_WORD_CHARS}}}",
    r"\S",
)
_WORD = re.compile("|".join(f"(?:{alternative})" for alternative in _ALTERNATIVES))
_SPACE = re.compile(r"\s")
# A Han or kana character that the next character does not change.
_IDEOGRAPH_ALONE = re.compile(rf"[{_IDEOGRAPH}][{_MARKS}]{{0,8}}(?=[^.{_MARKS}])")
# Characters; no alternative reads further from the start of a word.
_LONGEST_MATCH = MAX_WORD_CHARS + 100
_LOOK_BEHIND = 2  # characters that an alternative reads before a word


def split_words(text: str) -> list[tuple[int, int]]:
    """Return the (start, end) character range of each word of the text, end exclusive.

    The ranges are in order, not empty and without overlaps; together they cover every character that is not white
    space. White space is as defined by Unicode, including NBSP, line ends and tabs. The time is linear in the length
    of the text.

    >>> text = "Obama's  visit (U.S.) didn't end."
    >>> [text[start:end] for start, end in split_words(text)]
    ['Obama', "'s", 'visit', '(', 'U.S.', ')', 'did', "n't", 'end', '.']
    """
    return [match.span() for match in _WORD.finditer(text)]


def example_from_text(text: str, source: str = "") -> Example:
    """Return an example with the words of a text and their offsets.

    >>> example_from_text("In Rome.").words
    ('In', 'Rome', '.')
    """
    offsets = tuple(split_words(text))
    words = tuple(text[start:end] for start, end in offsets)
    return Example(words=words, text=text, offsets=offsets, source=source)


class TextSplitter:
    """Splits a text that arrives in pieces into the words that `split_words` finds in the whole text.

    A word is returned when nothing that follows can change it: after the next white space, and after a period one
    character later, because `J.` and `No.` depend on the next word. A Han or kana character is returned with the
    next character.

    >>> splitter = TextSplitter()
    >>> splitter.push("In Lon"), splitter.push("don, "), splitter.finish()
    ([('In', 0, 2)], [('London', 3, 9), (',', 9, 10)], [])
    """

    def __init__(self) -> None:
        self._text = ""
        # Offset of `_text` in the whole text, and where its first word that was not returned may begin.
        self._base = self._start = 0

    def push(self, piece: str) -> list[tuple[str, int, int]]:
        """Return the next words that are complete, each with its character range in the whole text."""
        self._text += piece
        return self._take(self._is_settled)

    def finish(self) -> list[tuple[str, int, int]]:
        """Return the remaining words; the text ends here."""
        return self._take(lambda start, end: True)

    def _take(self, is_settled: Callable[[int, int], bool]) -> list[tuple[str, int, int]]:
        spans = (match.span() for match in _WORD.finditer(self._text, self._start))
        settled = list(takewhile(lambda span: is_settled(*span), spans))
        words = [(self._text[start:end], self._base + start, self._base + end) for start, end in settled]
        if settled:
            self._start = settled[-1][1]
        cut = max(0, self._start - _LOOK_BEHIND)
        self._text, self._base, self._start = self._text[cut:], self._base + cut, self._start - cut
        return words

    def _is_settled(self, start: int, end: int) -> bool:
        text = self._text
        if start + _LONGEST_MATCH <= len(text) or _IDEOGRAPH_ALONE.match(text, start):
            return True
        space = _SPACE.search(text, end)
        return space is not None and (text[space.start() - 1] != "." or space.end() < len(text))
