"""Parts of long texts that fit into one prompt each."""

from collections.abc import Sequence

from lookboth.types import Example, Span

_SENTENCE_ENDS = frozenset(".!?。")


def cut_words(words: Sequence[str], lengths: Sequence[int], limit: int) -> list[tuple[int, int]]:
    """Return the (start, end) words of parts of at most `limit` tokens, split after a sentence in their second
    half.

    >>> cut_words(["a", ".", "b", "c"], [1, 1, 1, 1], 3)
    [(0, 2), (2, 4)]
    """
    parts, start = [], 0
    while start < len(words):
        end, budget = start, limit
        while end < len(words) and (lengths[end] <= budget or end == start):
            budget -= lengths[end]
            end += 1
        if end < len(words):
            # Only the second half: a cut near the start would make many short parts.
            ends = (i + 1 for i in range(end - 1, (start + end) // 2 - 1, -1) if words[i] in _SENTENCE_ENDS)
            end = next(ends, end)
        parts.append((start, end))
        start = end
    return parts


def part_of(example: Example, start: int, end: int) -> Example:
    """Return the words from `start` to `end` of an example, with the spans inside them."""
    # Spans across the border of a part would have wrong lengths.
    inside = (span for span in example.spans if start <= span.start and span.end <= end)
    spans = tuple(Span(s.start - start, s.end - start, s.label) for s in inside)
    return Example(example.words[start:end], spans, source=example.source, label_set=example.label_set)
