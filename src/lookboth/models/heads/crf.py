"""The CRF head: the tags of a text are scored together, each after the one before it."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from lookboth.data import allowed_transitions
from lookboth.inference import FORBIDDEN, Likelihood
from lookboth.models.heads.head import LinearHead


class CRFHead(LinearHead):
    """A linear-chain conditional random field over the words of a text.

    A linear layer scores each tag of a word, a matrix each tag after each other (row and column n: the border of the
    text). The matrix starts as zeros: the head starts as a linear one that knows which tags may follow each other.

    Steps that the scheme forbids are left out of the partition function, in training as in prediction: no probability
    is spent on what decoding can never emit, and marginals are probabilities among well-formed sequences. Only the
    border is different in training, where a text may be a window that begins or ends inside a span: there its step is
    learned, but none is forbidden.

    Lafferty, McCallum, Pereira 2001, "Conditional Random Fields"; over a neural encoder, Lample et al. 2016,
    "Neural Architectures for Named Entity Recognition" (arXiv 1603.01360), section 2.2.
    """

    can_weigh = False
    allowed: torch.Tensor

    def __init__(self, hidden_size: int, tags: tuple[str, ...], scheme: str) -> None:
        super().__init__(hidden_size, tags, scheme)
        self.steps = nn.Parameter(torch.zeros(len(tags) + 1, len(tags) + 1))
        allowed = torch.from_numpy(allowed_transitions(tags, scheme).copy())
        self.register_buffer("allowed", allowed, persistent=False)

    def loss(self, scores: torch.Tensor, labels: torch.Tensor, num_words: torch.Tensor) -> torch.Tensor:
        """Return minus the log probability of the tags of each text, summed over the texts.

        Args:
            scores: what `forward` gave, shape (w, num_tags).
            labels: tag ids, shape (w,); where one is -100, the tag is not known and all its values are summed over
                (Tsuboi et al. 2008, "Training Conditional Random Fields Using Incomplete Annotations").
            num_words: words of each text, shape (s,).
        """
        if not len(scores):
            return scores.sum()
        scores = _normalized(scores)
        known = (labels != -100)[:, None]
        tag_ids = torch.arange(scores.shape[1], device=scores.device)
        agreeing = scores.masked_fill(known & (labels[:, None] != tag_ids), FORBIDDEN)
        # One pass over both: all sequences of a text, and those that agree with its labels.
        plan = _Plan.of(torch.cat([num_words, num_words]))
        log_z = _log_partition(torch.cat([scores, agreeing]), self._training_steps(), plan)
        all_sequences, labeled = log_z.chunk(2)
        return (all_sequences - labeled).sum()

    def likelihood(self) -> Likelihood:
        """Return that tags are probable together, with the learned score of each after each other."""
        return Likelihood("chain", self.steps.detach().float().cpu().numpy())

    def _training_steps(self) -> torch.Tensor:
        """Return the score of each step with forbidden ones masked but at the border, (n + 1, n + 1)."""
        forbidden = ~self.allowed
        forbidden[-1] = forbidden[:, -1] = False
        return self.steps.float().masked_fill(forbidden, FORBIDDEN)


class _Plan(NamedTuple):
    """The words of several texts in the order in which one pass visits all texts at once.

    Args:
        order: word numbers: the first word of every text, longest text first, then the second words, ..., shape (w,).
        sizes: how many texts have a first word, a second word, ...
        last: where the last word of each text stands in `order`, shape (texts that have words,).
    """

    order: torch.Tensor
    sizes: Sequence[int]
    last: torch.Tensor

    @classmethod
    def of(cls, num_words: torch.Tensor) -> "_Plan":
        """Plan the pass over texts of so many words each, shape (s,)."""
        lengths, texts = num_words.sort(descending=True, stable=True)
        starts = (num_words.cumsum(0) - num_words)[texts]
        step = torch.arange(int(lengths[0]), device=num_words.device)[:, None]
        going_on = lengths > step
        order = (starts + step)[going_on]
        ends = num_words.cumsum(0)[num_words > 0] - 1
        return cls(order, going_on.sum(1).tolist(), order.argsort()[ends])


def _normalized(scores: torch.Tensor) -> torch.Tensor:
    """Shift the scores of each word, which no sequence's probability notices, so that sums over a text stay small."""
    return torch.log_softmax(scores.float(), dim=-1)


def _log_partition(scores: torch.Tensor, steps: torch.Tensor, plan: _Plan) -> torch.Tensor:
    """Return the log of each text's partition function, by the forward algorithm over all texts at once.

    Args:
        scores: shape (w, n).
        steps: shape (n + 1, n + 1).
        plan: of the texts; those without words get no entry.
    """
    inner, first, last = steps[:-1, :-1], steps[-1, :-1], steps[:-1, -1]
    alphas: list[torch.Tensor] = []
    totals: list[torch.Tensor] = []
    for size, row in zip(plan.sizes, scores[plan.order].split(plan.sizes), strict=True):
        before = torch.logsumexp(alphas[-1][:size, :, None] + inner, dim=1) if alphas else first
        total = torch.logsumexp(before + row, dim=1)
        # Near 0: in fp32 the sum over a long text would swallow a word.
        alphas.append(before + row - total[:, None])
        totals.append(totals[-1][:size] + total if totals else total)
    return torch.cat(totals)[plan.last] + torch.logsumexp(torch.cat(alphas)[plan.last] + last, dim=1)
