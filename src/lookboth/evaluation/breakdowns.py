"""Breakdowns of a score: label confusion, F1 by span length and F1 by frequency in the training data."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from lookboth.evaluation.error_kinds import pair_spans
from lookboth.evaluation.metrics import count_per_sentence
from lookboth.evaluation.predictions import ScoredSentence
from lookboth.evaluation.scores import Counts
from lookboth.types import Example, Span

Words: TypeAlias = Sequence[str]
LENGTHS = ("1", "2", "3", "4", "5+")
FREQUENCIES = ("0", "1", "2-4", "5-19", "20+")


def confusion(sentences: Iterable[ScoredSentence]) -> Counter[tuple[str | None, str | None]]:
    """Count the pairs (gold label, predicted label).

    Spans are paired by `pair_spans`; the missing side of an unpaired span counts as None.

    >>> sentence = ScoredSentence(("Rome",), (Span(0, 1, "LOC"),), (Span(0, 1, "PER"),))
    >>> confusion([sentence])
    Counter({('LOC', 'PER'): 1})
    """
    pairs = (pair for sentence in sentences for pair in pair_spans(sentence.gold, sentence.predicted))
    return Counter((a and a.label, b and b.label) for a, b in pairs)


def count_by_bucket(
    sentences: Iterable[ScoredSentence], bucket: Callable[[Words, Span], str]
) -> dict[str, Counts]:
    """Count correct, invented and missed spans per bucket.

    Args:
        sentences: with gold and predicted spans.
        bucket: returns the bucket name of a span, given the words of its sentence.
    """
    totals: dict[str, Counts] = {}
    for words, gold, predicted, _ in sentences:
        names = {span: bucket(words, span) for span in (*gold, *predicted)}
        for name in set(names.values()):
            # Gold and predicted spans are bucketed separately: a boundary error may put them in different buckets.
            sides = [[span for span in side if names[span] == name] for side in (gold, predicted)]
            (counts,) = count_per_sentence(sides[:1], sides[1:])
            totals[name] = totals.get(name, Counts()) + counts
    return totals


def length_bucket(words: Words, span: Span) -> str:
    """Return the bucket of `LENGTHS` for the number of words in a span.

    >>> length_bucket(["a"] * 9, Span(0, 9, "X"))
    '5+'
    """
    return LENGTHS[min(span.end - span.start, len(LENGTHS)) - 1]


def frequency_bucket(train: Iterable[Example]) -> Callable[[Words, Span], str]:
    """Return a function that maps a span to its bucket of `FREQUENCIES`.

    The frequency of a span is the number of training spans with the same words in the same spelling, with any
    label.

    Args:
        train: the training examples.

    >>> bucket = frequency_bucket([Example(("in", "Rome"), (Span(1, 2, "LOC"),))])
    >>> bucket(["Rome"], Span(0, 1, "ORG")), bucket(["Oslo"], Span(0, 1, "LOC"))
    ('1', '0')
    """
    seen = Counter(tuple(e.words[span.start : span.end]) for e in train for span in e.labeled_spans())

    def bucket(words: Words, span: Span) -> str:
        count = seen[tuple(words[span.start : span.end])]
        return FREQUENCIES[sum(count >= least for least in (1, 2, 5, 20))]

    return bucket
