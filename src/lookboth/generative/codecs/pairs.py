"""The format "pairs": the spans with their labels, one after the other."""

from collections.abc import Sequence

from lookboth.generative import MentionParser, Parsed, escape, read_words, split_unescaped
from lookboth.generative.codecs.codec import Codec, read_label, write_label
from lookboth.types import Span


class PairsCodec(Codec):
    r"""`span:label;span:label`, the instruction tuning format of Dukić & Šnajder 2024.

    The format has no positions. Parsing goes from left to right: each span is the first free occurrence of
    its words after the previous span, or, if there is none, the first free occurrence from the start. So a
    span that follows an unlabeled occurrence of the same words is parsed as that occurrence.

    >>> codec = PairsCodec(["PER", "LOC"])
    >>> codec.encode(["Ada", "lives", "in", "New", "York"], [Span(0, 1, "PER"), Span(3, 5, "LOC")])
    'Ada:PER;New York:LOC'
    >>> codec.parse("York:LOC;Bob:PER", ["Ada", "in", "York"]).problems
    (AnswerProblem(kind='invented', piece='Bob:PER'),)
    """

    markers = ":;"
    explanation = (
        "Answer with the spans in order, written span:type;span:type, or with nothing if there is none."
    )

    def open_piece(self, *, first: bool) -> str:
        """Return the piece before a span, empty before the first."""
        return "" if first else ";"

    def word_piece(self, word: str, *, first: bool) -> str:
        """Return a word of a span as a piece, with a space in front unless it is the first."""
        return ("" if first else " ") + escape(word, self.markers)

    def label_piece(self, label: str) -> str:
        """Return the piece with the label of a span."""
        return ":" + write_label(label, self.markers)

    def pieces(self, words: Sequence[str], spans: Sequence[Span]) -> list[str]:
        """Return words, label and separators as pieces."""
        result: list[str] = []
        for span in sorted(spans):
            result += [self.open_piece(first=False)] if result else []
            result += [self.word_piece(words[i], first=i == span.start) for i in range(*span[:2])]
            result.append(self.label_piece(span.label))
        return result

    def parse(self, answer: str, words: Sequence[str]) -> Parsed:
        """Parse an answer; a bare ':' inside the words belongs to them."""
        parser = MentionParser(words, self.labels)
        for start, item in split_unescaped(answer, ";"):
            if not item.strip(" \n"):
                continue
            *mention, (offset, label) = split_unescaped(item, ":")
            place = (start, start + len(item))
            if not mention:
                parser.problem("unparseable", item)
            else:
                parser.add(read_words(item[: offset - 1]), read_label(label), item, place)
        return parser.parsed()
