"""The format "tags": every word with its tag."""

from collections.abc import Sequence

from lookboth.data import OUTSIDE, decode_tags, encode_spans, find_tag_errors, parse_tag
from lookboth.generative import AnswerProblem, CopyParser, Parsed, escape, split_unescaped, unescape
from lookboth.generative.codecs.codec import Codec
from lookboth.types import Span


class TagsCodec(Codec):
    r"""Every word with its tag, `New/B-LOC York/I-LOC`; under the scheme "plain" with its label.

    >>> codec = TagsCodec(["LOC"])
    >>> codec.encode(["in", "New", "York"], [Span(1, 3, "LOC")])
    'in/O New/B-LOC York/I-LOC'
    """

    markers = "/"
    explanation = "Copy the text with a tag after each word: word/tag."

    def word_piece(self, word: str, *, first: bool) -> str:
        """Return a word as a piece, with a space in front unless it is the first."""
        return ("" if first else " ") + escape(word, self.markers)

    def tag_piece(self, tag: str) -> str:
        """Return the piece with the tag of the word before it."""
        return "/" + escape(tag, self.markers)

    def pieces(self, words: Sequence[str], spans: Sequence[Span]) -> list[str]:
        """Return words and tags alternately."""
        result = []
        for index, (word, tag) in enumerate(
            zip(words, encode_spans(spans, len(words), self.scheme), strict=True)
        ):
            result += [self.word_piece(word, first=index == 0), self.tag_piece(tag)]
        return result

    def parse(self, answer: str, words: Sequence[str]) -> Parsed:
        """Parse an answer; if its words differ from the text, align the common words."""
        items: list[tuple[str, str, tuple[int, int]]] = []
        problems: list[AnswerProblem] = []
        for start, item in split_unescaped(answer.replace("\n", " "), " "):
            *word, (offset, tag) = split_unescaped(item, "/")
            if word:
                items.append((unescape(item[: offset - 1]), unescape(tag), (start, start + len(item))))
            elif item:
                problems.append(AnswerProblem("unparseable", item))
        parser = CopyParser([word for word, _, _ in items], words, self.labels)
        parser.problems += problems
        tags = [self._known(tag, parser) for _, tag, _ in items]
        # `decode_tags` repairs invalid sequences, so they are counted here.
        for index, _ in find_tag_errors(tags, self.scheme):
            parser.problem("unparseable", tags[index])
        for span in decode_tags(tags, self.scheme):
            place = (items[span.start][2][0], items[span.end - 1][2][1])
            parser.add(span.start, span.end, span.label, answer[slice(*place)], place)
        return parser.parsed()

    def _known(self, tag: str, parser: "CopyParser") -> str:
        label = tag if self.scheme == "plain" else parse_tag(tag)[1]
        if tag == OUTSIDE or label in self.labels:
            return tag
        parser.problem("unknown_label" if label else "unparseable", tag)
        return OUTSIDE
