"""Batches with soft targets: the tag distributions of the teachers, next to the labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch

from lookboth.errors import ConfigError
from lookboth.models import NO_LABEL, SoftLoss
from lookboth.training.batches import RunBatches
from lookboth.types import TokenizedExample


@dataclass
class TaughtBatches(RunBatches):
    """Batches in which every word also has the log probabilities of the teachers.

    Args:
        targets: log probabilities of each training example, one (w, num_tags) array each; for a whole text
            (1, num_tags).
    """

    targets: Sequence[np.ndarray]

    def tensors(self, pieces: Sequence[TokenizedExample]) -> dict[str, Any]:
        """Return these pieces as the keyword arguments of `LabelerModel.forward`, with `soft_targets`."""
        tensors = super().tensors(pieces)
        soft = torch.from_numpy(np.concatenate([self._of(piece) for piece in pieces]).astype(np.float32))
        # Words without a place in the loss, such as those of a piece that fills a step of several processes.
        soft[tensors["labels"] == -100] = float("nan")
        return {**tensors, "soft_targets": soft}

    def _of(self, piece: TokenizedExample) -> np.ndarray:
        rows = self.targets[piece.example]
        # Every window of a whole text learns the distribution of the text.
        first = min(piece.first_word, len(rows) - 1)
        return rows[first : first + len(piece.word_tokens)]


class SoftTargets(NamedTuple):
    """The tag distributions of the teachers for the training examples.

    Args:
        labels: labels of the student.
        log_probs: log probabilities of each training example, with the tags in the student's order.
        num_labeled: number of training examples with gold labels; they come first.
        loss: temperature and weight of the soft loss.
    """

    labels: tuple[str, ...]
    log_probs: Sequence[np.ndarray]
    num_labeled: int
    loss: SoftLoss

    def require_labels(self, labels: Sequence[str]) -> None:
        """Check that a student has exactly the labels of its teachers.

        Raises:
            ConfigError: it is trained further and has labels of its own.
        """
        more = sorted(set(labels) - set(self.labels))
        if more:
            raise ConfigError(
                f"start.labeler: it has the label {more[0]!r}, which the teachers do not have "
                f"({', '.join(self.labels)}). Start from a labeler with their labels, or leave out [start]."
            )

    def without_gold(self, pieces: Sequence[TokenizedExample]) -> list[TokenizedExample]:
        """Return the pieces with `NO_LABEL` as label of each word of texts without gold labels."""
        return [
            piece
            if piece.example < self.num_labeled
            else replace(piece, labels=(NO_LABEL,) * len(piece.word_tokens))
            for piece in pieces
        ]

    def add_to(self, batches: RunBatches) -> TaughtBatches:
        """Return the batches with soft targets."""
        return TaughtBatches(**vars(batches), targets=self.log_probs)
