"""Answer formats: spans over words written as text, and read back from whatever a model wrote."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from lookboth.data.schemes import OUTSIDE, decode_tags, encode_spans, find_tag_errors, parse_tag
from lookboth.errors import ConfigError
from lookboth.generative.escaping import (
    escape,
    normalize,
    read_words,
    split_unescaped,
    unescape,
    write_words,
)
from lookboth.generative.reading import AnswerProblem, Copy, Mentions, Parsed, occurrences
from lookboth.types import Span


class Codec(ABC):
    """An answer format: `parse(encode(words, spans), words)` gives the spans back.

    Args:
        labels: the known labels.
        scheme: tag scheme, for the format that writes tags.

    Attributes:
        markers: characters with a meaning, escaped inside words and labels.
        explanation: what an instruction says about the format.
    """

    markers: str
    explanation: str

    def __init__(self, labels: Sequence[str], scheme: str = "IOB2") -> None:
        self.labels = tuple(labels)
        self.scheme = scheme

    @abstractmethod
    def pieces(self, words: Sequence[str], spans: Sequence[Span]) -> list[str]:
        """Return the answer in pieces: what is decided at once, and tokenized alone.

        Args:
            words: the words of the text.
            spans: over them, not overlapping.
        """

    @abstractmethod
    def parse(self, answer: str, words: Sequence[str]) -> Parsed:
        """Read an answer about `words`; never raises, whatever a model wrote."""

    def encode(self, words: Sequence[str], spans: Sequence[Span]) -> str:
        """Return the answer as text; never with a line end in it."""
        return "".join(self.pieces(words, spans))

    def show_words(self, words: Sequence[str]) -> str:
        """Return the text as a prompt shows it: in the form in which the answer copies it."""
        return write_words(words, self.markers)


class PairsCodec(Codec):
    r"""`span:label;span:label`, the instruction tuning format of Dukić & Šnajder 2024.

    It does not say where a span stands. Read left to right, each span is the first free occurrence of its words
    after the span before it; only where there is none, the first free occurrence from the start. So a span that
    follows an unlabeled occurrence of the same words comes back as that occurrence.

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
        """Return the piece before a span: nothing before the first."""
        return "" if first else ";"

    def word_piece(self, word: str, *, first: bool) -> str:
        """Return a word of a span as a piece; the first has no space before it."""
        return ("" if first else " ") + escape(word, self.markers)

    def label_piece(self, label: str) -> str:
        """Return the piece that labels a span."""
        return ":" + _write_label(label, self.markers)

    def pieces(self, words: Sequence[str], spans: Sequence[Span]) -> list[str]:
        """Return words, label and separators, piece by piece."""
        result: list[str] = []
        for span in sorted(spans):
            result += [self.open_piece(first=False)] if result else []
            result += [self.word_piece(words[i], first=i == span.start) for i in range(*span[:2])]
            result.append(self.label_piece(span.label))
        return result

    def parse(self, answer: str, words: Sequence[str]) -> Parsed:
        """Read an answer; a bare ':' inside the words is part of them."""
        reading = Mentions(words, self.labels)
        for start, item in split_unescaped(answer, ";"):
            if not item.strip(" \n"):
                continue
            *mention, (offset, label) = split_unescaped(item, ":")
            place = (start, start + len(item))
            if not mention:
                reading.problem("unparseable", item)
            else:
                reading.add(read_words(item[: offset - 1]), _read_label(label), item, place)
        return reading.parsed()


class JsonCodec(Codec):
    """A JSON list of {"text": ..., "label": ...}; "nth" counts occurrences where it is not the next one.

    >>> codec = JsonCodec(["LOC"])
    >>> codec.encode(["York", "or", "York"], [Span(2, 3, "LOC")])
    '[{"text": "York", "label": "LOC", "nth": 2}]'
    """

    markers = ""
    explanation = 'Answer with a JSON list of the spans in order: [{"text": "span", "label": "type"}].'

    def open_piece(self, *, first: bool) -> str:
        """Return the piece before the words of a span."""
        return '{"text": "' if first else ', {"text": "'

    def word_piece(self, word: str, *, first: bool) -> str:
        """Return a word of a span as a piece; the first has no space before it."""
        return ("" if first else " ") + _json_text(escape(word, self.markers))

    def label_piece(self, label: str) -> str:
        """Return the piece that ends the words of a span and labels it."""
        return f'", "label": "{_json_text(label)}"'

    def nth_piece(self, nth: int) -> str:
        """Return the piece that says which occurrence is meant and closes the span."""
        return f', "nth": {nth}}}' if nth > 1 else "}"

    def pieces(self, words: Sequence[str], spans: Sequence[Span]) -> list[str]:
        """Return the list piece by piece: brackets, the words of a span, its label, which occurrence it is."""
        normal = normalize(words)
        result, end = ["["], 0
        for span in sorted(spans):
            before = occurrences(normal[span.start : span.end], normal, end)
            result.append(self.open_piece(first=len(result) == 1))
            result += [self.word_piece(words[i], first=i == span.start) for i in range(*span[:2])]
            result.append(self.label_piece(span.label))
            result.append(self.nth_piece(sum(start <= span.start for start in before)))
            end = span.end
        return [*result, "]"]

    def parse(self, answer: str, words: Sequence[str]) -> Parsed:
        """Read an answer; one that is not a JSON list as a whole says nothing."""
        reading = Mentions(words, self.labels)
        try:
            records = json.loads(answer)
        except (ValueError, RecursionError):
            records = None
        if not isinstance(records, list):
            reading.problem("unparseable", answer)
            return reading.parsed()
        places = _json_places(answer, len(records))
        for record, place in zip(records, places, strict=True):
            piece = answer[slice(*place)]
            if not _is_mention(record):
                reading.problem("unparseable", piece)
            else:
                nth = record.get("nth", 1)
                reading.add(read_words(record["text"]), record["label"], piece, place, nth=nth)
        return reading.parsed()


class MarkupCodec(Codec):
    r"""The whole text with its spans in brackets, `[New York | LOC]`: positions are kept by construction.

    >>> codec = MarkupCodec(["LOC"])
    >>> codec.encode(["in", "New", "York", "[", "]"], [Span(1, 3, "LOC")])
    'in [New York | LOC] \\[ \\]'
    >>> codec.parse("in [New York | LOC] \\[ \\]", ["in", "New", "York", "[", "]"]).spans
    (Span(start=1, end=3, label='LOC'),)
    """

    markers = "[]|"
    explanation = "Copy the text and put each span in brackets with its type: [span | type]."

    def word_piece(self, word: str, *, first: bool) -> str:
        """Return a word as a piece; `first` in the answer or after an opening bracket it has no space before."""
        return ("" if first else " ") + escape(word, self.markers)

    def open_piece(self, *, first: bool) -> str:
        """Return the piece that opens a span."""
        return "[" if first else " ["

    def close_piece(self, label: str) -> str:
        """Return the piece that labels and closes a span."""
        return f" | {_write_label(label, self.markers)}]"

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
        """Read an answer; where its words are not the text's, the common words are aligned."""
        written, marked, problems = _read_markup(answer)
        reading = Copy(written, words, self.labels)
        reading.problems += problems
        for first, last, label, place in marked:
            reading.add(first, last, label, answer[slice(*place)], place)
        return reading.parsed()


class TagsCodec(Codec):
    r"""Every word with its tag, `New/B-LOC York/I-LOC`; under the scheme "plain" the label itself.

    >>> codec = TagsCodec(["LOC"])
    >>> codec.encode(["in", "New", "York"], [Span(1, 3, "LOC")])
    'in/O New/B-LOC York/I-LOC'
    """

    markers = "/"
    explanation = "Copy the text with a tag after each word: word/tag."

    def word_piece(self, word: str, *, first: bool) -> str:
        """Return a word as a piece; the first has no space before it."""
        return ("" if first else " ") + escape(word, self.markers)

    def tag_piece(self, tag: str) -> str:
        """Return the piece that tags the word before it."""
        return "/" + escape(tag, self.markers)

    def pieces(self, words: Sequence[str], spans: Sequence[Span]) -> list[str]:
        """Return words and tags in turn."""
        result = []
        for index, (word, tag) in enumerate(
            zip(words, encode_spans(spans, len(words), self.scheme), strict=True)
        ):
            result += [self.word_piece(word, first=index == 0), self.tag_piece(tag)]
        return result

    def parse(self, answer: str, words: Sequence[str]) -> Parsed:
        """Read an answer; where its words are not the text's, the common words are aligned."""
        items: list[tuple[str, str, tuple[int, int]]] = []
        problems: list[AnswerProblem] = []
        for start, item in split_unescaped(answer.replace("\n", " "), " "):
            *word, (offset, tag) = split_unescaped(item, "/")
            if word:
                items.append((unescape(item[: offset - 1]), unescape(tag), (start, start + len(item))))
            elif item:
                problems.append(AnswerProblem("unparseable", item))
        reading = Copy([word for word, _, _ in items], words, self.labels)
        reading.problems += problems
        tags = [self._known(tag, reading) for _, tag, _ in items]
        for index, _ in find_tag_errors(tags, self.scheme):
            reading.problem("unparseable", tags[index])
        for span in decode_tags(tags, self.scheme):
            place = (items[span.start][2][0], items[span.end - 1][2][1])
            reading.add(span.start, span.end, span.label, answer[slice(*place)], place)
        return reading.parsed()

    def _known(self, tag: str, reading: "Copy") -> str:
        label = tag if self.scheme == "plain" else parse_tag(tag)[1]
        if tag == OUTSIDE or label in self.labels:
            return tag
        reading.problem("unknown_label" if label else "unparseable", tag)
        return OUTSIDE


class _Marked(NamedTuple):
    """A bracketed part of an answer: written words [first, end), label, characters of the answer."""

    first: int
    end: int
    label: str
    place: tuple[int, int]


_MARKUP_TOKEN = re.compile(r"[\[\]|]|(?:\\.|[^\\ \n\[\]|]|\\$)+", re.DOTALL)


def _read_markup(answer: str) -> tuple[list[str], list[_Marked], list[AnswerProblem]]:
    """Return the words of an answer, its bracketed parts, and brackets that are none.

    A bare ']' or '|' outside brackets is a word; a part in brackets without a label gives words only.
    """
    words: list[str] = []
    marked: list[_Marked] = []
    broken: list[tuple[int, int]] = []
    opened: tuple[int, int] | None = None  # word and character where a bracket was opened
    bar: int | None = None  # character where its label begins
    for token in _MARKUP_TOKEN.finditer(answer):
        if token[0] == "[":
            if opened:
                broken.append((opened[1], token.start()))
            opened, bar = (len(words), token.start()), None
        elif token[0] == "]" and opened:
            place = (opened[1], token.end())
            if bar is None:
                broken.append(place)
            else:
                label = _read_label(answer[bar : token.start()])
                marked.append(_Marked(opened[0], len(words), label, place))
            opened = bar = None
        elif token[0] == "|" and opened and bar is None:
            bar = token.end()
        elif bar is None:
            words.append(unescape(token[0]))
    if opened:
        broken.append((opened[1], len(answer)))
    return words, marked, [AnswerProblem("unparseable", answer[slice(*place)]) for place in broken]


def _json_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _write_label(label: str, markers: str) -> str:
    return write_words(label.split(" "), markers)


def _read_label(text: str) -> str:
    return " ".join(read_words(text))


def _is_mention(record: Any) -> bool:
    return (
        isinstance(record, dict)
        and isinstance(record.get("text"), str)
        and isinstance(record.get("label"), str)
        and type(record.get("nth", 1)) is int
        and record.get("nth", 1) > 0
    )


def _json_places(answer: str, count: int) -> Iterator[tuple[int, int]]:
    """Yield the characters (start, end) of each record of a JSON list."""
    decoder, position = json.JSONDecoder(), answer.index("[") + 1
    for _ in range(count):
        while answer[position] in ", \t\r\n":
            position += 1
        start, (_, position) = position, decoder.raw_decode(answer, position)
        yield start, position


CODECS: dict[str, type[Codec]] = {
    "pairs": PairsCodec,
    "tags": TagsCodec,
    "markup": MarkupCodec,
    "json": JsonCodec,
}


def build_codec(name: str, labels: Sequence[str], scheme: str = "IOB2") -> Codec:
    """Return the codec of an answer format.

    Raises:
        ConfigError: there is no such format.
    """
    if name not in CODECS:
        raise ConfigError(f"generative.format = {name!r}: allowed are {', '.join(CODECS)}.")
    return CODECS[name](labels, scheme)
