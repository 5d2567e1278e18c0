"""The open head: scores words against vectors of labels that are named at prediction time."""

import torch
from torch import nn

from lookboth.data import tags_for_labels
from lookboth.errors import ConfigError
from lookboth.inference import FORBIDDEN
from lookboth.models.heads.head import Head, LinearHead

# Standard deviation of the scores of labels for each other's states at the start of a training: neither flat nor
# certain. Models differ tenfold in the size of their states.
_SPREAD = 2.0
# Rounding errors of equal states.
_NO_SPREAD = 1e-3


class OpenHead(Head):
    """A head whose weights are computed from label vectors, one projection per prefix of the tag scheme.

    The vector of a label is the state of its name and description. The score of tag B-l for a word with state x is
    scale * <x, B v_l> / sqrt(hidden) + bias_B, with v_l normalized and B the projection of the prefix; I-l has its own
    projection and bias. The tag O has a learned vector. For fixed labels these are the weights of a linear head.

    In training the projections begin as identities around an average label (`begin_as_similarity`): a word fits a label
    if their states are similar. From random projections the head learns the labels of the training and little else.

    A bi-encoder as in Zaratiana et al. 2024, "GLiNER" (arXiv 2311.08526), section 2, with tags instead of spans; the
    label is read by the backbone of the words, as in Ewais et al. 2026, "Just Pass Twice" (arXiv 2604.05158).
    """

    can_weigh = False

    def __init__(self, hidden_size: int, tags: tuple[str, ...], scheme: str) -> None:
        super().__init__(hidden_size, tags, scheme)
        # One label has one tag per prefix.
        num_prefixes = len(tags_for_labels(["label"], scheme)) - 1
        self.norm = nn.LayerNorm(hidden_size, elementwise_affine=False)
        self.projections = nn.ModuleList(nn.Linear(hidden_size, hidden_size) for _ in range(num_prefixes))
        # Of the size of projected vectors, so that all tags have scores of one size at the start.
        self.outside = nn.Parameter(torch.randn(hidden_size) / 3**0.5)
        self.scale = nn.Parameter(torch.ones(()))
        self.bias = nn.Parameter(torch.zeros(1 + num_prefixes))

    @torch.no_grad()
    def begin_as_similarity(self, vectors: torch.Tensor) -> None:
        """Set the initial weights: the score of a label is the similarity of its state with that of the word.

        Args:
            vectors: states of labels, shape (L, hidden); their mean is subtracted, because all states of a language
                model have a large part in common.
        """
        normal = self.norm(vectors)
        middle = normal.mean(dim=0)
        for projection in self.projections:
            nn.init.eye_(projection.get_parameter("weight"))
            projection.get_parameter("bias").copy_(-middle)
        nn.init.zeros_(self.outside)
        spread = (vectors @ (normal - middle).T / self.hidden_size**0.5).std(correction=0)
        # A single label is the average label, and all similarities are 0.
        if spread > _NO_SPREAD:
            self.scale.copy_(_SPREAD / spread)

    def weights(self, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return weight (1 + L * prefixes, hidden) and bias of the linear head for these labels.

        The tags are O, then all prefixes of the first label, and so on: the order of `tags_for_labels`.

        Args:
            vectors: states of the labels, shape (L, hidden).
        """
        normal = self.norm(vectors)
        projected = torch.stack([projection(normal) for projection in self.projections], dim=1)
        weight = torch.cat([self.outside[None], projected.flatten(0, 1)])
        weight = weight * (self.scale / self.hidden_size**0.5)
        if self.bias is None:
            return weight, None
        return weight, torch.cat([self.bias[:1], self.bias[1:].repeat(len(vectors))])

    def fixed(self, vectors: torch.Tensor, tags: tuple[str, ...]) -> LinearHead:
        """Return the linear head for these labels; its weights are a copy.

        Args:
            vectors: states of the labels in the order of `tags`, shape (L, hidden).
            tags: the tags of these labels.
        """
        head = LinearHead(self.hidden_size, tags, self.scheme).to(vectors.device)
        weight, bias = self.weights(vectors)
        head.weight = nn.Parameter(weight.detach().clone())
        head.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        head.mix = self.mix
        return head

    def forward(
        self,
        states: torch.Tensor,
        num_words: torch.Tensor,
        vectors: torch.Tensor | None = None,
        asked: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the score of each tag for each word, (w, 1 + L * prefixes).

        Args:
            states: word states, shape (w, hidden), text after text.
            num_words: words of each text, shape (s,), sum w.
            vectors: states of the labels, shape (L, hidden).
            asked: labels that each text is asked for, shape (s, L); the tags of the others are impossible.

        Raises:
            ConfigError: no label vectors are given.
        """
        if vectors is None or asked is None:
            raise ConfigError(
                "an open head scores named labels only. Type: labeler.with_labels([LABEL, ...])"
            )
        weight, bias = self.weights(vectors)
        scores = nn.functional.linear(states, weight, bias)
        tags = asked.repeat_interleave(len(self.projections), dim=1)
        possible = nn.functional.pad(tags, (1, 0), value=True).repeat_interleave(num_words, dim=0)
        return scores.masked_fill(~possible, FORBIDDEN)
