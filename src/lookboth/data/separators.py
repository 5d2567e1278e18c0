"""Column separators of a file: tabs, blanks, a named separator, or the delimiter of CSV."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_TAG = re.compile(r"O|[BIESLU]-.+")
_BLANKS = re.compile(r"[ \t]+")
# Lines from which the delimiter of CSV is detected.
_LINES_LOOKED_AT = 1000


@dataclass(frozen=True, slots=True)
class Splitter:
    """Splits lines into columns.

    Args:
        separator: column separator; None: tabs on lines that have one, else blanks.
        tabbed: whether any line has a tab.
        any_blank: whether no-break and other wide spaces separate columns too, because nothing else does.
        quoted: whether cells may be quoted as in CSV.
    """

    separator: str | None = None
    tabbed: bool = False
    any_blank: bool = False
    quoted: bool = False

    @classmethod
    def of(cls, lines: Sequence[str], separator: str | None = None, *, quoted: bool = False) -> "Splitter":
        """Detect the separator of these lines; for CSV (`quoted`) a comma, semicolon or tab."""
        if separator is not None or quoted:
            return cls(separator or delimiter_of(lines), quoted=quoted)
        if any("\t" in line for line in lines):
            return cls(tabbed=True)
        # Wide spaces separate columns only if most lines have no other separator.
        shown = [line for line in lines if line.strip()]
        wide = sum(len(_BLANKS.split(line.strip(" \t"))) == 1 < len(line.split()) for line in shown)
        return cls(any_blank=wide * 2 > len(shown))

    @property
    def blanks(self) -> bool:
        """Whether blanks separate columns."""
        return self.separator in (None, " ") and not self.tabbed

    def split(self, line: str) -> list[str]:
        """Return the columns of a line, stripped; none for a blank line.

        In a file with tabs, a '#' line without a tab is a comment in one column, unless it ends in a tag.
        """
        if not line.strip():
            return []
        if self.quoted:
            cells = _strip(cells_of(line, str(self.separator)))
            return cells if any(cells) else []
        if self.separator is not None:
            return _strip(line.split(self.separator))
        if "\t" in line:
            return _strip(line.rstrip(" \t").split("\t"))
        if self.any_blank:
            return line.split()
        columns = _BLANKS.split(line.strip(" "))
        if self.tabbed and line.startswith("#") and not looks_like_tag(columns[-1]):
            return [line]
        return columns


def looks_like_tag(cell: str) -> bool:
    """Return whether a cell looks like a tag of a scheme: "O", or a position letter, a hyphen and a label."""
    return _TAG.fullmatch(cell) is not None


def delimiter_of(lines: Sequence[str]) -> str:
    """Return the delimiter that splits most lines into the same number of columns; ties: most columns."""
    shown = [line for line in lines[:_LINES_LOOKED_AT] if line.strip()]

    def regularity(delimiter: str) -> tuple[int, int]:
        counts = Counter(len(cells_of(line, delimiter)) for line in shown)
        usual, lines_of_it = max(counts.items(), key=lambda item: (item[1], item[0]), default=(1, 0))
        return (lines_of_it, usual) if usual > 1 else (0, 1)

    return max(",;\t", key=regularity)


def separator_of_header(line: str) -> str:
    """Return the delimiter that splits the first line of a CSV file into most columns; ties: a comma.

    >>> separator_of_header("id;text"), separator_of_header("text")
    (';', ',')
    """
    return max(",;\t", key=lambda delimiter: len(cells_of(line, delimiter)))


def same_columns(lines: Sequence[str], separators: str) -> str | None:
    """Return the separator that splits every line into the same number of columns, at least two; None: there is none.

    One line alone does not tell.
    """
    shown = [line for line in lines[:_LINES_LOOKED_AT] if line.strip()]
    for separator in separators if len(shown) > 1 else "":
        counts = {len(cells_of(line, separator)) for line in shown}
        if len(counts) == 1 and counts != {1}:
            return separator
    return None


def cells_of(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line of CSV; a line with unclosed quotes is one cell."""
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return [line]


def _strip(cells: Iterable[str]) -> list[str]:
    # A cell of white space is kept, so that `build_dataset` reports a word without visible characters.
    return [cell.strip() or cell for cell in cells]
