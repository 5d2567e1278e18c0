"""Conversion of a head's scores to log probabilities, in numpy, so that it does not depend on torch."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np

from lookboth.data import SEQUENCE_TAGS, allowed_transitions

# Finite, because the gradient of a logsumexp over -inf only is NaN.
FORBIDDEN = -1e9
# Texts per batch of the chain, which needs texts x tags x tags numbers per step.
_TEXTS_AT_ONCE = 256

Kind = Literal["softmax", "sigmoid", "chain", "sequences"]


class Likelihood(NamedTuple):
    """The probability model over the scores of a head.

    Args:
        kind: "softmax": one tag per word, words independent; "sigmoid": each tag independent; "chain": the tag
            sequence of a text, with a score per transition; "sequences": one tag per word in each sequence of a nested
            head.
        transitions: learned transition scores of a chain, (n + 1, n + 1), row and column n for the border of the
            text; None without learned transitions.
    """

    kind: Kind = "softmax"
    transitions: np.ndarray | None = None

    def log_probs(
        self,
        scores: np.ndarray,
        num_words: np.ndarray,
        *,
        tags: tuple[str, ...],
        scheme: str,
        temperature: float = 1.0,
    ) -> np.ndarray:
        """Return the log probability of each tag for each word, (w, num_tags); for a chain, the marginals.

        Args:
            scores: output of the head, shape (w, num_tags); for a text cut into windows, of all windows together.
            num_words: words of each text, shape (s,), sum w.
            tags, scheme: as in `allowed_transitions`.
            temperature: divides the scores of tag sequences; their ranking does not change.

        >>> rows = np.log(np.array([[0.25, 0.75]]))
        >>> np.exp(Likelihood().log_probs(rows, np.array([1]), tags=("bad", "good"), scheme="plain"))
        array([[0.25, 0.75]])
        """
        scores = scores / temperature
        if self.kind == "sigmoid":
            # log sigmoid(x) = -log(1 + exp(-x)), without overflow.
            return -np.logaddexp(0, -scores)
        if self.kind == "sequences":
            return _log_softmax(scores.reshape(-1, len(SEQUENCE_TAGS))).reshape(scores.shape)
        if self.transitions is None:
            return _log_softmax(scores)
        allowed = allowed_transitions(tags, scheme)
        steps = np.where(allowed, self.transitions / temperature, FORBIDDEN).astype(scores.dtype)
        return _chain_marginals(scores, num_words, steps)


def _chain_marginals(scores: np.ndarray, num_words: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return the log of each word's marginal tag probabilities, (w, n), by the forward-backward algorithm.

    Args:
        scores: shape (w, n); steps: shape (n + 1, n + 1), the last row and column for the border.
        num_words: words of each text, shape (s,).
    """
    # A constant per word does not change the probability of a sequence, and sums over a text stay small.
    scores = _log_softmax(scores)
    result = np.empty_like(scores)
    starts = np.cumsum(num_words) - num_words
    # Texts are independent, so batches of them bound the memory.
    for first in range(0, len(num_words), _TEXTS_AT_ONCE):
        some = slice(first, first + _TEXTS_AT_ONCE)
        visits = list(_visits(starts[some], num_words[some]))
        alphas, betas = _forward(scores, steps, visits), _backward(scores, steps, visits)
        # exp(alpha + beta) is proportional to the marginal of each tag, so normalizing over the tags is enough.
        for words, alpha, beta in zip(visits, alphas, betas, strict=True):
            result[words] = _log_softmax(alpha + beta)
    return result


def _visits(starts: np.ndarray, num_words: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the index of the first word of every text, longest text first, then those of the second words, ..."""
    order = np.argsort(-num_words, kind="stable")
    starts, lengths = starts[order], num_words[order]
    for step in range(int(lengths.max(initial=0))):
        yield starts[lengths > step] + step


def _forward(scores: np.ndarray, steps: np.ndarray, visits: list[np.ndarray]) -> list[np.ndarray]:
    """Return the forward log scores of each visit, up to a constant per word."""
    inner, before = steps[:-1, :-1], steps[-1:, :-1]
    alphas: list[np.ndarray] = []
    for words in visits:
        if alphas:
            before = _logsumexp(alphas[-1][: len(words), :, None] + inner, axis=1)
        # Keep alphas near 0: in fp32, adding one word to the sum over a long text would lose precision.
        alphas.append(_log_softmax(before + scores[words]))
    return alphas


def _backward(scores: np.ndarray, steps: np.ndarray, visits: list[np.ndarray]) -> list[np.ndarray]:
    """Return the backward log scores of each visit, up to a constant per word."""
    inner, end = steps[:-1, :-1], steps[:-1, -1]
    betas: list[np.ndarray] = []
    for number in range(len(visits) - 1, -1, -1):
        beta = np.tile(end, (len(visits[number]), 1))
        # Texts are sorted by length, so those with a next word come first.
        if betas:
            after = scores[visits[number + 1]] + betas[-1]
            beta[: len(after)] = _log_softmax(_logsumexp(after[:, None, :] + inner, axis=2))
        betas.append(beta)
    return betas[::-1]


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    # Subtracting the maximum prevents overflow in exp; `initial` allows arrays without rows.
    shifted = scores - scores.max(axis=-1, keepdims=True, initial=-np.inf)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _logsumexp(scores: np.ndarray, axis: int) -> np.ndarray:
    most = scores.max(axis=axis, keepdims=True)
    return (most + np.log(np.exp(scores - most).sum(axis=axis, keepdims=True))).squeeze(axis)
