"""The format "markup": the text with its spans in brackets."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from lookboth.generative import AnswerProblem, CopyParser, Parsed, escape, unescape
from lookboth.generative.codecs.codec import Codec, read_label, write_label
from lookboth.types import Span


class MarkupCodec(Codec):
    r"""The whole text with its spans in brackets, `[New York | LOC]`; positions are preserved by construction.

    >>> codec = MarkupCodec(["LOC"])
    >>> codec.encode(["in", "New", "York", "[", "]"], [Span(1, 3, "LOC")])
    'in [New York | LOC] \\[ \\]'
    >>> codec.parse("in [New York | LOC] \\[ \\]", ["in", "New", "York", "[", "]"]).spans
    (Span(start=1, end=3, label='LOC'),)
    """

    markers = "[]|"
    explanation = "Copy the text and put each span in brackets with its type: [span | type]."

    def word_piece(self, word: str, *, first: bool) -> str:
        """Return a word as a piece; without a space if it is `first` in the answer or after an opening bracket."""
        return ("" if first else " ") + escape(word, self.markers)

    def open_piece(self, *, first: bool) -> str:
        """Return the piece that opens a span."""
        return "[" if first else " ["

    def close_piece(self, label: str) -> str:
        """Return the piece with the label and the closing bracket of a span."""
        return f" | {write_label(label, self.markers)}]"

    def pieces(self, words: Sequence[str], spans: Sequence[Span]) -> list[str]:
        """Return words, opening and closing pieces in order."""
        opens = {span.start for span in spans}
        closes = {span.end: span.label for span in spans}
        result: list[str] = []
        for index, word in enumerate(words):
            if index in opens:
                result.append(self.open_piece(first=not result))
            result.append(self.word_piece(word, first=not result or index in opens))
            if index + 1 in closes:
                result.append(self.close_piece(closes[index + 1]))
        return result

    def parse(self, answer: str, words: Sequence[str]) -> Parsed:
        """Parse an answer; if its words differ from the text, align the common words."""
        written, marked, problems = _read_markup(answer)
        parser = CopyParser(written, words, self.labels)
        parser.problems += problems
        for first, last, label, place in marked:
            parser.add(first, last, label, answer[slice(*place)], place)
        return parser.parsed()


class _Marked(NamedTuple):
    """A bracketed part of an answer: copied words [first, end), label, character range in the answer."""

    first: int
    end: int
    label: str
    place: tuple[int, int]


_MARKUP_TOKEN = re.compile(r"[\[\]|]|(?:\\.|[^\\ \n\[\]|]|\\$)+", re.DOTALL)


def _read_markup(answer: str) -> tuple[list[str], list[_Marked], list[AnswerProblem]]:
    """Return the words of an answer, its bracketed parts, and problems with unmatched brackets.

    A bare ']' or '|' outside brackets is a word. A bracketed part without a label counts as words only.
    """
    words: list[str] = []
    marked: list[_Marked] = []
    broken: list[tuple[int, int]] = []
    # Word and character index of the opening bracket.
    opened: tuple[int, int] | None = None
    bar: int | None = None  # character index of its label
    for token in _MARKUP_TOKEN.finditer(answer):
        if token[0] == "[":
            if opened:
                # Brackets do not nest: a second one means that the first was never closed.
                broken.append((opened[1], token.start()))
            opened, bar = (len(words), token.start()), None
        elif token[0] == "]" and opened:
            place = (opened[1], token.end())
            if bar is None:
                broken.append(place)
            else:
                label = read_label(answer[bar : token.start()])
                marked.append(_Marked(opened[0], len(words), label, place))
            opened = bar = None
        elif token[0] == "|" and opened and bar is None:
            bar = token.end()
        elif bar is None:
            words.append(unescape(token[0]))
    if opened:
        broken.append((opened[1], len(answer)))
    return words, marked, [AnswerProblem("unparseable", answer[slice(*place)]) for place in broken]
