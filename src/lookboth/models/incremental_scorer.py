"""Scores of the words of one window while they arrive, with the keys and values of every layer kept."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from lookboth.data import Encoding
from lookboth.masking import IncrementalPass, MaskPlan
from lookboth.models.arithmetic import compute_in
from lookboth.models.labeler_model import LabelerModel


class IncrementalScorer:
    """Scores the words of one window.

    Args:
        model: a model whose head reads the last layer, word by word.
        encoding: special tokens around the words.
        plan: a plan with finite look-ahead.

    Raises:
        PlanError: see `IncrementalPass`.
    """

    def __init__(self, model: LabelerModel, encoding: Encoding, plan: MaskPlan) -> None:
        self._model, self._encoding, self._plan = model, encoding, plan
        with model.predicting(plan):
            self._text = IncrementalPass(model.backbone)
        # Token ranges of the words without scores.
        self._ranges: list[tuple[int, int]] = []
        # States of tokens from `_first_state` on; earlier ones are not needed any more.
        self._states: torch.Tensor | None = None
        self._first_state = 0

    def push(self, words: Sequence[tuple[int, ...]], *, context: bool = False) -> np.ndarray:
        """Return the scores of the words that are final after the next words, (w, num_tags).

        Args:
            words: token ids of each word, at least one word.
            context: whether these words are not scored.
        """
        ids = list(self._encoding.prefix_ids) if not self._text.num_tokens else []
        for word in words:
            start = self._text.num_tokens + len(ids)
            if not context:
                self._ranges.append((start, start + len(word)))
            ids.extend(word)
        return self._score(partial(self._text.push, ids))

    def close(self) -> np.ndarray:
        """Return the scores of the other words, (w, num_tags); the window ends here."""
        return self._score(partial(self._text.close, self._encoding.suffix_ids))

    def _score(self, run: Callable[[], torch.Tensor]) -> np.ndarray:
        """Run the backbone, and return the scores of the words whose last token is final now."""
        with self._model.predicting(self._plan):
            with compute_in(self._model.compute_dtype, self._model.backbone):
                states = run()
            if self._states is not None:
                states = torch.cat((self._states, states))
            end = self._first_state + len(states)
            final = [(first, last) for first, last in self._ranges if last <= end]
            scores = self._logits(states, final)
        self._ranges = self._ranges[len(final) :]
        # Context words have no range, so their states are dropped with those of the words before them.
        needed = min(end, self._ranges[0][0]) if self._ranges else end
        self._states, self._first_state = states[needed - self._first_state :], needed
        return scores

    def _logits(self, states: torch.Tensor, ranges: Sequence[tuple[int, int]]) -> np.ndarray:
        if not ranges:
            return np.zeros((0, len(self._model.head.tags)), dtype=np.float32)
        places = torch.tensor(ranges, device=states.device) - self._first_state
        logits: np.ndarray = self._model.score_words(states, places[:, 0], places[:, 1] - 1).cpu().numpy()
        return logits
