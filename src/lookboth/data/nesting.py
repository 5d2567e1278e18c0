"""Overlapping spans: whether readers keep them, and their form as several tag sequences for a nested head."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count

from lookboth.errors import DataError
from lookboth.types import Example, Span

# Reason why overlapping spans are refused without a nested head.
ONE_LABEL = (
    "a word has one label, except for a nested head, which keeps all: --set head.kind=nested (check-data, convert, "
    "evaluate: --nested)"
)
# Scheme of a nested head: one sequence of O, B and I per label and depth.
NESTED = "nested"
# Tags of one sequence; a nested head has this many outputs per label and depth.
SEQUENCE_TAGS = ("O", "B", "I")
_keeps: ContextVar[bool] = ContextVar("keeps_overlaps", default=False)


@contextmanager
def keep_overlaps(keep: bool) -> Iterator[None]:
    """Keep overlapping spans of data that are read inside a `with` block, instead of reporting them as problems."""
    token = _keeps.set(keep or _keeps.get())
    try:
        yield
    finally:
        _keeps.reset(token)


def overlaps_kept() -> bool:
    """Return whether readers keep overlapping spans."""
    return _keeps.get()


def do_overlap(spans: Iterable[Span]) -> bool:
    """Return whether any two spans share a word.

    >>> do_overlap([Span(0, 3, "ORG"), Span(2, 3, "LOC")]), do_overlap([Span(0, 2, "ORG"), Span(2, 3, "LOC")])
    (True, False)
    """
    end = 0
    for span in sorted(spans):
        if span.start < end:
            return True
        end = span.end
    return False


def nested_tags(labels: Iterable[str], depth: int) -> tuple[str, ...]:
    """Return the tags of a nested head: for each label in order and each depth from 1, the tags of one sequence.

    >>> nested_tags(["PER"], 2)
    ('O1-PER', 'B1-PER', 'I1-PER', 'O2-PER', 'B2-PER', 'I2-PER')
    """
    names = sorted(set(labels))
    return tuple(
        f"{tag}{level}-{name}" for name in names for level in range(1, depth + 1) for tag in SEQUENCE_TAGS
    )


def depths_of(spans: Iterable[Span]) -> list[tuple[Span, int]]:
    """Return the distinct spans, longest first, each with its depth among the spans of its label, from 1.

    A span has the lowest depth at which it does not overlap a longer one of its label. For spans that nest this is the
    number of spans of the label around it, plus 1.

    >>> depths_of([Span(2, 3, "ORG"), Span(0, 3, "ORG"), Span(2, 3, "LOC")])[1:]
    [(Span(start=2, end=3, label='LOC'), 1), (Span(start=2, end=3, label='ORG'), 2)]
    """
    taken: dict[tuple[str, int], set[int]] = defaultdict(set)
    found = []
    for span in sorted(set(spans), key=lambda span: (span.start - span.end, span)):
        words = range(span.start, span.end)
        depth = next(level for level in count(1) if taken[span.label, level].isdisjoint(words))
        taken[span.label, depth].update(words)
        found.append((span, depth))
    return found


def encode_nested(spans: Iterable[Span], num_words: int, tags: Sequence[str]) -> list[tuple[int, ...]]:
    """Return the tag of each word in each sequence, (num_words, num_sequences): 0 for O, 1 for B, 2 for I.

    Args:
        spans: in any order; they may overlap.
        num_words: number of words of the sentence.
        tags: the output of `nested_tags`.

    Raises:
        DataError: a span exceeds the sentence, or its label or depth has no tags.

    >>> encode_nested([Span(0, 2, "ORG"), Span(1, 2, "ORG")], 3, nested_tags(["ORG"], 2))
    [(1, 0), (2, 1), (0, 0)]
    """
    columns = {tag: place // len(SEQUENCE_TAGS) for place, tag in enumerate(tags)}
    outside = (0,) * (len(tags) // len(SEQUENCE_TAGS))
    rows: dict[int, list[int]] = defaultdict(lambda: list(outside))
    for span, depth in depths_of(spans):
        column = columns.get(f"B{depth}-{span.label}")
        if column is None or not 0 <= span.start < span.end <= num_words:
            raise DataError(
                f"{span} at depth {depth} in a sentence of {num_words} words; allowed are spans within the words with "
                f"the tags {', '.join(tags)}."
            )
        for word in range(span.start, span.end):
            rows[word][column] = 1 if word == span.start else 2
    return [tuple(rows[word]) if word in rows else outside for word in range(num_words)]


def require_depth(examples: Iterable[Example], depth: int) -> None:
    """Refuse data in which spans of one label nest deeper than a nested head can represent.

    Args:
        examples: the data of a training.
        depth: `head.depth` of its recipe.

    Raises:
        DataError: with the number of such spans, the first one, and the depth that all of them need.
    """
    deeper = [
        (example, span, found)
        for example in examples
        for span, found in depths_of(example.spans)
        if found > depth
    ]
    if not deeper:
        return
    example, span, found = deeper[0]
    words = " ".join(example.words[span.start : span.end])
    needed = max(level for _, _, level in deeper)
    raise DataError(
        f"{example.source or 'example'}: {words!r:.80} ({span.label}) lies at depth {found} among spans of its label, "
        f"and head.depth is {depth}; so do {len(deeper):,} spans in all. Type: --set head.depth={needed}"
    )
