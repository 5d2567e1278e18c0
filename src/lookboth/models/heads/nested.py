"""The nested head: one sequence of O, B and I per label and depth, for spans that overlap."""

import torch
from torch import nn

from lookboth.data import SEQUENCE_TAGS
from lookboth.inference import Likelihood
from lookboth.models.heads.head import LinearHead

# Initial log odds of O: 0.95 of a word's probability, about as rare as spans of one label are. Without them the first
# steps would only learn that almost every tag is O (Lin et al. 2017, "Focal Loss for Dense Object Detection",
# section 3.3).
_LOG_ODDS = 3.6


class NestedHead(LinearHead):
    """A linear layer whose outputs are independent tag sequences, so that spans may overlap and nest.

    Spans of different labels are in different sequences. Among spans of one label, sequence 1 has the longest ones and
    sequence 2 those that overlap them. Each sequence is decoded alone. Layers of tags, as for nested entities in Alex,
    Haddow and Grover 2007, "Recognising Nested Named Entities in Biomedical Text" (layering and cascading), but all of
    them at once and from one product.
    """

    can_weigh = False

    def __init__(self, hidden_size: int, tags: tuple[str, ...], scheme: str) -> None:
        super().__init__(hidden_size, tags, scheme)
        assert self.bias is not None
        with torch.no_grad():
            self.bias[:: len(SEQUENCE_TAGS)] += _LOG_ODDS

    def loss(self, scores: torch.Tensor, labels: torch.Tensor, num_words: torch.Tensor) -> torch.Tensor:
        """Return the cross entropy summed over words and sequences; the model divides it by their number.

        Args:
            scores: output of `forward`, shape (w, num_tags).
            labels: 0, 1 or 2 for O, B and I of each sequence, -100 ignored, shape (w, num_sequences).
            num_words: words of each text, shape (s,).
        """
        # No class weights: they would move the balance of precision and recall.
        each = scores.reshape(-1, len(SEQUENCE_TAGS))
        return nn.functional.cross_entropy(each, labels.reshape(-1), ignore_index=-100, reduction="sum")

    def likelihood(self) -> Likelihood:
        """Return a likelihood in which the sequences are independent."""
        return Likelihood("sequences")
