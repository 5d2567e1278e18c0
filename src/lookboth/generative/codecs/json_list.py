"""The format "json": a list of records."""

import json
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any

from lookboth.generative import MentionParser, Parsed, escape, normalize, occurrences, read_words
from lookboth.generative.codecs.codec import Codec
from lookboth.types import Span


class JsonCodec(Codec):
    """A JSON list of {"text": ..., "label": ...}; "nth" selects an occurrence other than the next one.

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
        """Return a word of a span as a piece, with a space in front unless it is the first."""
        return ("" if first else " ") + _json_text(escape(word, self.markers))

    def label_piece(self, label: str) -> str:
        """Return the piece that ends the words of a span and writes its label."""
        return f'", "label": "{_json_text(label)}"'

    def nth_piece(self, nth: int) -> str:
        """Return the piece with the number of the occurrence that closes the span."""
        return f', "nth": {nth}}}' if nth > 1 else "}"

    def pieces(self, words: Sequence[str], spans: Sequence[Span]) -> list[str]:
        """Return the list in pieces: brackets, the words of each span, its label, its occurrence."""
        normal = normalize(words)
        result, end = ["["], 0
        for span in sorted(spans):
            found = occurrences(normal[span.start : span.end], normal, end)
            # The occurrence counts from the end of the previous span, as in parsing.
            nth = sum(1 for _ in takewhile(span.start.__ge__, found))
            result.append(self.open_piece(first=len(result) == 1))
            result += [self.word_piece(words[i], first=i == span.start) for i in range(*span[:2])]
            result.append(self.label_piece(span.label))
            result.append(self.nth_piece(nth))
            end = span.end
        return [*result, "]"]

    def parse(self, answer: str, words: Sequence[str]) -> Parsed:
        """Parse an answer; one that is not a valid JSON list has no spans."""
        parser = MentionParser(words, self.labels)
        try:
            records = json.loads(answer)
        # Deeply nested brackets in an answer exceed the recursion limit of the JSON parser.
        except (ValueError, RecursionError):
            records = None
        if not isinstance(records, list):
            parser.problem("unparseable", answer)
            return parser.parsed()
        places = _json_places(answer, len(records))
        for record, place in zip(records, places, strict=True):
            piece = answer[slice(*place)]
            if not _is_mention(record):
                parser.problem("unparseable", piece)
            else:
                nth = record.get("nth", 1)
                parser.add(read_words(record["text"]), record["label"], piece, place, nth=nth)
        return parser.parsed()


def _json_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _is_mention(record: Any) -> bool:
    return (
        isinstance(record, dict)
        and isinstance(record.get("text"), str)
        and isinstance(record.get("label"), str)
        and type(record.get("nth", 1)) is int
        and record.get("nth", 1) > 0
    )


def _json_places(answer: str, count: int) -> Iterator[tuple[int, int]]:
    """Yield the character range (start, end) of each record of a JSON list."""
    decoder, position = json.JSONDecoder(), answer.index("[") + 1
    for _ in range(count):
        while answer[position] in ", \t\r\n":
            position += 1
        start, (_, position) = position, decoder.raw_decode(answer, position)
        yield start, position
