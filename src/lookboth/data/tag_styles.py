"""Tag styles: the spellings of tags in files (`PER-B`, `b_per`, `M-ORG`, `(PER*`), read as `B-PER`, `I-PER` and `O`."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lookboth.data.schemes import OUTSIDE, detect_scheme, resolve_scheme

Layout = Literal["prefix", "suffix", "both", "letter", "brackets", "label"]
UNNAMED = "ENTITY"  # label of spans whose tags are a letter alone
SIGNS = frozenset(("0", "-", "_", "*", "", "o", "OUT", "OUTSIDE", "None", "none", "null", "nan"))
_LETTERS = "BIESLUMW"
_SPELLINGS: tuple[tuple[Layout, str], ...] = (
    ("letter", ""),
    *(("both", separator) for separator in "-_:/.|"),
    *(("prefix", separator) for separator in "-_:/.|"),
    *(("suffix", separator) for separator in "-_:/.|"),
)
_IN_ONE_CELL = "|;,"
_OTHER_LETTERS = {"M": "I", "W": "S"}  # middle and whole, of Chinese data sets


@dataclass(frozen=True, slots=True)
class TagStyle:
    """How a file spells its tags.

    Args:
        layout: where the position letter is: before or after the label, at both ends, alone, in brackets as in
            CoNLL-2012; "label": there is none.
        separator: between letter and label.
        letters: each letter of the file with the letter that schemes use for it.
        outside: tags that stand for "O".
    """

    layout: Layout
    separator: str = "-"
    letters: Mapping[str, str] = field(default_factory=dict)
    outside: frozenset[str] = frozenset((OUTSIDE,))

    def read(self, tags: Sequence[str]) -> tuple[str, ...]:
        """Return the tags of one sentence as schemes spell them; a tag of another style stays as it is.

        >>> TagStyle("suffix", "_", {"B": "B", "M": "I"}).read(["PER_B", "PER_M", "O"])
        ('B-PER', 'I-PER', 'O')
        """
        if self.layout == "brackets":
            return tuple(_read_brackets(tags))
        return tuple(map(self._read_tag, tags))

    def _read_tag(self, tag: str) -> str:
        if tag in self.outside:
            return OUTSIDE
        letter, label = _split(tag, self.layout, self.separator)
        return f"{self.letters[letter]}-{label}" if letter in self.letters else tag


@dataclass(frozen=True, slots=True)
class TagReading:
    """A scheme and a style that together give the spans of a file's tags."""

    scheme: str
    style: TagStyle


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why tags are not read: an example and what to do."""

    tag: str
    message: str


def choose_reading(
    sentences: Sequence[Sequence[str]], scheme: str | None, head: str | None = None
) -> TagReading | Refusal:
    """Return the scheme and the style of a file's tags, or why they cannot be told.

    Args:
        sentences: the tags of each sentence.
        scheme: the scheme a user named, or None to detect it.
        head: the scheme of the head that the data are read for, if there is one: "plain" reads tags without
            positions as one label per word, and other heads do not take such data.

    Raises:
        ConfigError: if the scheme is unknown.

    >>> choose_reading([["B", "I", "O"]], None).style.read(["B", "I"])
    ('B-ENTITY', 'I-ENTITY')
    """
    named = resolve_scheme(scheme) if scheme else None
    tags = Counter(tag for sentence in sentences for tag in sentence)
    if named == "plain":
        return _plain(tags, head)
    style = find_style(tags)
    if isinstance(style, Refusal):
        return style if named in (None, "IO") else TagReading(str(named), _standard(tags))
    if named == "IO":
        return _read_as_io(tags, style)
    if style.layout == "label":
        return TagReading(named, style) if named else _without_positions(tags, head)
    found = named or detect_scheme(style.read(sentence) for sentence in sentences)
    return TagReading(found, style)


def find_style(tags: Counter[str]) -> TagStyle | Refusal:
    """Return the style of the tags with their counts; the layout is "label" where tags have no positions.

    The standard style (`B-PER`) is taken when at least half of the tags have it, so that single broken tags are
    reported one by one. Every other style needs all of them.
    """
    outside = _outside(tags)
    labeled = Counter({tag: count for tag, count in tags.items() if tag not in outside})
    joined = next((tag for tag in labeled if _joins_tags(tag)), None)
    if joined is not None:
        return Refusal(joined, _several_in_a_cell(joined))
    if tags and not labeled and OUTSIDE not in tags:
        return Refusal(next(iter(tags)), _only_signs(tags))
    if _standard_share(labeled) * 2 >= labeled.total():
        return _standard_style(labeled, outside)
    if _are_brackets(tags):
        return TagStyle("brackets")
    for layout, separator in _SPELLINGS:
        letters = {_split(tag, layout, separator)[0] for tag in labeled}
        if _are_positions(letters, has_outside=len(labeled) < len(tags)):
            return TagStyle(layout, separator, _meanings(letters), outside)
    return TagStyle("label", outside=outside)


def _split(tag: str, layout: str, separator: str) -> tuple[str, str]:
    """Return (letter, label) of a tag of this layout, ("", "") of any other."""
    if layout == "letter":
        return (tag, UNNAMED) if len(tag) == 1 else ("", "")
    head, tail = tag[:1], tag[-1:]
    begins, ends = tag[1:2] == separator, tag[-2:-1] == separator
    if layout == "prefix" and begins and len(tag) > 2:
        return head, tag[2:]
    if layout == "suffix" and ends and len(tag) > 2:
        return tail, tag[:-2]
    if layout == "both" and begins and ends and head == tail and len(tag) > 4:
        return head, tag[2:-2]
    return "", ""


def _are_positions(letters: set[str], *, has_outside: bool) -> bool:
    """Whether these letters, of all labeled tags, can only be positions: one case, known, and one that begins."""
    upper = {letter.upper() for letter in letters}
    known = all(letter and letter in _LETTERS for letter in upper)
    one_case = len(upper) == len(letters) and (letters == upper or not letters & upper)
    begins = "B" in upper or (has_outside and "I" in upper)
    return known and one_case and begins and _fit_together(upper)


def _fit_together(letters: set[str]) -> bool:
    """Whether no two of the letters mean the same."""
    return not ({"M", "I"} <= letters or len(letters & {"W", "S", "U"}) > 1 or {"E", "L"} <= letters)


def _meanings(letters: Iterable[str]) -> dict[str, str]:
    return {letter: _OTHER_LETTERS.get(letter.upper(), letter.upper()) for letter in sorted(letters)}


def _standard_share(labeled: Counter[str]) -> int:
    return sum(n for tag, n in labeled.items() if _split(tag, "prefix", "-")[0] in tuple(_LETTERS))


def _standard(tags: Counter[str]) -> TagStyle:
    return TagStyle("prefix", letters=_meanings(_LETTERS[:6]), outside=_outside(tags))


def _standard_style(labeled: Counter[str], outside: frozenset[str]) -> TagStyle | Refusal:
    letters = {_split(tag, "prefix", "-")[0] for tag in labeled} & set(_LETTERS)
    if labeled and all(_split(tag, "both", "-")[0] for tag in labeled):
        return TagStyle("both", letters=_meanings(letters), outside=outside)
    twice = [tag for tag in labeled if len(tag) > 4 and _split(tag, "suffix", "-")[0] in tuple(_LETTERS)]
    if labeled and len(twice) == len(labeled):
        return Refusal(twice[0], _positions_at_both_ends(twice[0]))
    known = letters if _fit_together(letters) else letters - set(_OTHER_LETTERS)
    return TagStyle("prefix", letters=_meanings(known), outside=outside)


def _outside(tags: Iterable[str]) -> frozenset[str]:
    """Return the tags that stand for "O": "O" itself, or other signs in a file without it."""
    return frozenset((OUTSIDE,)) if OUTSIDE in tags else frozenset((OUTSIDE, *SIGNS))


def _joins_tags(tag: str) -> bool:
    """Whether a cell holds several tags, such as `I-ORG|B-GPE`."""
    for separator in _IN_ONE_CELL:
        parts = tag.split(separator)
        letters = [_split(part, "prefix", "-")[0] for part in parts if part != OUTSIDE]
        if len(parts) > 1 and letters and all(letter in tuple(_LETTERS) for letter in letters):
            return True
    return False


def _are_brackets(tags: Counter[str]) -> bool:
    """Whether the tags are brackets of CoNLL-2012, one at a time: `(PERSON*`, `*`, `*)`, `(GPE)`."""
    return any(tag.startswith("(") for tag in tags) and all(
        tag in ("*", "*)")
        or (tag.startswith("(") and tag.count("(") == 1 and tag.strip("(*)") and tag[-1:] in "*)")
        for tag in tags
    )


def _read_brackets(tags: Iterable[str]) -> Iterator[str]:
    label = ""
    for tag in tags:
        begins = tag.startswith("(")
        label = tag.strip("(*)") if begins else label
        yield f"{'B' if begins else 'I'}-{label}" if label else (OUTSIDE if tag == "*" else tag)
        label = "" if tag.endswith(")") else label


def _plain(tags: Counter[str], head: str | None) -> TagReading | Refusal:
    if head in (None, "plain"):
        return TagReading("plain", TagStyle("label"))
    return Refusal(
        next(iter(tags), ""),
        f"the file is read with one label per word (scheme plain), but the labels are for {head} spans. To train "
        'one label per word, type --set scheme=plain (in a recipe: scheme = "plain"); if adjacent words of one '
        'label are one span, read the file with --scheme IO (in a recipe: data.scheme = "IO")',
    )


def _read_as_io(tags: Counter[str], style: TagStyle) -> TagReading | Refusal:
    if style.layout == "label" or not set(tags) - style.outside:
        return TagReading("IO", style)
    if set(style.letters.values()) == {"I"}:
        return TagReading("IOB1", style)
    tag = next(tag for tag in tags if tag not in style.outside)
    return Refusal(tag, f"tag {tag!r} has a position, which IO tags have not. Leave --scheme out")


def _without_positions(tags: Counter[str], head: str | None) -> TagReading | Refusal:
    if head == "plain":
        return _plain(tags, head)
    labeled = [tag for tag, _ in tags.most_common() if tag != OUTSIDE]
    if all(tag in SIGNS for tag in labeled):
        return Refusal(labeled[0], _only_signs(tags))
    odd = [tag for tag in labeled if _split(tag, "prefix", "-")[0] not in tuple(_LETTERS)]
    return Refusal(odd[0], _io_or_plain(odd[:3]))


def _only_signs(tags: Iterable[str]) -> str:
    shown = " and ".join(map(repr, sorted(tags)))
    return f"the tag column holds only {shown}. Name the column of the tags: --tag-column"


def _io_or_plain(tags: Sequence[str]) -> str:
    shown = ", ".join(f"{tag!r:.40}" for tag in tags)
    return (
        f"tags such as {shown} do not say where a span begins. If adjacent words of one label are one span, type "
        '--scheme IO (in a recipe: data.scheme = "IO"); if each word has a label of its own, as in part-of-speech '
        "tagging, type --scheme plain (to train: --set scheme=plain). If these are no tags, name their column: "
        "--tag-column"
    )


def _several_in_a_cell(tag: str) -> str:
    return (
        f"the cell {tag!r:.60} holds several tags, and a word has one. Write each layer of tags into a column of its "
        "own and choose one with --tag-column"
    )


def _positions_at_both_ends(tag: str) -> str:
    return (
        f"tag {tag!r:.60} has a position letter at both ends, and they differ. To read the first one as the position "
        f"and {tag[2:]!r:.60} as the label, name the scheme: --scheme IOB2"
    )
