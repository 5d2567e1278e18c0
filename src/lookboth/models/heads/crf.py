"""The CRF head: scores the tag sequence of a text as a whole, with a score for each transition."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import nn

from lookboth.data import allowed_transitions
from lookboth.inference import FORBIDDEN, Likelihood
from lookboth.models.heads.head import LinearHead


class CRFHead(LinearHead):
    """A linear-chain conditional random field over the words of a text.

    A linear layer scores the tags of each word, and a matrix scores each transition between two tags (row and column
    n: the border of the text). The matrix starts at zero, so the untrained head is a linear head with allowed
    transitions.

    Transitions that the scheme forbids are excluded from the partition function, in training and in prediction.
    Sequences that decoding cannot emit thus get no probability, and marginals are over well-formed sequences. In
    training the transitions at the border are never forbidden, because a text may be a window that begins or ends
    inside a span.

    Lafferty, McCallum, Pereira 2001, "Conditional Random Fields"; over a neural encoder, Lample et al. 2016,
    "Neural Architectures for Named Entity Recognition" (arXiv 1603.01360), section 2.2.
    """

    can_weigh = False
    per_tag: ClassVar[Mapping[str, int]] = {**LinearHead.per_tag, "steps": 2}
    allowed: torch.Tensor

    def __init__(self, hidden_size: int, tags: tuple[str, ...], scheme: str) -> None:
        super().__init__(hidden_size, tags, scheme)
        self.steps = nn.Parameter(torch.zeros(len(tags) + 1, len(tags) + 1))
        allowed = torch.from_numpy(allowed_transitions(tags, scheme).copy())
        # Not saved, because it follows from tags and scheme.
        self.register_buffer("allowed", allowed, persistent=False)

    def loss(self, scores: torch.Tensor, labels: torch.Tensor, num_words: torch.Tensor) -> torch.Tensor:
        """Return the negative log-likelihood of the gold tags, summed over the texts.

        Args:
            scores: output of `forward`, shape (w, num_tags).
            labels: tag ids, shape (w,). Where one stands for several tags (`allow_tags`), or is -100 and stands for
                all, the likelihood sums over them (Tsuboi et al. 2008, "Training Conditional Random Fields Using
                Incomplete Annotations"; Greenberg et al. 2018, see `Head.loss`).
            num_words: words of each text, shape (s,).
        """
        # Without words there is nothing to score; the empty sum keeps the loss in the autograd graph.
        if not len(scores):
            return scores.sum()
        scores = _normalized(scores)
        agreeing = scores.masked_fill(~self.agreeing(labels), FORBIDDEN)
        # One batch for both sums: over all sequences of a text, and over those that agree with its labels.
        plan = _Plan.of(torch.cat([num_words, num_words])).to(scores.device)
        log_z = _log_partition(torch.cat([scores, agreeing]), self._training_steps(), plan)
        all_sequences, labeled = log_z.chunk(2)
        return (all_sequences - labeled).sum()

    def likelihood(self) -> Likelihood:
        """Return a chain likelihood with the learned transition scores."""
        return Likelihood("chain", self.steps.detach().float().cpu().numpy())

    def _training_steps(self) -> torch.Tensor:
        """Return the transition scores, (n + 1, n + 1), with forbidden ones masked except at the border."""
        forbidden = ~self.allowed
        forbidden[-1] = forbidden[:, -1] = False
        return self.steps.float().masked_fill(forbidden, FORBIDDEN)


class _Plan(NamedTuple):
    """The order in which the forward algorithm visits the words of all texts at once.

    Args:
        order: word indices: the first words of all texts, longest text first, then the second words, ..., shape (w,).
        sizes: number of texts with a first word, a second word, ...
        last: index in `order` of the last word of each text, shape (texts with words,).
    """

    order: torch.Tensor
    sizes: Sequence[int]
    last: torch.Tensor

    @classmethod
    def of(cls, num_words: torch.Tensor) -> "_Plan":
        """Return the order for texts with the given numbers of words, shape (s,), on the device of these."""
        # Longest first: the texts that still have a word at a step are then the first rows.
        lengths, texts = num_words.sort(descending=True, stable=True)
        starts = (num_words.cumsum(0) - num_words)[texts]
        step = torch.arange(int(lengths[0]), device=num_words.device)[:, None]
        has_word = lengths > step
        order = (starts + step)[has_word]
        ends = num_words.cumsum(0)[num_words > 0] - 1
        return cls(order, has_word.sum(1).tolist(), order.argsort()[ends])

    def to(self, device: torch.device) -> "_Plan":
        """Return the plan with its indices on `device`."""
        return self._replace(order=self.order.to(device), last=self.last.to(device))


def _normalized(scores: torch.Tensor) -> torch.Tensor:
    """Normalize the scores of each word, so that sums over a text stay small.

    This shifts all sequences of a text alike, so their probabilities do not change.
    """
    return torch.log_softmax(scores.float(), dim=-1)


def _log_partition(scores: torch.Tensor, steps: torch.Tensor, plan: _Plan) -> torch.Tensor:
    """Return the log of each text's partition function, by the forward algorithm over all texts at once.

    Args:
        scores: shape (w, n).
        steps: shape (n + 1, n + 1).
        plan: order of the words; the result contains texts with words only.
    """
    inner, first, last = steps[:-1, :-1], steps[-1, :-1], steps[:-1, -1]
    alphas: list[torch.Tensor] = []
    totals: list[torch.Tensor] = []
    for size, row in zip(plan.sizes, scores[plan.order].split(plan.sizes), strict=True):
        before = torch.logsumexp(alphas[-1][:size, :, None] + inner, dim=1) if alphas else first
        total = torch.logsumexp(before + row, dim=1)
        # Keep alphas near 0: in fp32, adding one word to the sum over a long text would lose precision.
        alphas.append(before + row - total[:, None])
        totals.append(totals[-1][:size] + total if totals else total)
    return torch.cat(totals)[plan.last] + torch.logsumexp(torch.cat(alphas)[plan.last] + last, dim=1)
