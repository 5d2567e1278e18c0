"""What every head is: scores for words, a loss over them, and how tags may follow each other."""

from collections.abc import Sequence

import torch
from torch import nn

from lookboth.errors import ConfigError
from lookboth.inference import Likelihood
from lookboth.models.heads.mix import LayerMix


class Head(nn.Module):
    """Turns word states into tag scores; a head of another kind overrides what is different about it.

    Args:
        hidden_size: width of a word state.
        tags: the tag of each output; scheme: "IOB2", "IOBES" or "plain".

    `mix` is set where the head reads the states of all layers mixed, not those of the last layer.
    """

    can_weigh = True  # whether class weights and label smoothing have a meaning in the loss
    tag_weights: torch.Tensor | None
    bias: nn.Parameter | None

    def __init__(self, hidden_size: int, tags: tuple[str, ...], scheme: str) -> None:
        super().__init__()
        self.hidden_size, self.tags, self.scheme = hidden_size, tags, scheme
        self.mix: LayerMix | None = None
        self.label_smoothing = 0.0
        self.register_buffer("tag_weights", None, persistent=False)

    def shape_loss(self, *, tag_weights: Sequence[float] | None, label_smoothing: float) -> None:
        """Set how the loss counts errors; for training only, nothing of it is saved.

        Args:
            tag_weights: of the words that carry each tag, shape (num_tags,); None: all alike.
            label_smoothing: share of each target that is spread evenly over all tags (Szegedy et al. 2016,
                "Rethinking the Inception Architecture", section 7).

        Raises:
            ConfigError: the head has no such loss.
        """
        if not self.can_weigh and (tag_weights is not None or label_smoothing):
            raise ConfigError(
                "training.class_weights and training.label_smoothing are for heads that choose one tag a word by "
                "itself, which this head does not. Leave them out, or set head.kind = 'linear'."
            )
        self.label_smoothing = label_smoothing
        device = next(self.parameters()).device
        self.tag_weights = None if tag_weights is None else torch.tensor(tag_weights, device=device)

    def forward(self, states: torch.Tensor, num_words: torch.Tensor) -> torch.Tensor:
        """Return the score of each tag for each word, (w, num_tags).

        Args:
            states: word states, shape (w, hidden), the words of one text after those of another.
            num_words: words of each text, shape (s,), sum w.
        """
        raise NotImplementedError

    def loss(self, scores: torch.Tensor, labels: torch.Tensor, num_words: torch.Tensor) -> torch.Tensor:
        """Return the loss summed over the labeled words.

        Args:
            scores: what `forward` gave, shape (w, num_tags).
            labels: tag ids, shape (w,), -100 ignored.
            num_words: words of each text, shape (s,).
        """
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
            scores: what `forward` gave, shape (w, num_tags); of a text that was cut into windows all of them together.
            num_words: words of each text, shape (s,).
            temperature: what the scores of tag sequences are divided by; none becomes better than another by it.
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
        """Return how scores become probabilities, with all that is learned about it."""
        return Likelihood()


class LinearHead(Head):
    """One linear layer."""

    def __init__(self, hidden_size: int, tags: tuple[str, ...], scheme: str) -> None:
        super().__init__(hidden_size, tags, scheme)
        linear = nn.Linear(hidden_size, len(tags))
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, states: torch.Tensor, num_words: torch.Tensor) -> torch.Tensor:
        """Return the score of each tag for each word, (w, num_tags)."""
        return nn.functional.linear(states, self.weight, self.bias)
