"""The context gate: each word's state is mixed with a state that has seen the whole text."""

import torch
from torch import nn

from lookboth.models.heads.head import LinearHead


class ContextGateHead(LinearHead):
    """A linear layer over word states mixed, dimension by dimension, with the state of the last word of their text.

    With x the state of a word and g that of the last word, two gates of [g; x] (linear, then sigmoid) weigh both:
    the linear layer gets gate_context * g + gate_word * x.

    Xu et al. 2023, "A Global Context Mechanism for Sequence Labeling" (arXiv 2305.19928), gates as in the authors' code
    (conglei2XU/Global-Context-Mechanism, model/context_mechanism.py). There g is one half of the first token's state
    and one half of the last one's: after a BiLSTM these are what each direction has read in full, and BERT gets the
    same. Of a decoder only the last word has seen all others under every mask plan, and the first one under a causal
    mask nothing at all; so g is the last word's whole state. What a window cuts off the text is not part of it. The
    paper's dropouts are the one before the head.
    """

    def __init__(self, hidden_size: int, tags: tuple[str, ...], scheme: str) -> None:
        super().__init__(hidden_size, tags, scheme)
        self.gate_context = nn.Linear(2 * hidden_size, hidden_size)
        self.gate_word = nn.Linear(2 * hidden_size, hidden_size)

    def forward(self, states: torch.Tensor, num_words: torch.Tensor) -> torch.Tensor:
        """Return the score of each tag for each word, (w, num_tags)."""
        ends = num_words.cumsum(0)
        words = torch.arange(len(states), device=states.device)
        text = (words[:, None] >= ends).sum(
            1
        )  # not repeat_interleave: shapes must not depend on values in an export
        context = states[(ends - 1)[text]]
        both = torch.cat([context, states], dim=1)
        gate_context, gate_word = torch.sigmoid(self.gate_context(both)), torch.sigmoid(self.gate_word(both))
        return super().forward(gate_context * context + gate_word * states, num_words)
