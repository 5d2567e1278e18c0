"""The base classes of all labelers: `TextLabeler`, and `HeadLabeler` for labelers with a head."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from lookboth.data import NESTED, ReadOptions, as_one_document, example_from_text
from lookboth.errors import ModelError, PlanError
from lookboth.inference.pipeline import label_chunk, label_examples, label_texts, label_words
from lookboth.memory import LARGE_BATCH, SMALL_BATCH
from lookboth.types import Example, Prediction, TokenizedExample

if TYPE_CHECKING:
    import numpy as np

    from lookboth.data import DemonstrationPool, Labels, WordEncoder
    from lookboth.inference.labeling_config import LabelingConfig
    from lookboth.inference.likelihoods import Likelihood
    from lookboth.inference.protocols import LabelerSettings, LabelerWeights
    from lookboth.inference.word_stream import WordStream
    from lookboth.masking import MaskPlan


class TextLabeler(ABC):
    """Labels texts; the interface used by the command line, evaluation, bulk labeling and the server.

    Attributes:
        config: all settings except the weights; model: the weights; tokenizer: tokenizer of the backbone.
    """

    config: "LabelerSettings"
    model: "LabelerWeights"
    tokenizer: Any

    @property
    @abstractmethod
    def device(self) -> Any:
        """Device of the weights ("cpu", "cuda:0", ...), as a string or a torch.device."""

    @property
    def batch_tokens(self) -> int:
        """Default number of tokens per batch."""
        # A CPU is fastest while the activations of a batch fit in its cache.
        return SMALL_BATCH if str(self.device) == "cpu" else LARGE_BATCH

    @abstractmethod
    def label_chunk(self, examples: Sequence[Example], *, batch_tokens: int | None) -> Iterator[Prediction]:
        """Yield the prediction for each example, in order.

        Args:
            examples: words, with or without their text; gold labels are ignored.
            batch_tokens: tokens per batch; None: a default for the device.
        """

    @abstractmethod
    def save_pretrained(self, folder: str | Path) -> None:
        """Write all files needed to load the labeler into one folder."""

    @property
    def planned_model(self) -> Any:
        """The module with the mask plan, for `prove`.

        Raises:
            ModelError: the layers of this labeler are not accessible.
        """
        raise ModelError(
            "the layers of an exported labeler are not accessible. Prove the labeler it was exported from."
        )

    @property
    def takes_plans(self) -> bool:
        """Whether `with_plan` returns a view under another plan."""
        return False

    def with_plan(self, plan: "str | MaskPlan") -> "TextLabeler":
        """Return a view of this labeler under another plan.

        Raises:
            PlanError: the plan is invalid or does not fit, or the plan of this labeler cannot be changed.
        """
        raise PlanError(f"the plan of this labeler cannot be changed to {str(plan)!r}. Leave out the plan.")

    @property
    def takes_labels(self) -> bool:
        """Whether `with_labels` names labels at prediction time."""
        return False

    @property
    def is_open(self) -> bool:
        """Whether it was trained for labels that are named in prediction."""
        return self.takes_labels

    def with_labels(
        self, labels: "Labels | None" = None, *, demonstrations: "DemonstrationPool | None" = None
    ) -> "TextLabeler":
        """Return a labeler for labels named now; see `Labeler.with_labels` and `GenerativeLabeler.with_labels`.

        Raises:
            ModelError: the labels of this labeler are fixed.
        """
        refuse_demonstrations(demonstrations)
        raise ModelError(
            f"the labels of this labeler are fixed: {', '.join(self.config.labels)}. To name labels at prediction "
            "time, train one with head.kind = 'open' or generative.open_labels = true."
        )

    @property
    def reads_documents(self) -> bool:
        """Whether a text is read with the texts around it in its document."""
        return False

    @property
    def batch_key(self) -> Hashable | None:
        """What labelers have in common whose texts can share batches; None if this one shares them with no other."""
        return None

    def summarize(self, predictions: Sequence[Prediction]) -> dict[str, Any]:
        """Return statistics of predictions for run.json, in addition to their scores."""
        return {}

    @property
    def splitter(self) -> str:
        """Name of the splitter of raw text into words; "" is `split_words`."""
        return ""

    def read_text(self, text: str, source: str = "") -> Example:
        """Return an example with the words of a raw text, split as in training."""
        return example_from_text(text, source)

    def split_again(self, examples: Iterable[Example]) -> Iterable[Example]:
        """Return examples with the words of this labeler in place of those that `split_words` found in their texts."""
        if not self.splitter:
            return examples
        return (e if e.text is None else self.read_text(e.text, e.source) for e in examples)

    def push_to_hub(self, name: str, *, private: bool = False) -> str:
        """Upload the labeler to the Hugging Face Hub under `name` and return its URL."""
        from huggingface_hub import HfApi

        api = HfApi()
        # Save to a new folder, so that no other files of the user are uploaded.
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            api.create_repo(name, private=private, exist_ok=True)
            return str(api.upload_folder(repo_id=name, folder_path=folder))

    def predict(
        self, texts: str | Iterable[str], *, batch_tokens: int | None = None, document: bool = False
    ) -> list[Prediction]:
        """Label raw texts of any length; character offsets refer to the strings as passed.

        Args:
            texts: one text or several.
            batch_tokens: tokens per batch; None: a default for the device.
            document: whether the texts are one document, in order, for a labeler with `context`; otherwise each text is
                a document of its own.
        """
        if document and not isinstance(texts, str):
            return self._predict_document(map(self.read_text, texts), batch_tokens)
        # A string is also an iterable of strings, its characters.
        return list(self.stream([texts] if isinstance(texts, str) else texts, batch_tokens=batch_tokens))

    def predict_words(
        self,
        sentences: Iterable[Sequence[str]],
        *,
        batch_tokens: int | None = None,
        document: bool = False,
    ) -> list[Prediction]:
        """Label sentences given as words; every word gets exactly one tag.

        Args:
            sentences: the words of each sentence.
            batch_tokens, document: as in `predict`.
        """
        if document:
            return self._predict_document((Example(tuple(words)) for words in sentences), batch_tokens)
        return list(label_words(self, sentences, batch_tokens=batch_tokens))

    def _predict_document(self, examples: Iterable[Example], batch_tokens: int | None) -> list[Prediction]:
        joined = as_one_document(list(examples))
        return list(label_examples(self, joined, batch_tokens=batch_tokens))

    def open_stream(self, *, lag: int | None = None) -> "WordStream":
        """Return a stream that labels one text while it arrives, word by word.

        The plan must have finite look-ahead in every layer. The tags are those of `predict` for the whole text; a tag
        is returned when its look-ahead has arrived and no later word can change it. Several streams of a labeler may
        take turns, in one thread.

        Args:
            lag: words after a scored word that may still change its tag. None: as many as needed for the tags of
                `predict`, mostly one to three. 0: none; each word gets the best tag that may follow the one before.

        Raises:
            ModelError: this kind of labeler needs the whole text.
        """
        raise ModelError(
            "this labeler needs the whole text, so it cannot label a stream. Use a torch labeler with a head."
        )

    def stream(self, texts: Iterable[str], *, batch_tokens: int | None = None) -> Iterator[Prediction]:
        """Yield predictions in the order of `texts`, which are read as needed."""
        return label_texts(self, texts, batch_tokens=batch_tokens)


class HeadLabeler(TextLabeler):
    """A labeler with a head that scores tags; `inference.pipeline` converts scores to predictions.

    Attributes:
        config: a LabelingConfig; encoder: encodes words as tokens according to `config.encoding`.
    """

    config: "LabelingConfig"
    encoder: "WordEncoder"

    @property
    def reads_documents(self) -> bool:
        """Whether a text is read with the texts around it in its document."""
        return bool(self.config.context)

    @property
    def splitter(self) -> str:
        """Name of the splitter of raw text into words, as trained."""
        return self.encoder.encoding.splitter

    def read_text(self, text: str, source: str = "") -> Example:
        """Return an example with the words of a raw text, split as in training."""
        return self.encoder.read_text(text, source)

    @abstractmethod
    def score(self, pieces: Sequence[TokenizedExample]) -> "np.ndarray":
        """Return the head's scores for every word of one batch, (w, num_tags).

        Args:
            pieces: tokenized texts or windows of one batch; the rows of the result follow their order.
        """

    @abstractmethod
    def likelihood(self) -> "Likelihood":
        """Return the conversion of scores to probabilities, with its learned parameters."""

    def label_chunk(self, examples: Sequence[Example], *, batch_tokens: int | None) -> Iterator[Prediction]:
        """Yield the prediction for each example, in order; see `TextLabeler.label_chunk`."""
        return label_chunk(self, examples, batch_tokens=batch_tokens)


def refuse_demonstrations(demonstrations: "DemonstrationPool | None") -> None:
    """Refuse demonstrations for a labeler with a head.

    Raises:
        ModelError: there are demonstrations.
    """
    if demonstrations is not None:
        raise ModelError(
            "demonstrations: only generative labelers read them, and this labeler has a head. Leave them out."
        )


def require_scores(labeler: TextLabeler, what: str) -> HeadLabeler:
    """Return `labeler` as a HeadLabeler.

    Args:
        labeler: the loaded labeler.
        what: the operation that needs a head, as a participle for the message ("merged").

    Raises:
        ModelError: the labeler is generative.
    """
    if not isinstance(labeler, HeadLabeler):
        raise ModelError(f"a generative labeler cannot be {what}; this needs a labeler with a head.")
    return labeler


def reading_for(labeler: TextLabeler, options: ReadOptions | None) -> ReadOptions:
    """Return how labeled data are read for a labeler: by its task, for its head and, by default, with its splitter."""
    options = options or ReadOptions()
    config, splitter = labeler.config, options.splitter or labeler.splitter or None
    nested = options.nested or config.scheme == NESTED
    return replace(options, task=config.task, head=config.scheme, splitter=splitter, nested=nested)
