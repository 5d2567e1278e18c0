"""Parsing answers: spans that can be located in the text, and a problem for everything else."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Literal, NamedTuple, get_args

from lookboth.generative.escaping import align_words, normalize
from lookboth.types import Prediction, Span

ProblemKind = Literal["unparseable", "invented", "unknown_label", "miscopied", "unfinished"]
PROBLEM_KINDS: tuple[ProblemKind, ...] = get_args(ProblemKind)


class AnswerProblem(NamedTuple):
    """A part of an answer that cannot be used.

    Args:
        kind: "unparseable": not in the format; "invented": a span whose words are not (again) in the text;
            "unknown_label"; "miscopied": an answer over all words that changes or omits some; "unfinished":
            the model reached the token limit before the end.
        piece: the part of the answer.
    """

    kind: ProblemKind
    piece: str


class Parsed(NamedTuple):
    """A parsed answer.

    Args:
        spans: sorted, non-overlapping spans with known labels.
        places: character range (start, end) of each span in the answer.
        problems: everything that was discarded.
    """

    spans: tuple[Span, ...]
    places: tuple[tuple[int, int], ...]
    problems: tuple[AnswerProblem, ...]


class AnswerParser:
    """Base class of parsers: collects spans and problems of one answer.

    Args:
        labels: the known labels.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = labels
        self.found: list[tuple[Span, tuple[int, int]]] = []
        self.problems: list[AnswerProblem] = []

    def problem(self, kind: ProblemKind, piece: str) -> None:
        """Record that `piece` of the answer was discarded."""
        self.problems.append(AnswerProblem(kind, piece))

    def parsed(self) -> Parsed:
        """Return the collected spans and problems."""
        ordered = sorted(self.found)
        return Parsed(
            tuple(span for span, _ in ordered), tuple(place for _, place in ordered), tuple(self.problems)
        )


class MentionParser(AnswerParser):
    """Locates spans that are given by their words only, from left to right.

    A mention is the first free occurrence of its words after the previous mention, or, if there is none, the
    first free occurrence from the start.

    Args:
        words: words of the text; labels: the known labels.
    """

    def __init__(self, words: Sequence[str], labels: Sequence[str]) -> None:
        super().__init__(labels)
        self.words = normalize(words)
        self.taken = [False] * len(words)
        self.end = 0

    def add(
        self, words: Sequence[str], label: str, piece: str, place: tuple[int, int], *, nth: int = 1
    ) -> None:
        """Locate a mention in the text.

        Args:
            words, label: words and label of the mention.
            piece, place: its text and character range in the answer.
            nth: number of the occurrence after the previous mention.
        """
        if label not in self.labels:
            return self.problem("unknown_label", piece)
        if not words:
            return self.problem("unparseable", piece)
        # Some tokenizers normalize Unicode, so words are compared in NFC.
        start = self._find(normalize(words), nth)
        if start is None:
            return self.problem("invented", piece)
        end = start + len(words)
        self.taken[start:end] = [True] * len(words)
        self.end = max(self.end, end)
        self.found.append((Span(start, end, label), place))
        return None

    def _find(self, wanted: list[str], nth: int) -> int | None:
        # Models mostly list spans in text order; the search from the start handles answers that do not.
        after = next(islice(self._free(wanted, self.end), nth - 1, None), None)
        return next(self._free(wanted, 0), None) if after is None and nth == 1 else after

    def _free(self, wanted: list[str], start: int) -> Iterator[int]:
        for first in occurrences(wanted, self.words, start):
            if not any(self.taken[first : first + len(wanted)]):
                yield first


class CopyParser(AnswerParser):
    """Locates spans of an answer that repeats the whole text; if the words differ, the common words are aligned.

    A span is valid if all its words are in the text, next to each other.

    Args:
        written: words of the answer.
        words: words of the text; labels: the known labels.
    """

    def __init__(self, written: Sequence[str], words: Sequence[str], labels: Sequence[str]) -> None:
        super().__init__(labels)
        self.places = align_words(normalize(written), normalize(words))
        changed = [word for word, place in zip(written, self.places, strict=True) if place is None]
        left_out = [words[i] for i in sorted(set(range(len(words))) - set(self.places))]
        if changed or left_out:
            self.problem("miscopied", " ".join(changed or left_out))

    def add(self, first: int, end: int, label: str, piece: str, place: tuple[int, int]) -> None:
        """Locate the span over the copied words [first, end).

        Args:
            first, end, label: range and label of the span.
            piece, place: its text and character range in the answer.
        """
        there = self.places[first:end]
        if label not in self.labels:
            self.problem("unknown_label", piece)
        elif not there:
            self.problem("unparseable", piece)
        # A span over words that are apart in the text would cover words that the answer left out.
        elif there[0] is None or there != list(range(there[0], there[0] + len(there))):
            self.problem("invented", piece)
        else:
            self.found.append((Span(there[0], there[0] + len(there), label), place))


def occurrences(wanted: Sequence[str], words: Sequence[str], start: int) -> Iterator[int]:
    """Yield every index from `start` on where `words` contains `wanted`.

    >>> list(occurrences(["a"], ["a", "b", "a"], 0))
    [0, 2]
    """
    for first in range(start, len(words) - len(wanted) + 1):
        if words[first : first + len(wanted)] == wanted:
            yield first


def count_problems(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Return statistics of answer problems.

    "unparseable_rate" is the share of texts whose answer is malformed or unfinished; "invented_rate" is the
    share of invented spans among all named spans. The rest are counts.
    """
    counts = Counter(kind for prediction in predictions for kind in prediction.problems)
    broken = sum(bool({"unparseable", "unfinished"} & set(p.problems)) for p in predictions)
    # Spans that were invented or have an unknown label are not among the spans of a prediction.
    named = sum(len(p.spans) for p in predictions) + counts["invented"] + counts["unknown_label"]
    return {
        "num_texts": len(predictions),
        **{kind: counts[kind] for kind in PROBLEM_KINDS},
        "unparseable_rate": round(broken / max(1, len(predictions)), 5),
        "invented_rate": round(counts["invented"] / max(1, named), 5),
    }
