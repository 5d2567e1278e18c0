"""The loss of distillation: the divergence of a student's tag distributions from those of its teachers."""

from typing import NamedTuple

import torch
from torch import nn

from lookboth.inference import FORBIDDEN

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
            targets: log probabilities of the teacher at temperature 1, shape (w, num_tags). Rows of NaN: no target. NaN
                in a row: a tag that the teacher does not know, and that is O (the first tag) for it.
        """
        return (1 - self.weight) * hard + self.weight * self.divergence(scores, targets)

    def divergence(self, scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return T * T * KL(teacher || student), both at temperature T, summed over words; arguments as in `mix`.

        T * T keeps the size of the gradient independent of T. For T = 1 the gradient with respect to the scores is the
        student's probabilities minus the teacher's.
        """
        known = ~targets.isnan().all(dim=-1)
        new = targets[known].isnan()
        student = torch.log_softmax(scores[known].float() / self.temperature, dim=-1)
        student = _with_new_tags_outside(student, new)
        # Log probabilities divided by T and normalized again are the scores of the teacher at T.
        teacher = torch.log_softmax(
            targets[known].float().masked_fill(new, FORBIDDEN) / self.temperature, dim=-1
        )
        divergence = nn.functional.kl_div(student, teacher, reduction="sum", log_target=True)
        return self.temperature**2 * divergence


def _with_new_tags_outside(log_probs: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """Return log probabilities with the mass of new tags added to O, the first tag, shape (w, num_tags).

    A word that the teacher leaves without label may have a new label, as in Monaikul et al. 2021, "Continual Learning
    for Named Entity Recognition" (AAAI 35(15)), where the teacher's O does not exclude the new tags.

    Args:
        log_probs: of the student, shape (w, num_tags).
        new: the tags that the teacher does not know, shape (w, num_tags).
    """
    # The probability of new tags themselves stays: the teacher gives them none, so it has no weight in the divergence.
    outside = log_probs[:, 1:].masked_fill(~new[:, 1:], FORBIDDEN)
    merged = torch.logsumexp(torch.cat([log_probs[:, :1], outside], dim=-1), dim=-1, keepdim=True)
    return torch.cat([merged, log_probs[:, 1:]], dim=-1)
