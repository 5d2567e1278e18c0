"""What every head is: scores for words, a loss over them, and how tags may follow each other."""

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    import numpy as np


class Head(nn.Module):
    """Turns word states into tag scores; a head of another kind overrides what is different about it.

    Args:
        hidden_size: width of a word state.
        tags: the tag of each output; scheme: "IOB2", "IOBES" or "plain".
    """

    def __init__(self, hidden_size: int, tags: tuple[str, ...], scheme: str) -> None:
        super().__init__()
        self.hidden_size, self.tags, self.scheme = hidden_size, tags, scheme

    def forward(self, states: torch.Tensor, num_words: torch.Tensor) -> torch.Tensor:
        """Return the score of each tag for each word, (w, num_tags).

        Args:
            states: word states, shape (w, hidden), the words of one text after those of another.
            num_words: words of each text, shape (s,), sum w.
        """
        raise NotImplementedError

    def loss(self, scores: torch.Tensor, labels: torch.Tensor, num_words: torch.Tensor) -> torch.Tensor:
        """Return the loss summed over the labeled words.

        Args:
            scores: what `forward` gave, shape (w, num_tags).
            labels: tag ids, shape (w,), -100 ignored.
            num_words: words of each text, shape (s,).
        """
        return nn.functional.cross_entropy(scores, labels, ignore_index=-100, reduction="sum")

    def log_probs(self, scores: torch.Tensor, num_words: torch.Tensor) -> torch.Tensor:
        """Return the log probability of each tag for each word, (w, num_tags).

        Args:
            scores: what `forward` gave, shape (w, num_tags); of a text that was cut into windows all of them together.
            num_words: words of each text, shape (s,).
        """
        return torch.log_softmax(scores, dim=-1)

    def transitions(self) -> "np.ndarray | None":
        """Return the learned score of each tag after each other, (n + 1, n + 1), or None where nothing is learned.

        Row and column n stand for the border of the text, as in `data.transitions.allowed_transitions`.
        """
        return None
