"""Long inputs cut into overlapping windows in which every word is labeled once."""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from lookboth.data.alignment import Encoding, join_words
from lookboth.types import TokenizedExample


class Window(NamedTuple):
    """A run of words: [start, end) is seen, [label_start, label_end) is labeled; word indices."""

    start: int
    label_start: int
    label_end: int
    end: int


def plan_windows(word_lengths: Sequence[int], *, max_tokens: int, overlap: int) -> list[Window]:
    """Return windows of at most `max_tokens` tokens with about `overlap` tokens of context on each side.

    Every word is labeled in exactly one window. The cost is linear in the number of words.

    Args:
        word_lengths: number of tokens of each word, each at most `max_tokens`.
        max_tokens: room for words in one window, special tokens not counted.
        overlap: tokens of context wanted on each inner side; less than half of `max_tokens`.

    >>> plan_windows([1] * 6, max_tokens=4, overlap=1)
    [Window(start=0, label_start=0, label_end=3, end=4), Window(start=2, label_start=3, label_end=6, end=6)]
    """
    ends = [0, *accumulate(word_lengths)]
    total = len(word_lengths)
    windows: list[Window] = []
    label_start = start = 0
    while label_start < total:
        while start < label_start and (
            ends[label_start] - ends[start] > overlap
            or ends[label_start + 1] - ends[start] > max_tokens  # a long word leaves less room for context
        ):
            start += 1
        end = max(_last_fitting(ends, start, max_tokens, label_start), label_start + 1)
        label_end = end
        while end < total and label_end > label_start + 1 and ends[end] - ends[label_end] < overlap:
            label_end -= 1
        windows.append(Window(start, label_start, label_end, end))
        label_start = label_end
    return windows


def window_example(
    word_ids: Sequence[tuple[int, ...]],
    encoding: Encoding,
    *,
    labels: Sequence[int] | None = None,
    example: int = 0,
    max_tokens: int = 512,
    overlap: int = 64,
) -> list[TokenizedExample]:
    """Return one TokenizedExample, or several overlapping ones where the words need over `max_tokens` tokens.

    Args:
        word_ids: token ids of each word.
        encoding: gives the special tokens, which count against `max_tokens`.
        labels: the tag id of each word, shape (w,), or None.
        example: index carried along.
        max_tokens, overlap: in tokens, as in `plan_windows`; copies that sequence repetition adds are not counted.
    """
    room = max_tokens - len(encoding.prefix_ids) - len(encoding.suffix_ids)
    if sum(map(len, word_ids)) <= room:
        return [join_words(word_ids, encoding, labels=labels, example=example)]
    lengths = [len(ids) for ids in word_ids]
    return [
        join_words(
            word_ids[w.start : w.end],
            encoding,
            labels=None if labels is None else labels[w.label_start : w.label_end],
            example=example,
            first_word=w.label_start,
            context=(w.label_start - w.start, w.end - w.label_end),
        )
        for w in plan_windows(lengths, max_tokens=room, overlap=overlap)
    ]


def _last_fitting(ends: Sequence[int], start: int, max_tokens: int, low: int) -> int:
    """Return the largest word index up to which the words from `start` fit in `max_tokens` tokens."""
    end = low
    while end + 1 < len(ends) and ends[end + 1] - ends[start] <= max_tokens:
        end += 1
    return end
