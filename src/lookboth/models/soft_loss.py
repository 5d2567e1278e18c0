"""The loss of distillation: the divergence of a student's tag distributions from those of its teachers."""

from typing import NamedTuple

import torch
from torch import nn

# Label of a word that has no gold tag but is trained on the distribution of the teachers. Not -100: such a word counts
# among the words over which a loss is averaged.
NO_LABEL = -1


class SoftLoss(NamedTuple):
    """The soft loss and its weight relative to the loss on gold tags.

    Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531), section 2.

    Args:
        temperature: T; divides the scores of teacher and student.
        weight: weight of the soft loss, in (0, 1]; the loss on gold tags has the weight 1 - weight.
    """

    temperature: float
    weight: float

    def mix(self, hard: torch.Tensor, scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the weighted sum of the loss on gold tags and the soft loss, a scalar.

        Args:
            hard: summed loss on gold tags, a scalar.
            scores: scores of the student, shape (w, num_tags).
            targets: log probabilities of the teacher at temperature 1, shape (w, num_tags); NaN: no target.
        """
        return (1 - self.weight) * hard + self.weight * self.divergence(scores, targets)

    def divergence(self, scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return T * T * KL(teacher || student), both at temperature T, summed over words; arguments as in `mix`.

        T * T keeps the size of the gradient independent of T. For T = 1 the gradient with respect to the scores is the
        student's probabilities minus the teacher's.
        """
        known = ~targets.isnan().any(dim=-1)
        student = torch.log_softmax(scores[known].float() / self.temperature, dim=-1)
        # Log probabilities divided by T and normalized again are the scores of the teacher at T.
        teacher = torch.log_softmax(targets[known].float() / self.temperature, dim=-1)
        divergence = nn.functional.kl_div(student, teacher, reduction="sum", log_target=True)
        return self.temperature**2 * divergence
