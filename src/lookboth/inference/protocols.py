"""What the pipeline asks of a labeler, whatever computes its scores or writes its answers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from lookboth.types import Example, Prediction, Task, TokenizedExample

if TYPE_CHECKING:
    import numpy as np

    from lookboth.data import WordEncoder
    from lookboth.inference.confidence import Confidence
    from lookboth.inference.labeling_config import LabelingConfig
    from lookboth.inference.likelihoods import Likelihood
    from lookboth.masking import MaskPlan


class LabelerSettings(Protocol):
    """What the config of every labeler says, with a head or without."""

    @property
    def task(self) -> Task:
        """Whether words or whole texts are labeled."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels without scheme prefixes, in order."""

    @property
    def scheme(self) -> str:
        """Tag scheme of predictions: "IOB2", "IOBES" or "plain"."""

    @property
    def plan(self) -> "MaskPlan | None":
        """How many tokens to the right each layer may attend to; None where that differs within a prompt."""

    @property
    def multi_label(self) -> bool:
        """Whether a text may have several labels, or none."""

    @property
    def scores(self) -> Mapping[str, Any]:
        """What the labeler reached, by data set, for its card."""

    @property
    def confidence(self) -> "Confidence":
        """How far probabilities can be trusted, where that was measured."""


class LabelerWeights(Protocol):
    """The weights of a labeler, whatever library runs them."""

    @property
    def compute_dtype(self) -> Any:
        """Arithmetic of the backbone, for reports."""


class ChunkLabeler(Protocol):
    """Labels examples that fit in memory."""

    def label_chunk(self, examples: Sequence[Example], *, batch_tokens: int | None) -> Iterator[Prediction]:
        """Yield the prediction for each example, in order."""


class WordScorer(Protocol):
    """Computes a score of each tag for each word."""

    @property
    def config(self) -> "LabelingConfig":
        """How texts become tokens and scores become labels."""

    @property
    def encoder(self) -> "WordEncoder":
        """Cuts words into tokens."""

    @property
    def batch_tokens(self) -> int:
        """Tokens computed at once where the caller names no number."""

    def score(self, pieces: Sequence[TokenizedExample]) -> "np.ndarray":
        """Return the scores of every word of one batch, (w, num_tags)."""

    def likelihood(self) -> "Likelihood":
        """Return how scores become probabilities."""
