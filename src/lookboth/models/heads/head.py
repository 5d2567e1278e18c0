"""The base class of heads, and the linear head: scores of words, a loss, and log probabilities."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from lookboth.errors import ConfigError, ModelError
from lookboth.inference import FORBIDDEN, Likelihood
from lookboth.models.heads.mix import LayerMix


class Head(nn.Module):
    """Computes tag scores from word states; subclasses override `forward`, `loss` and `likelihood` as needed.

    Args:
        hidden_size: width of a word state.
        tags: the tag of each output; scheme: "IOB2", "IOBES", "plain" or "nested".

    `mix` is set if the head reads a mix of the states of all layers instead of the last layer.
    """

    # Whether the loss supports class weights and label smoothing.
    can_weigh = True
    # By weight, the number of its leading dimensions that go over the tags; they may have one more place at the end.
    per_tag: ClassVar[Mapping[str, int]] = {}
    tag_weights: torch.Tensor | None
    possible: torch.Tensor | None
    bias: nn.Parameter | None

    def __init__(self, hidden_size: int, tags: tuple[str, ...], scheme: str) -> None:
        super().__init__()
        self.hidden_size, self.tags, self.scheme = hidden_size, tags, scheme
        self.mix: LayerMix | None = None
        self.label_smoothing = 0.0
        # Not persistent: class weights are a setting of the training, not of the labeler.
        self.register_buffer("tag_weights", None, persistent=False)
        self.register_buffer("possible", None, persistent=False)

    def shape_loss(self, *, tag_weights: Sequence[float] | None, label_smoothing: float) -> None:
        """Set class weights and label smoothing of the loss; used in training only and not saved.

        Args:
            tag_weights: weight of the words with each tag, shape (num_tags,); None: equal weights.
            label_smoothing: share of each target that is distributed evenly over all tags (Szegedy et al. 2016,
                "Rethinking the Inception Architecture", section 7).

        Raises:
            ConfigError: the loss of this head does not support them.
        """
        if not self.can_weigh and (tag_weights is not None or label_smoothing):
            raise ConfigError(
                "training.class_weights and training.label_smoothing need a head that predicts one tag per word "
                "independently; this head does not. Leave them out, or set head.kind = 'linear'."
            )
        self.label_smoothing = label_smoothing
        device = next(self.parameters()).device
        self.tag_weights = None if tag_weights is None else torch.tensor(tag_weights, device=device)

    def allow_tags(self, possible: Sequence[Sequence[bool]]) -> None:
        """Let further tag ids of the loss stand for several tags; used in training only and not saved.

        Args:
            possible: which tags the ids num_tags, num_tags + 1, ... stand for, shape (n, num_tags).
        """
        device = next(self.parameters()).device
        self.possible = torch.tensor(possible, device=device) if possible else None

    def agreeing(self, labels: torch.Tensor) -> torch.Tensor:
        """Return the tags that agree with each label: one, several (`allow_tags`), or all for -100; (w, num_tags)."""
        tags = torch.eye(len(self.tags), dtype=torch.bool, device=labels.device)
        several = tags[:0] if self.possible is None else self.possible
        table = torch.cat([tags, several, torch.ones_like(tags[:1])])
        # The last row is that of unknown tags.
        return table[labels.where(labels >= 0, len(table) - 1)]

    @torch.no_grad()
    def start_from(self, weights: Mapping[str, torch.Tensor], tags: Sequence[str]) -> None:
        """Copy the weights of a trained head; the outputs of tags that it does not know stay as they are.

        Args:
            weights: the state of the trained head, of the same kind.
            tags: its tags, all of which this head has.

        Raises:
            ModelError: the weights are of another kind of head, or of another width.
        """
        places = [self.tags.index(tag) for tag in tags]
        own = self.state_dict()
        if own.keys() != weights.keys():
            raise ModelError(f"the head has the weights {sorted(weights)}, expected are {sorted(own)}.")
        for name, value in own.items():
            target: Any = ...
            if dims := self.per_tag.get(name):
                # A CRF has one more row and column, for the border of the text.
                along = [[*places, *range(len(self.tags), size)] for size in value.shape[:dims]]
                target = np.ix_(*along)
            if value[target].shape != weights[name].shape:
                raise ModelError(
                    f"{name} of the head has shape {tuple(weights[name].shape)}, expected {tuple(value[target].shape)}."
                )
            value[target] = weights[name].to(value)

    def forward(self, states: torch.Tensor, num_words: torch.Tensor) -> torch.Tensor:
        """Return the score of each tag for each word, (w, num_tags).

        Args:
            states: word states, shape (w, hidden), text after text.
            num_words: words of each text, shape (s,), sum w.
        """
        raise NotImplementedError

    def loss(self, scores: torch.Tensor, labels: torch.Tensor, num_words: torch.Tensor) -> torch.Tensor:
        """Return the loss summed over the labeled words.

        The loss of a word with several possible tags is minus the log of their total probability: the marginal
        likelihood of Greenberg et al. 2018, "Marginal Likelihood Training of BiLSTM-CRF for Biomedical Named Entity
        Recognition from Disjoint Label Sets" (D18-1306).

        Args:
            scores: output of `forward`, shape (w, num_tags).
            labels: tag ids, shape (w,), -100 ignored; further ids as in `allow_tags`.
            num_words: words of each text, shape (s,).
        """
        if self.possible is not None:
            log_probs = torch.log_softmax(scores, dim=-1).masked_fill(~self.agreeing(labels), FORBIDDEN)
            return -torch.logsumexp(log_probs, dim=-1).sum()
        return nn.functional.cross_entropy(
            scores,
            labels,
            weight=self.tag_weights,
            ignore_index=-100,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )

    def log_probs(
        self, scores: torch.Tensor, num_words: torch.Tensor, *, temperature: float = 1.0
    ) -> torch.Tensor:
        """Return the log probability of each tag for each word, (w, num_tags); see `Likelihood.log_probs`.

        Args:
            scores: output of `forward`, shape (w, num_tags); for a text cut into windows, of all windows together.
            num_words: words of each text, shape (s,).
            temperature: divides the scores of tag sequences; their ranking does not change.
        """
        found = self.likelihood().log_probs(
            scores.detach().float().cpu().numpy(),
            num_words.cpu().numpy(),
            tags=self.tags,
            scheme=self.scheme,
            temperature=temperature,
        )
        return torch.from_numpy(found).to(scores.device)

    def likelihood(self) -> Likelihood:
        """Return the conversion of scores to probabilities, with its learned parameters."""
        return Likelihood()


class LinearHead(Head):
    """A head of one linear layer."""

    per_tag: ClassVar[Mapping[str, int]] = {"weight": 1, "bias": 1}

    def __init__(self, hidden_size: int, tags: tuple[str, ...], scheme: str) -> None:
        super().__init__(hidden_size, tags, scheme)
        linear = nn.Linear(hidden_size, len(tags))
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, states: torch.Tensor, num_words: torch.Tensor) -> torch.Tensor:
        """Return the score of each tag for each word, (w, num_tags)."""
        return nn.functional.linear(states, self.weight, self.bias)
