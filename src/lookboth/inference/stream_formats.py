"""Input and output of `predict --stream`: pieces of standard input, and updates as text."""

import codecs
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from lookboth.data import REPLACE, json_line, require_encoding
from lookboth.errors import ConfigError, DataError
from lookboth.inference.formats import render
from lookboth.inference.tagged_text import StreamUpdate
from lookboth.inference.word_stream import WordStream
from lookboth.types import PredictedSpan, Prediction

_FORMATS = ("text", "conll", "jsonl")
_PIECE = 65_536  # bytes; a terminal or pipe mostly has fewer ready


def read_pieces(stdin: BinaryIO, encoding: str | None = None) -> Iterator[str]:
    """Yield the text of standard input in pieces, each as soon as it arrives.

    Args:
        stdin: a buffered stream of bytes.
        encoding: encoding of the text; None: UTF-8.

    Raises:
        ConfigError: the encoding does not exist.
        DataError: while iterating, after the text before bytes that cannot be decoded.
    """
    name, errors = require_encoding(encoding) or "utf-8", "strict"
    if name == REPLACE:
        name, errors = "utf-8", "replace"
    return _decoded(stdin, name, codecs.getincrementaldecoder(name)(errors))


def _decoded(stdin: BinaryIO, encoding: str, decoder: codecs.IncrementalDecoder) -> Iterator[str]:
    is_first, data = True, b" "
    while data:
        data = stdin.read1(_PIECE) if hasattr(stdin, "read1") else stdin.read(_PIECE)
        try:
            piece = decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            yield error.object[: error.start].decode(encoding)
            raise DataError(
                f"standard input: byte {error.object[error.start]:#04x} is not {encoding}. Type: --encoding NAME, or "
                f"--encoding {REPLACE} to read such bytes as U+FFFD."
            ) from None
        yield piece.removeprefix("\ufeff") if is_first else piece
        is_first = is_first and not piece


def label_pieces(stream: WordStream, pieces: Iterable[str]) -> Iterator[StreamUpdate]:
    """Yield what becomes final after each piece of a text, and at its end.

    If the pieces end with a DataError, the text before it is labeled first.
    """
    try:
        for piece in pieces:
            yield stream.push_text(piece)
    except DataError:
        yield stream.finish()
        raise
    yield stream.finish()


def require_stream_format(format: str) -> None:
    """Refuse an output format that needs the whole text.

    Raises:
        ConfigError: the message names the allowed formats.
    """
    if format not in _FORMATS:
        raise ConfigError(
            f"--format {format} needs the whole text; with --stream it is one of {', '.join(_FORMATS)}."
        )


def render_updates(updates: Iterable[StreamUpdate], format: str) -> Iterator[str]:
    """Render what becomes final as lines, each as soon as it is known.

    Args:
        updates: the output of `label_pieces`.
        format: "text" (a span per line), "conll" (a word with its tag per line), or "jsonl" (words and spans that
            became final together, as JSON).

    Raises:
        ConfigError: another format.
        DataError: while iterating, if a word cannot be written in a CoNLL line.
    """
    require_stream_format(format)
    return (line for update in updates for line in _lines(update, format))


def _lines(update: StreamUpdate, format: str) -> Iterator[str]:
    if format == "text":
        yield from render(map(_span_alone, update.spans), "text")
    elif format == "conll":
        for word in update.words:
            # Without the empty line that ends a text.
            yield next(render([Prediction("", (word.text,), (), (word.tag,))], "conll")).removesuffix("\n")
    elif update.words or update.spans:
        yield json_line(update.to_dict())


def _span_alone(span: PredictedSpan) -> Prediction:
    own = span._replace(start_char=0, end_char=len(span.text))
    return Prediction(span.text, (), (), (), (own,))
