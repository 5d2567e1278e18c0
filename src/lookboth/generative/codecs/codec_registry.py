"""The table of answer formats; a new one needs a file here, a line in CODECS and an automaton in constrained.py."""

from collections.abc import Sequence

from lookboth.config import AnswerFormat
from lookboth.generative.codecs.codec import Codec
from lookboth.generative.codecs.json_list import JsonCodec
from lookboth.generative.codecs.markup import MarkupCodec
from lookboth.generative.codecs.pairs import PairsCodec
from lookboth.generative.codecs.tags import TagsCodec

CODECS: dict[AnswerFormat, type[Codec]] = {
    "pairs": PairsCodec,
    "tags": TagsCodec,
    "markup": MarkupCodec,
    "json": JsonCodec,
}


def build_codec(name: AnswerFormat, labels: Sequence[str], scheme: str = "IOB2") -> Codec:
    """Return the codec of an answer format."""
    return CODECS[name](labels, scheme)
