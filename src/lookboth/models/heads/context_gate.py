"""The context gate head: mixes each word's state with the state of the last word of the text."""

import torch
from torch import nn

from lookboth.models.heads.head import LinearHead


class ContextGateHead(LinearHead):
    """A linear layer over word states that are mixed, per dimension, with the state of the last word of their text.

    Let x be the state of a word and g that of the last word. Two gates computed from [g; x] (linear, then sigmoid)
    weight both: the input of the linear layer is gate_context * g + gate_word * x.

    Xu et al. 2023, "A Global Context Mechanism for Sequence Labeling" (arXiv 2305.19928), gates as in the authors' code
    (conglei2XU/Global-Context-Mechanism, model/context_mechanism.py). There g joins half of the first token's state
    with half of the last token's state, which in a BiLSTM summarize the text in both directions. In a decoder only
    the last word attends to the whole text under every mask plan, so here g is the whole state of the last word. A
    text that is cut into windows has one g per window. The dropout before the head replaces the paper's dropouts.
    """

    def __init__(self, hidden_size: int, tags: tuple[str, ...], scheme: str) -> None:
        super().__init__(hidden_size, tags, scheme)
        self.gate_context = nn.Linear(2 * hidden_size, hidden_size)
        self.gate_word = nn.Linear(2 * hidden_size, hidden_size)

    def forward(self, states: torch.Tensor, num_words: torch.Tensor) -> torch.Tensor:
        """Return the score of each tag for each word, (w, num_tags)."""
        # A word belongs to the first text that ends after it.
        ends = num_words.cumsum(0)
        words = torch.arange(len(states), device=states.device)
        # No repeat_interleave: in an exported graph shapes must not depend on values.
        text = (words[:, None] >= ends).sum(1)
        context = states[(ends - 1)[text]]
        both = torch.cat([context, states], dim=1)
        gate_context, gate_word = torch.sigmoid(self.gate_context(both)), torch.sigmoid(self.gate_word(both))
        return super().forward(gate_context * context + gate_word * states, num_words)
