"""Tag styles: spellings of tags in files (`PER-B`, `b_per`, `M-ORG`, `(PER*`), normalized to `B-PER`, `I-PER`, `O`."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lookboth.data.schemes import OUTSIDE

Layout = Literal["prefix", "suffix", "both", "letter", "brackets", "numbered", "label"]
# Label of spans whose tags are a single letter.
UNNAMED = "ENTITY"
SIGNS = frozenset(
    (
        "0",
        "-",
        "_",
        "*",
        "",
        "o",
        "OUT",
        "Out",
        "out",
        "OUTSIDE",
        "Outside",
        "outside",
        "None",
        "none",
        "null",
        "nan",
    )
)
_LETTERS = "BIESLUMW"
# Tried in this order: tags with a letter at both ends would also fit the layout "prefix".
_SPELLINGS: tuple[tuple[Layout, str], ...] = (
    ("letter", ""),
    *(("both", separator) for separator in "-_:/.|"),
    *(("prefix", separator) for separator in "-_:/.|"),
    *(("suffix", separator) for separator in "-_:/.|"),
)
# Separators of several tags in one cell.
IN_ONE_CELL = "|;,"
_NUMBERED = re.compile(r"([^\[\]|]+)\[([0-9]+)\]")
# Middle and whole, as in Chinese data sets.
_OTHER_LETTERS = {"M": "I", "W": "S"}
# Positions spelled out.
_WORDS = {
    **dict.fromkeys(("BEGIN", "BEG", "START"), "B"),
    **dict.fromkeys(("INSIDE", "IN", "MIDDLE", "MID"), "I"),
    **dict.fromkeys(("END", "LAST"), "E"),
    **dict.fromkeys(("SINGLE", "WHOLE", "UNIT"), "S"),
}


@dataclass(frozen=True, slots=True)
class TagStyle:
    """Spelling of the tags of a file.

    Args:
        layout: place of the position letter: before or after the label, at both ends, alone, as brackets (CoNLL-2012)
            or as the number of the span (WebAnno, `PER[1]`); "label": tags have no position.
        separator: text between letter and label.
        letters: maps each letter of the file to the letter that schemes use.
        outside: tags that mean "O".
        ends: whether tags mark the ends of spans instead of their beginnings (IOE1, IOE2: `I-PER E-PER`).
        key: name of the feature whose value is the tag, for cells with features (`SpaceAfter=No|NER=B-PER`).
    """

    layout: Layout
    separator: str = "-"
    letters: Mapping[str, str] = field(default_factory=dict)
    outside: frozenset[str] = frozenset((OUTSIDE,))
    ends: bool = False
    key: str = ""

    def read(self, tags: Sequence[str]) -> tuple[str, ...]:
        """Normalize the tags of one sentence to the spelling of the schemes; tags of another style are kept.

        >>> TagStyle("suffix", "_", {"B": "B", "M": "I"}).read(["PER_B", "PER_M", "O"])
        ('B-PER', 'I-PER', 'O')
        """
        if self.key:
            tags = [features_of(tag).get(self.key, OUTSIDE) for tag in tags]
        if self.layout == "brackets":
            return tuple(_read_brackets(tags))
        if self.layout == "numbered":
            return tuple(_read_numbered(tags))
        # Most words of a sentence have the same tag.
        known = {tag: self._read_tag(tag) for tag in set(tags)}
        read = tuple(known[tag] for tag in tags)
        return tuple(_begin_after_ends(read)) if self.ends else read

    def _read_tag(self, tag: str) -> str:
        if tag in self.outside:
            return OUTSIDE
        letter, label = _split(tag, self.layout, self.separator)
        return f"{self.letters[letter]}-{label}" if letter in self.letters else tag


@dataclass(frozen=True, slots=True)
class Refusal:
    """The reason why tags are not read: an example tag, and a message with the advice."""

    tag: str
    message: str


def find_style(tags: Counter[str]) -> TagStyle | Refusal:
    """Detect the style of tags, given with their counts; the layout is "label" if tags have no positions.

    The standard style (`B-PER`) is chosen if at least half of the tags have it, so that single broken tags are reported
    one by one. Any other style is chosen only if all tags have it.
    """
    outside = _outside(tags)
    labeled = Counter({tag: count for tag, count in tags.items() if tag not in outside})
    if tags and not labeled and OUTSIDE not in tags:
        return Refusal(next(iter(tags)), only_signs(tags))
    # Half suffices: broken tags are then reported one by one instead of refusing the file.
    if _standard_share(labeled) * 2 >= labeled.total():
        return _standard_style(labeled, outside)
    if _are_brackets(tags):
        return TagStyle("brackets")
    if "_" in outside and any(map(_NUMBERED.fullmatch, tags)):
        return TagStyle("numbered", outside=outside)
    for layout, separator in _SPELLINGS:
        letters = {_split(tag, layout, separator)[0] for tag in labeled}
        if _are_positions(letters, has_outside=len(labeled) < len(tags)):
            ends = set(map(_letter, letters)) == {"I", "E"}
            return TagStyle(layout, separator, _meanings(letters), outside, ends)
    return TagStyle("label", outside=outside)


def _split(tag: str, layout: str, separator: str) -> tuple[str, str]:
    """Return (letter, label) of a tag with this layout, ("", "") for any other."""
    if layout == "letter":
        return (tag, UNNAMED) if len(tag) == 1 else ("", "")
    head, _, after = tag.partition(separator)
    before, _, tail = tag.rpartition(separator)
    if layout == "prefix" and _letter(head) and after:
        return head, after
    if layout == "suffix" and _letter(tail) and before:
        return tail, before
    inner = after.removesuffix(separator + tail)
    if layout == "both" and head == tail and _letter(head) and inner and inner != after:
        return head, inner
    return "", ""


def _letter(position: str) -> str:
    """Return the capital letter of a position, "" for any other text."""
    upper = _WORDS.get(position.upper(), position.upper())
    return upper if len(upper) == 1 and upper in _LETTERS else ""


def _are_positions(letters: set[str], *, has_outside: bool) -> bool:
    """Return whether the letters of all labeled tags can be positions: known, of one case, one of them a beginning."""
    upper = set(map(_letter, letters))
    # `b` and `B` in one file are not positions.
    one_case = len(upper) == len(letters) and (letters == upper or not letters & upper)
    begins = "B" in upper or (has_outside and "I" in upper)
    return "" not in upper and one_case and begins and _fit_together(upper)


def _fit_together(letters: set[str]) -> bool:
    """Return whether no two of the letters have the same meaning."""
    return not ({"M", "I"} <= letters or len(letters & {"W", "S", "U"}) > 1 or {"E", "L"} <= letters)


def _meanings(letters: Iterable[str]) -> dict[str, str]:
    return {letter: _OTHER_LETTERS.get(_letter(letter), _letter(letter)) for letter in sorted(letters)}


def is_standard(tag: str) -> bool:
    """Return whether a tag is a position letter, a hyphen and a label."""
    return _split(tag, "prefix", "-")[0] in tuple(_LETTERS)


def standard_style(tags: Iterable[str]) -> TagStyle:
    """Return the standard style (`B-PER`) without checking the tags."""
    # The letters of the schemes, without M and W.
    return TagStyle("prefix", letters=_meanings(_LETTERS[:6]), outside=_outside(tags))


def _standard_share(labeled: Counter[str]) -> int:
    return sum(count for tag, count in labeled.items() if is_standard(tag))


def _standard_style(labeled: Counter[str], outside: frozenset[str]) -> TagStyle | Refusal:
    letters = {_split(tag, "prefix", "-")[0] for tag in labeled} & set(_LETTERS)
    if labeled and all(_split(tag, "both", "-")[0] for tag in labeled):
        return TagStyle("both", letters=_meanings(letters), outside=outside)
    twice = [tag for tag in labeled if len(tag) > 4 and _split(tag, "suffix", "-")[0] in tuple(_LETTERS)]
    if labeled and len(twice) == len(labeled):
        return Refusal(twice[0], _positions_at_both_ends(twice[0]))
    known = letters if _fit_together(letters) else letters - set(_OTHER_LETTERS)
    return TagStyle("prefix", letters=_meanings(known), outside=outside, ends=letters == {"I", "E"})


def _outside(tags: Iterable[str]) -> frozenset[str]:
    """Return the tags that mean "O": "O" itself, or other signs in a file without it."""
    return frozenset((OUTSIDE,)) if OUTSIDE in tags else frozenset((OUTSIDE, *SIGNS))


def joins_tags(tag: str) -> bool:
    """Return whether a cell holds several tags, such as `I-ORG|B-GPE` or `PER[1]|ORG[2]`."""
    for separator in IN_ONE_CELL:
        parts = [part for part in tag.split(separator) if part != OUTSIDE]
        if (
            separator in tag
            and parts
            and all(is_standard(part) or _NUMBERED.fullmatch(part) for part in parts)
        ):
            return True
    return False


def features_of(cell: str) -> dict[str, str]:
    """Return the features of a cell; none if the cell does not hold features.

    >>> features_of("SpaceAfter=No|NER=B-PER"), features_of("B-PER")
    ({'SpaceAfter': 'No', 'NER': 'B-PER'}, {})
    """
    pairs = [part.partition("=") for part in cell.split("|")]
    return {name: value for name, _, value in pairs} if all(p[0] and p[1] for p in pairs) else {}


def _are_brackets(tags: Counter[str]) -> bool:
    """Return whether the tags are brackets as in CoNLL-2012, not nested: `(PERSON*`, `*`, `*)`, `(GPE)`."""
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


def _begin_after_ends(tags: Iterable[str]) -> Iterator[str]:
    """Rewrite IOE as IOB2: a span begins where the previous tag is not an inside tag of the same label."""
    before = OUTSIDE
    for tag in tags:
        label = tag[2:]
        yield tag if not is_standard(tag) else f"{'I' if before == f'I-{label}' else 'B'}-{label}"
        before = tag


def _read_numbered(tags: Iterable[str]) -> Iterator[str]:
    """Normalize tags of WebAnno: the words of a span share its number; `*` is a span without a label."""
    before = ""
    for tag in tags:
        match = _NUMBERED.fullmatch(tag)
        number, label = (match[2], match[1]) if match else ("", tag)
        position = "I" if number and number == before else "B"
        yield OUTSIDE if label in ("_", OUTSIDE) else f"{position}-{UNNAMED if label == '*' else label}"
        before = number


def only_signs(tags: Iterable[str]) -> str:
    """Return the message for a column without labels."""
    shown = " and ".join(map(repr, sorted(tags)[:4]))
    return f"the tag column holds no labels but {shown}. Name the column of the tags: --tag-column"


def _positions_at_both_ends(tag: str) -> str:
    return (
        f"tag {tag!r:.60} has a position letter at both ends, and they differ. To read the first one as the position "
        f"and {tag[2:]!r:.60} as the label, name the scheme: --scheme IOB2"
    )
