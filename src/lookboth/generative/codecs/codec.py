"""Base class of answer formats: spans to text pieces, and generated text back to spans."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from lookboth.generative import Parsed, read_words, write_words
from lookboth.types import Span


class Codec(ABC):
    """An answer format: `parse(encode(words, spans), words)` returns the spans.

    Args:
        labels: the known labels.
        scheme: tag scheme, for the format "tags".

    Attributes:
        markers: characters with a meaning in the format; escaped inside words and labels.
        explanation: description of the format for the instruction.
    """

    markers: str
    explanation: str

    def __init__(self, labels: Sequence[str], scheme: str = "IOB2") -> None:
        self.labels = tuple(labels)
        self.scheme = scheme

    @abstractmethod
    def pieces(self, words: Sequence[str], spans: Sequence[Span]) -> list[str]:
        """Return the answer as pieces; each piece is one decision and is tokenized on its own.

        Args:
            words: the words of the text.
            spans: non-overlapping spans over the words.
        """

    @abstractmethod
    def parse(self, answer: str, words: Sequence[str]) -> Parsed:
        """Parse a generated answer about `words`; never raises."""

    def encode(self, words: Sequence[str], spans: Sequence[Span]) -> str:
        """Return the answer as text without line breaks."""
        return "".join(self.pieces(words, spans))

    def show_words(self, words: Sequence[str]) -> str:
        """Return the text for a prompt, in the form in which the answer copies it."""
        return write_words(words, self.markers)


def write_label(label: str, markers: str) -> str:
    """Return a label in the form used in answers."""
    return write_words(label.split(" "), markers)


def read_label(text: str) -> str:
    """Parse a label from an answer."""
    return " ".join(read_words(text))
