"""What every answer format is: spans to text in pieces, and back from whatever a model wrote."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from lookboth.generative import Parsed, read_words, write_words
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


def write_label(label: str, markers: str) -> str:
    """Return a label as an answer writes it."""
    return write_words(label.split(" "), markers)


def read_label(text: str) -> str:
    """Return the label that an answer wrote."""
    return " ".join(read_words(text))
