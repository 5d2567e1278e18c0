"""The protocols a labeler implements for the pipeline, with or without torch, with or without a head."""

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
    """The settings in the config of every labeler, with or without a head."""

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
        """The mask plan of the backbone; None if it differs within a prompt."""

    @property
    def multi_label(self) -> bool:
        """Whether a text may have several labels, or none."""

    @property
    def scores(self) -> Mapping[str, Any]:
        """Scores of the labeler by data set, for its card."""

    @property
    def confidence(self) -> "Confidence":
        """Calibration of the probabilities; the default if it was not measured."""


class LabelerWeights(Protocol):
    """The weights of a labeler, independent of the library that runs them."""

    @property
    def compute_dtype(self) -> Any:
        """Dtype of the backbone's arithmetic, for reports."""


class ChunkLabeler(Protocol):
    """A labeler of examples that fit in memory."""

    def label_chunk(self, examples: Sequence[Example], *, batch_tokens: int | None) -> Iterator[Prediction]:
        """Yield the prediction for each example, in order."""


class TextReader(ChunkLabeler, Protocol):
    """A labeler that splits raw text into words."""

    def read_text(self, text: str) -> Example:
        """Return an example with the words of a raw text, split as in training."""


class BatchScorer(Protocol):
    """Computes the scores of the words of a batch."""

    @property
    def batch_tokens(self) -> int:
        """Default number of tokens per batch."""

    def score(self, pieces: Sequence[TokenizedExample]) -> "np.ndarray":
        """Return the scores of every word of one batch, (w, num_tags)."""


class WordScorer(BatchScorer, Protocol):
    """A labeler that computes a score of each tag for each word."""

    @property
    def config(self) -> "LabelingConfig":
        """The tokenization of texts and the decoding of scores."""

    @property
    def encoder(self) -> "WordEncoder":
        """The encoder of words as tokens."""

    def likelihood(self) -> "Likelihood":
        """Return the conversion of scores to probabilities."""
