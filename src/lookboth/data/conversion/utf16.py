"""Offsets that count UTF-16 units, as JavaScript does, and Python's, which count code points."""

from bisect import bisect_left


class Utf16Offsets:
    """Turns offsets into one text from one way of counting into the other.

    A character beyond U+FFFF (most emoji) is one code point and two UTF-16 units.

    Args:
        text: the text.

    >>> offsets = Utf16Offsets("👩 in Rome")
    >>> offsets.from_code_points(5), offsets.to_code_points(6), offsets.to_code_points(1)
    (6, 5, None)
    """

    def __init__(self, text: str) -> None:
        self.length = len(text)
        self.wide = [] if text.isascii() else [i for i, char in enumerate(text) if char > "\uffff"]
        self.wide_units = [place + rank for rank, place in enumerate(self.wide)]

    def from_code_points(self, offset: int) -> int:
        """Return the number of UTF-16 units before a code point."""
        return offset + bisect_left(self.wide, offset)

    def to_code_points(self, offset: int) -> int | None:
        """Return the number of code points before a UTF-16 unit; None outside the text and inside a pair."""
        before = bisect_left(self.wide_units, offset)
        inside = before > 0 and offset == self.wide_units[before - 1] + 1
        place = offset - before
        return None if inside or not 0 <= place <= self.length else place
