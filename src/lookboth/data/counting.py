"""Units of character offsets in different tools, and their detection from the texts of spans.

Python counts code points, JavaScript UTF-16 units, some tools UTF-8 bytes. Tools that read a file in text mode count
the line end CRLF as one character. A byte order mark may or may not count.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, product
from types import MappingProxyType
from typing import NamedTuple

from lookboth.data.words import split_words

_BOM = "\ufeff"
_WIDTHS: Mapping[str, Callable[[str], int]] = MappingProxyType(
    {
        "code points": lambda char: 1,
        # Characters beyond U+FFFF are surrogate pairs.
        "UTF-16 units": lambda char: 1 + (char > "\uffff"),
        "UTF-8 bytes": lambda char: len(char.encode("utf-8", "surrogatepass")),
    }
)


class Claim(NamedTuple):
    """The pieces of a span, usually one, with the text that the file states for them.

    Args:
        pieces: (start, end) of each piece as in the file, end exclusive.
        said: the stated text.
    """

    pieces: tuple[tuple[int, int], ...]
    said: str


@dataclass(frozen=True, slots=True)
class Counting:
    """An offset unit: the unit of characters, and how line ends and the byte order mark count.

    Args:
        unit: "code points", "UTF-16 units" or "UTF-8 bytes".
        line_end: "as it is"; "one": CRLF counts as one character; "two": LF counts as two.
        bom: "as it is"; "left out": a byte order mark in the text does not count; "added": one that is not in the
            text counts.
    """

    unit: str = "code points"
    line_end: str = "as it is"
    bom: str = "as it is"

    def describe(self) -> str:
        """Return the description for messages: what the offsets count."""
        notes = {
            "one": "a line end CRLF as one",
            "two": "a line end as two",
            "left out": "no byte order mark",
            "added": "one more at the start of the text, as a byte order mark",
        }
        return ", ".join((self.unit, *(notes[n] for n in (self.line_end, self.bom) if n in notes)))


# Keys are the values of --offsets.
COUNTINGS: Mapping[str, Counting] = MappingProxyType(
    {"utf16": Counting("UTF-16 units"), "codepoints": Counting("code points")}
)


class Ruler:
    """Converts offsets into one text between an offset unit and code points.

    Args:
        text: the text.
        counting: what the offsets count.

    >>> ruler = Ruler("👩 in Rome", Counting("UTF-16 units"))
    >>> ruler.from_code_points(5), ruler.to_code_points(6), ruler.to_code_points(1)
    (6, 5, None)
    """

    def __init__(self, text: str, counting: Counting) -> None:
        self.marks = list(accumulate(_widths(text, counting), initial=int(counting.bom == "added")))

    def from_code_points(self, offset: int) -> int:
        """Return the offset of a character, or of the end of the text."""
        return self.marks[offset]

    def to_code_points(self, offset: int) -> int | None:
        """Return the code point at an offset; None outside the text or inside a character."""
        place = bisect_right(self.marks, offset) - 1
        return place if place >= 0 and self.marks[place] == offset else None

    def place(self, start: int, end: int) -> tuple[int, int] | None:
        """Return the code points from one offset to another, end exclusive; None if there are none."""
        first, stop = self.to_code_points(start), bisect_left(self.marks, end)
        whole = stop < len(self.marks) and self.marks[stop] == end
        return (first, stop) if first is not None and whole and first < stop else None


def find_counting(text: str, claims: Sequence[Claim]) -> Counting:
    """Return the offset unit with which most claims are true, at least half of them; ties: code points.

    Args:
        text: the text.
        claims: spans with a stated text.
    """
    best, most = Counting(), count_true(text, Counting(), claims)
    for counting in countings(text):
        # Most files count code points: other units are tried only while some claim is false.
        if most == len(claims):
            break
        true = count_true(text, counting, claims)
        if true > most and true * 2 >= len(claims):
            best, most = counting, true
    return best


def count_true(text: str, counting: Counting, claims: Sequence[Claim]) -> int:
    """Return the number of claims that are true with an offset unit."""
    ruler = None if counting == Counting() else Ruler(text, counting)

    def places(claim: Claim) -> list[tuple[int, int] | None]:
        return [piece if ruler is None else ruler.place(*piece) for piece in claim.pieces]

    return sum(is_true(claim.said, text, places(claim)) for claim in claims)


def is_true(said: str, text: str, places: Sequence[tuple[int, int] | None]) -> bool:
    """Return whether the text at these places is the stated text; runs of white space count as one blank."""
    covered = []
    for place in places:
        if place is None or not 0 <= place[0] < place[1] <= len(text):
            return False
        covered.append(text[place[0] : place[1]])
    return " ".join(covered).split() == said.split()


def find_said(said: str, text: str, length: int) -> int | None:
    """Return the start of a span's stated text if it has the length of the span and occurs exactly once."""
    found = bool(said.strip()) and len(said) == length and text.count(said) == 1
    return text.index(said) if found else None


def countings(text: str) -> Iterator[Counting]:
    """Yield the offset units that differ for this text, the most common first."""
    units = ["code points"]
    units += ["UTF-16 units"] * any(char > "\uffff" for char in text)
    units += ["UTF-8 bytes"] * (not text.isascii())
    ends = ["as it is", *["one"] * ("\r\n" in text), *["two"] * ("\n" in text.replace("\r\n", ""))]
    boms = ["as it is", "left out" if text.startswith(_BOM) else "added"]
    for bom, line_end, unit in product(boms, ends, units):
        yield Counting(unit, line_end, bom)


class OffsetReading(NamedTuple):
    """A span read in one offset unit: the covered text (None: invalid), and whether it begins and ends with words."""

    covered: str | None
    fits: bool


def differing_readings(
    text: str, spans: Iterable[tuple[int, int]]
) -> Iterator[tuple[tuple[int, int], dict[str, OffsetReading]]]:
    """Yield each span that differs between the offset units, with its readings by the name of the unit.

    Evidence for spans without stated texts: in the right unit, spans begin and end with words.

    Args:
        text: the text.
        spans: (start, end) as in the file, end exclusive.
    """
    if max(text, default="") <= "\uffff":
        return
    words = split_words(text)
    starts, ends = {start for start, _ in words}, {end for _, end in words}
    rulers = {name: Ruler(text, counting) for name, counting in COUNTINGS.items()}
    for start, end in spans:
        places = {name: ruler.place(start, end) for name, ruler in rulers.items()}
        if len(set(places.values())) > 1:
            yield (
                (start, end),
                {
                    name: OffsetReading(None, False)
                    if place is None
                    else OffsetReading(text[place[0] : place[1]], place[0] in starts and place[1] in ends)
                    for name, place in places.items()
                },
            )


def _widths(text: str, counting: Counting) -> list[int]:
    widths = list(map(_WIDTHS[counting.unit], text))
    for place, char in enumerate(text) if counting.line_end != "as it is" else ():
        if char == "\r" and text[place + 1 : place + 2] == "\n":
            widths[place] = int(counting.line_end == "two")
        elif char == "\n" and counting.line_end == "two" and text[place - 1 : place] != "\r":
            widths[place] = 2
    if counting.bom == "left out" and text.startswith(_BOM):
        widths[0] = 0
    return widths
