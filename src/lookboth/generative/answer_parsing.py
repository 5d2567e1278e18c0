"""What an answer says about its text: spans that can be placed, and problems for all that cannot."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Literal, NamedTuple, get_args

from lookboth.generative.escaping import align_words, normalize
from lookboth.types import Span

ProblemKind = Literal["unparseable", "invented", "unknown_label", "miscopied", "unfinished"]
PROBLEM_KINDS: tuple[ProblemKind, ...] = get_args(ProblemKind)


class AnswerProblem(NamedTuple):
    """Something in an answer that says nothing about the text.

    Args:
        kind: "unparseable": not of the format; "invented": a span whose words are not in the text, or not once
            more; "unknown_label"; "miscopied": an answer over all words that changes or leaves out some;
            "unfinished": the model wrote as much as it may without an end.
        piece: the part of the answer.
    """

    kind: ProblemKind
    piece: str


class Parsed(NamedTuple):
    """What an answer says.

    Args:
        spans: sorted, not overlapping, with known labels only.
        places: for each span the characters (start, end) of the answer that say it.
        problems: everything that was left out.
    """

    spans: tuple[Span, ...]
    places: tuple[tuple[int, int], ...]
    problems: tuple[AnswerProblem, ...]


class Reading:
    """Collects what an answer says.

    Args:
        labels: the known ones.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = labels
        self.found: list[tuple[Span, tuple[int, int]]] = []
        self.problems: list[AnswerProblem] = []

    def problem(self, kind: ProblemKind, piece: str) -> None:
        """Note that `piece` of the answer is left out."""
        self.problems.append(AnswerProblem(kind, piece))

    def parsed(self) -> Parsed:
        """Return everything that was read."""
        ordered = sorted(self.found)
        return Parsed(
            tuple(span for span, _ in ordered), tuple(place for _, place in ordered), tuple(self.problems)
        )


class Mentions(Reading):
    """Reads an answer that names words without saying where they stand, from left to right.

    A mention is the first free occurrence of its words after the mention before it; only where there is none, the
    first free occurrence from the start.

    Args:
        words: of the text; labels: the known ones.
    """

    def __init__(self, words: Sequence[str], labels: Sequence[str]) -> None:
        super().__init__(labels)
        self.words = normalize(words)
        self.taken = [False] * len(words)
        self.end = 0

    def add(
        self, words: Sequence[str], label: str, piece: str, place: tuple[int, int], *, nth: int = 1
    ) -> None:
        """Place a mention.

        Args:
            words, label: what it says.
            piece, place: its text and characters in the answer.
            nth: which occurrence after the mention before it.
        """
        if label not in self.labels:
            return self.problem("unknown_label", piece)
        if not words:
            return self.problem("unparseable", piece)
        start = self._find(normalize(words), nth)
        if start is None:
            return self.problem("invented", piece)
        end = start + len(words)
        self.taken[start:end] = [True] * len(words)
        self.end = max(self.end, end)
        self.found.append((Span(start, end, label), place))
        return None

    def _find(self, wanted: list[str], nth: int) -> int | None:
        after = next(islice(self._free(wanted, self.end), nth - 1, None), None)
        return next(self._free(wanted, 0), None) if after is None and nth == 1 else after

    def _free(self, wanted: list[str], start: int) -> Iterator[int]:
        for first in occurrences(wanted, self.words, start):
            if not any(self.taken[first : first + len(wanted)]):
                yield first


class Copy(Reading):
    """Reads an answer that repeats all words of the text; where it does not, the common words are aligned.

    A span counts where all its words are, next to each other, in the text.

    Args:
        written: the words of the answer.
        words: of the text; labels: the known ones.
    """

    def __init__(self, written: Sequence[str], words: Sequence[str], labels: Sequence[str]) -> None:
        super().__init__(labels)
        self.places = align_words(normalize(written), normalize(words))
        changed = [word for word, place in zip(written, self.places, strict=True) if place is None]
        left_out = [words[i] for i in sorted(set(range(len(words))) - set(self.places))]
        if changed or left_out:
            self.problem("miscopied", " ".join(changed or left_out))

    def add(self, first: int, end: int, label: str, piece: str, place: tuple[int, int]) -> None:
        """Place the span over the written words [first, end).

        Args:
            first, end, label: what it says.
            piece, place: its text and characters in the answer.
        """
        there = self.places[first:end]
        if label not in self.labels:
            self.problem("unknown_label", piece)
        elif not there:
            self.problem("unparseable", piece)
        elif there[0] is None or there != list(range(there[0], there[0] + len(there))):
            self.problem("invented", piece)
        else:
            self.found.append((Span(there[0], there[0] + len(there), label), place))


def occurrences(wanted: Sequence[str], words: Sequence[str], start: int) -> Iterator[int]:
    """Yield every place at or after `start` where `wanted` stands in `words`.

    >>> list(occurrences(["a"], ["a", "b", "a"], 0))
    [0, 2]
    """
    for first in range(start, len(words) - len(wanted) + 1):
        if words[first : first + len(wanted)] == wanted:
            yield first
