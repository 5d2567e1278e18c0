"""What every labeler can do, whether it scores tags or writes its answers."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from lookboth.errors import ModelError, PlanError
from lookboth.inference.pipeline import label_chunk, label_texts, label_words
from lookboth.types import Example, Prediction, TokenizedExample

if TYPE_CHECKING:
    import numpy as np

    from lookboth.data import WordEncoder
    from lookboth.inference.labeling_config import LabelingConfig
    from lookboth.inference.likelihoods import Likelihood
    from lookboth.inference.protocols import LabelerSettings, LabelerWeights
    from lookboth.masking import MaskPlan


class TextLabeler(ABC):
    """Labels texts; the face that the command line, evaluation and everything that serves know.

    Attributes:
        config: everything but the weights; model: the weights; tokenizer: of the backbone.
    """

    config: "LabelerSettings"
    model: "LabelerWeights"
    tokenizer: Any

    @property
    @abstractmethod
    def device(self) -> Any:
        """Where the weights are: "cpu", "cuda:0", ... as a string or as what torch calls a device."""

    @property
    def batch_tokens(self) -> int:
        """Tokens computed at once where the caller names no number: a CPU is fastest while they fit its cache."""
        return 512 if str(self.device) == "cpu" else 2048

    @abstractmethod
    def label_chunk(self, examples: Sequence[Example], *, batch_tokens: int | None) -> Iterator[Prediction]:
        """Yield the prediction for each example, in order.

        Args:
            examples: words, with or without the text they were cut from; gold labels are not looked at.
            batch_tokens: tokens computed at once; as many as suit the device when None.
        """

    @abstractmethod
    def save_pretrained(self, folder: str | Path) -> None:
        """Write everything that is needed to load the labeler elsewhere into one folder."""

    @property
    def planned_model(self) -> Any:
        """The module that carries the mask plan, for `prove`.

        Raises:
            ModelError: no layers of this labeler can be looked into.
        """
        raise ModelError(
            "an exported labeler has no layers to look into. Prove the labeler it was exported from."
        )

    @property
    def takes_plans(self) -> bool:
        """Whether `with_plan` gives a view under another plan."""
        return False

    def with_plan(self, plan: "str | MaskPlan") -> "TextLabeler":
        """Return a view of this labeler under another plan.

        Raises:
            PlanError: the plan cannot be read or does not fit, or that of this labeler cannot be changed.
        """
        raise PlanError(f"the plan of this labeler cannot be changed to {str(plan)!r}. Leave out the plan.")

    def summarize(self, predictions: Sequence[Prediction]) -> dict[str, Any]:
        """Return what run.json tells of predictions beside their scores."""
        return {}

    def push_to_hub(self, name: str, *, private: bool = False) -> str:
        """Upload the labeler to the Hugging Face Hub under `name`; return its address."""
        from huggingface_hub import HfApi

        api = HfApi()
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            api.create_repo(name, private=private, exist_ok=True)
            return str(api.upload_folder(repo_id=name, folder_path=folder))

    def predict(self, texts: str | Iterable[str], *, batch_tokens: int | None = None) -> list[Prediction]:
        """Label raw texts of any length; offsets are into the strings as given.

        Args:
            texts: one text or many.
            batch_tokens: tokens computed at once; as many as suit the device when None.
        """
        return list(self.stream([texts] if isinstance(texts, str) else texts, batch_tokens=batch_tokens))

    def predict_words(
        self, sentences: Iterable[Sequence[str]], *, batch_tokens: int | None = None
    ) -> list[Prediction]:
        """Label sentences given as words; every word gets exactly one tag."""
        return list(label_words(self, sentences, batch_tokens=batch_tokens))

    def stream(self, texts: Iterable[str], *, batch_tokens: int | None = None) -> Iterator[Prediction]:
        """Yield predictions in the order of `texts`, reading them as they are needed."""
        return label_texts(self, texts, batch_tokens=batch_tokens)


class HeadLabeler(TextLabeler):
    """A labeler that scores tags; `inference.pipeline` does the rest, whatever runs the weights.

    Attributes:
        config: a LabelingConfig; encoder: cuts words into tokens as it says.
    """

    config: "LabelingConfig"
    encoder: "WordEncoder"

    @abstractmethod
    def score(self, pieces: Sequence[TokenizedExample]) -> "np.ndarray":
        """Return what the head gives for every word of one batch, (w, num_tags).

        Args:
            pieces: tokenized texts or windows, computed at once; words follow each other piece by piece.
        """

    @abstractmethod
    def likelihood(self) -> "Likelihood":
        """Return how scores become probabilities, with all that is learned about it."""

    def label_chunk(self, examples: Sequence[Example], *, batch_tokens: int | None) -> Iterator[Prediction]:
        """Yield the prediction for each example, in order; see `TextLabeler.label_chunk`."""
        return label_chunk(self, examples, batch_tokens=batch_tokens)


def require_scores(labeler: TextLabeler, what: str) -> HeadLabeler:
    """Return `labeler` as one that scores tags.

    Args:
        labeler: as loaded.
        what: what only such a labeler can be, for the message.

    Raises:
        ModelError: it writes its answers.
    """
    if not isinstance(labeler, HeadLabeler):
        raise ModelError(f"a generative labeler has no head and cannot be {what}; use it as it is.")
    return labeler
