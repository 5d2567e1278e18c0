"""The plain head: one linear layer from the state of a word to a score for each tag."""

import torch
from torch import nn

from lookboth.models.heads.base import Head


class LinearHead(Head):
    """One linear layer."""

    def __init__(self, hidden_size: int, tags: tuple[str, ...], scheme: str) -> None:
        super().__init__(hidden_size, tags, scheme)
        linear = nn.Linear(hidden_size, len(tags))
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, states: torch.Tensor, num_words: torch.Tensor) -> torch.Tensor:
        """Return the score of each tag for each word, (w, num_tags)."""
        return nn.functional.linear(states, self.weight, self.bias)
