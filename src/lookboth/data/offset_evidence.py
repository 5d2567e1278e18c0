"""Evidence for the counting of offsets without stated texts: spans that begin and end with words."""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from lookboth.data.counting import Counting, Ruler
from lookboth.data.words import split_words

# Keys are the values of --offsets.
COUNTINGS: Mapping[str, Counting] = MappingProxyType(
    {"utf16": Counting("UTF-16 units"), "codepoints": Counting("code points")}
)


class Reading(NamedTuple):
    """A span read with one counting: the covered text (None: outside), and whether it begins and ends with words."""

    covered: str | None
    fits: bool


def differing_readings(
    text: str, spans: Iterable[tuple[int, int]]
) -> Iterator[tuple[tuple[int, int], dict[str, Reading]]]:
    """Yield each span that differs between the countings, with its readings by the name of the counting.

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
                    name: Reading(None, False)
                    if place is None
                    else Reading(text[place[0] : place[1]], place[0] in starts and place[1] in ends)
                    for name, place in places.items()
                },
            )
