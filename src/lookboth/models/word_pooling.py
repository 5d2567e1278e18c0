"""States of words from states of tokens: one token of each word, or the mean or maximum of its tokens."""

import torch
from torch import Tensor

from lookboth.inference import LabelOn


def pool_words(states: Tensor, first: Tensor, last: Tensor, pooling: LabelOn) -> Tensor:
    """Select or pool token states, (tokens, hidden) -> (w, hidden); for max_score return them unchanged.

    Args:
        states: one row per token.
        first, last: the first and last token of each word, shape (w,), in the order of the text.
        pooling: the token that represents a word, or the pooling of its tokens.
    """
    # The head scores every token; `largest_per_word` pools the scores.
    if pooling == "max_score":
        return states
    if pooling == "first":
        return states[first]
    if pooling == "last":
        return states[last]
    # Shapes must not depend on values, so that the graph can be exported.
    rows = words_of_tokens(first, last, len(states))
    tokens = states.float()
    if pooling == "max":
        return largest_per_word(tokens, rows, len(first))
    # The extra row collects the tokens outside words.
    summed = tokens.new_zeros(len(first) + 1, states.shape[1]).index_add(0, rows, tokens)[:-1]
    return summed / (last - first + 1)[:, None]


def largest_per_word(values: Tensor, rows: Tensor, num_words: int) -> Tensor:
    """Return the maximum of each column over the tokens of each word, (tokens, n) -> (w, n).

    Args:
        values: one row per token, shape (tokens, n).
        rows: the output of `words_of_tokens`.
        num_words: number of words, w.
    """
    # One extra row collects the tokens outside words and is dropped.
    least = values.new_full((num_words + 1, values.shape[1]), float("-inf"))
    return least.scatter_reduce(0, rows[:, None].expand_as(values), values, "amax")[:-1]


def words_of_tokens(first: Tensor, last: Tensor, num_tokens: int) -> Tensor:
    """Return the index of each token's word, (tokens,), and w for tokens outside words.

    Args:
        first, last: the first and last token of each word, shape (w,), in the order of the text.
        num_tokens: number of tokens.
    """
    zeros, ones = first.new_zeros(num_tokens + 1), torch.ones_like(first)
    # A token is inside a word where more words have begun than ended before it.
    begun = zeros.scatter_add(0, first, ones).cumsum(0)[:-1]
    ended = zeros.scatter_add(0, last + 1, ones).cumsum(0)[:-1]
    return torch.where(begun > ended, begun - 1, len(first))
