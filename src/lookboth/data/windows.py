"""Overlapping windows over long inputs, in which every word is labeled once."""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from lookboth.data.alignment import Encoding, join_words
from lookboth.types import TagId, TokenizedExample


class Window(NamedTuple):
    """A window over words: [start, end) is the input, [label_start, label_end) is labeled; word indices."""

    start: int
    label_start: int
    label_end: int
    end: int


def divide_into_windows(
    word_lengths: Sequence[int], *, max_tokens: int, overlap: int, look_ahead: int | None = None
) -> list[Window]:
    """Return windows of at most `max_tokens` tokens with about `overlap` tokens of context on each side.

    Every word is labeled in exactly one window. The cost is linear in the number of words. With finite look-ahead the
    right context is no longer than a state depends on. So a word is labeled in the first window that has its
    look-ahead, no matter how the text continues, and a stream has the same windows (`MovingWindow`).

    Args:
        word_lengths: number of tokens of each word, each at most `max_tokens`.
        max_tokens: token budget of one window, special tokens not counted.
        overlap: tokens of context at each inner border; less than half of `max_tokens`.
        look_ahead: tokens to the right that the state of a token depends on; None: no limit.

    >>> divide_into_windows([1] * 6, max_tokens=4, overlap=1)
    [Window(start=0, label_start=0, label_end=3, end=4), Window(start=2, label_start=3, label_end=6, end=6)]
    >>> divide_into_windows([1] * 6, max_tokens=4, overlap=1, look_ahead=0)
    [Window(start=0, label_start=0, label_end=4, end=4), Window(start=3, label_start=4, label_end=6, end=6)]
    """
    right = overlap if look_ahead is None else min(overlap, look_ahead)
    ends = [0, *accumulate(word_lengths)]
    total = len(word_lengths)
    windows: list[Window] = []
    label_start = start = 0
    while label_start < total:
        # The second condition: before a long word the context is shortened so that the word fits.
        while start < label_start and (
            ends[label_start] - ends[start] > overlap or ends[label_start + 1] - ends[start] > max_tokens
        ):
            start += 1
        # At least one word per window, even if it is longer than the budget.
        end = max(_last_fitting(ends, start, max_tokens, label_start), label_start + 1)
        label_end = end
        while end < total and label_end > label_start + 1 and ends[end] - ends[label_end] < right:
            label_end -= 1
        windows.append(Window(start, label_start, label_end, end))
        label_start = label_end
    return windows


class MovingWindow:
    """The windows of `divide_into_windows` over words that arrive one by one.

    Args:
        max_tokens, overlap, look_ahead: as in `divide_into_windows`.

    Attributes:
        context: token ids of the words left of the labeled ones; words: those of the words labeled here so far.
    """

    def __init__(self, *, max_tokens: int, overlap: int, look_ahead: int) -> None:
        self._max_tokens, self._overlap, self._right = max_tokens, overlap, min(overlap, look_ahead)
        self.context: list[tuple[int, ...]] = []
        self.words: list[tuple[int, ...]] = []
        self._num_tokens = 0

    def takes(self, word: tuple[int, ...]) -> bool:
        """Add a word, and return whether it fits; otherwise `move` comes first."""
        # At least one labeled word per window, even if it is longer than the budget.
        fits = not self.words or self._num_tokens + len(word) <= self._max_tokens
        if fits:
            self.words.append(word)
            self._num_tokens += len(word)
        return fits

    def move(self, word: tuple[int, ...]) -> tuple[int, list[tuple[int, ...]]]:
        """Start the next window, because `word` does not fit in this one.

        Returns:
            The number of words labeled in this window, and the others, which come before `word` in the next one.
        """
        count, right = len(self.words), 0
        while count > 1 and right < self._right:
            count -= 1
            right += len(self.words[count])
        others = self.words[count:]
        first = others[0] if others else word
        self.context += self.words[:count]
        left = sum(map(len, self.context))
        while self.context and (left > self._overlap or left + len(first) > self._max_tokens):
            left -= len(self.context.pop(0))
        self.words, self._num_tokens = [], left
        return count, others


def window_example(
    word_ids: Sequence[tuple[int, ...]],
    encoding: Encoding,
    *,
    labels: Sequence[TagId] | None = None,
    example: int = 0,
    max_tokens: int = 512,
    overlap: int = 64,
    look_ahead: int | None = None,
) -> list[TokenizedExample]:
    """Return one TokenizedExample, or several overlapping ones if the words need more than `max_tokens` tokens.

    Args:
        word_ids: token ids of each word.
        encoding: special tokens (they count towards `max_tokens`) and repetition.
        labels: the tag id of each word, shape (w,), or None.
        example: index of the example, copied to the result.
        max_tokens, overlap, look_ahead: in tokens, as in `divide_into_windows`; the copies of sequence repetition are
            not counted.
    """
    budget = max_tokens - encoding.special_tokens()
    if sum(map(len, word_ids)) <= budget:
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
        for w in divide_into_windows(lengths, max_tokens=budget, overlap=overlap, look_ahead=look_ahead)
    ]


def _last_fitting(ends: Sequence[int], start: int, max_tokens: int, low: int) -> int:
    """Return the largest word index up to which the words from `start` fit in `max_tokens` tokens."""
    end = low
    while end + 1 < len(ends) and ends[end + 1] - ends[start] <= max_tokens:
        end += 1
    return end
