"""The multi-label head: a linear layer that decides each label of a text independently."""

import torch
from torch import nn

from lookboth.inference import Likelihood
from lookboth.models.heads.head import LinearHead


class MultiLabelHead(LinearHead):
    """A linear layer with a sigmoid per label, so that a text may have several labels or none."""

    can_weigh = False

    def loss(self, scores: torch.Tensor, labels: torch.Tensor, num_words: torch.Tensor) -> torch.Tensor:
        """Return the binary cross entropy summed over texts and labels.

        Args:
            scores: output of `forward`, shape (w, num_tags).
            labels: 0 or 1 for each label, -100 ignored, shape (w, num_tags).
            num_words: words of each text, shape (s,).
        """
        # Ignored labels (-100) get an arbitrary target and weight 0.
        targets = labels.clamp(min=0).to(scores)
        counted = (labels != -100).to(scores)
        return nn.functional.binary_cross_entropy_with_logits(
            scores, targets, weight=counted, reduction="sum"
        )

    def likelihood(self) -> Likelihood:
        """Return a likelihood in which the probabilities of the labels are independent."""
        return Likelihood("sigmoid")
