"""How the same words are labeled elsewhere in the data."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from lookboth.types import Example, Span

Words = tuple[str, ...]
# Weight of a place with an opinion: few other places say little.
_PRIOR_PLACES = 2


class Elsewhere(NamedTuple):
    """The other places of the words of a finding.

    Args:
        places: number of other places with the same words.
        as_given: those labeled as the words are here.
        as_suggested: those labeled as suggested.
    """

    places: int = 0
    as_given: int = 0
    as_suggested: int = 0

    @property
    def balance(self) -> float:
        """How far the other places support the suggestion, in (-1, 1); 0 without other places."""
        return (self.as_suggested - self.as_given) / (self.places + _PRIOR_PLACES)


class Occurrences:
    """Counts of word sequences by the label of the span that covers exactly them.

    Args:
        examples: the data.
        wanted: the word sequences to count.
    """

    def __init__(self, examples: Sequence[Example], wanted: Iterable[Words]) -> None:
        self._counts: dict[Words, Counter[str | None]] = defaultdict(Counter)
        by_first: dict[str, set[int]] = defaultdict(set)
        kept = set(wanted)
        for words in kept:
            by_first[words[0]].add(len(words))
        for example in examples:
            labels = {(span.start, span.end): span.label for span in example.spans}
            for start, end in _ranges(example.words, by_first):
                words = example.words[start:end]
                if words in kept:
                    self._counts[words][labels.get((start, end))] += 1

    def elsewhere(self, words: Sequence[str], given: Sequence[Span], suggested: Sequence[Span]) -> Elsewhere:
        """Return how the ranges on which given and suggested spans differ are labeled at other places."""
        before, after = (
            {(span.start, span.end): span.label for span in spans} for spans in (given, suggested)
        )
        total = Elsewhere()
        for start, end in sorted({*before, *after}):
            old, new = before.get((start, end)), after.get((start, end))
            if old == new:
                continue
            counts = self._counts[tuple(words[start:end])]
            # This place itself is one of those labeled as given.
            as_given = counts[old] - 1
            total = Elsewhere(
                total.places + counts.total() - 1, total.as_given + as_given, total.as_suggested + counts[new]
            )
        return total


def _ranges(words: Words, by_first: dict[str, set[int]]) -> Iterator[tuple[int, int]]:
    for start, word in enumerate(words):
        for length in by_first.get(word, ()):
            if start + length <= len(words):
                yield start, start + length
