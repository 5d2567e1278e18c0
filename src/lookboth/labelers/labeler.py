"""The torch labeler: a backbone with a mask plan, a head over word states, and a tokenizer."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lookboth.data import (
    DemonstrationPool,
    Labels,
    LabelText,
    WordEncoder,
    build_batch,
    parse_labels,
    place_inputs,
)
from lookboth.errors import ModelError
from lookboth.inference import (
    HeadLabeler,
    Likelihood,
    TextLabeler,
    WordStream,
    label_by_label_set,
    refuse_demonstrations,
    require_scores,
)
from lookboth.labelers.fixed_labels import LabelVectors, fix_labels
from lookboth.labelers.folders import find_folder
from lookboth.labelers.labeler_config import KIND_KEY, LabelerConfig, read_settings
from lookboth.labelers.opening import LoadOptions
from lookboth.labelers.saving import load_parts, save_parts
from lookboth.labelers.streaming import prove_once, require_streamable
from lookboth.masking import MaskPlan, under_plan
from lookboth.memory import LARGE_BATCH
from lookboth.models import IncrementalScorer, LabelerModel, mixing_key
from lookboth.types import Example, Prediction, TokenizedExample


class Labeler(HeadLabeler):
    """A trained sequence labeler.

    Args:
        config: all settings except the weights.
        model: backbone and head.
        tokenizer: tokenizer of the backbone.

    >>> labeler = Labeler.from_pretrained("path/to/labeler")  # doctest: +SKIP
    >>> labeler.predict("Ada Lovelace lived in London.")  # doctest: +SKIP
    """

    config: LabelerConfig
    model: LabelerModel

    def __init__(self, config: LabelerConfig, model: LabelerModel, tokenizer: Any) -> None:
        self.config = config
        self.model = model
        self.tokenizer = tokenizer
        self.encoder = WordEncoder(
            tokenizer,
            config.encoding,
            max_word_tokens=config.max_word_tokens,
            num_tokens=model.backbone.get_input_embeddings().weight.shape[0],
        )
        self._vectors = LabelVectors(model, self.encoder, config)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path | None = None,
        *,
        device: str | None = None,
        precision: str = "auto",
        base: str | None = None,
        merge: bool = True,
        trust_remote_code: bool = False,
    ) -> "Labeler":
        """Load a labeler with a head from a folder or the Hub.

        `open_labeler` opens a labeler of any kind.

        Args:
            name: folder or hub id; None: the shipped labeler; "fast", "turbo", "open": the other shipped labelers.
            device: "cpu", "cuda", ...; None: a GPU if available.
            precision: "auto", "bf16", "fp16" or "fp32"; "auto" loads a QLoRA labeler in 4 bits if that is possible.
            base: path or hub id of the base model, if it is not where the labeler says; it must be the same model.
            merge: merge an adapter into the weights in memory, as every command that labels does: a fifth faster,
                and equal within rounding. False: keep the adapter apart, to train it further.
            trust_remote_code: run the base model's own code.

        Raises:
            ModelError: the folder is missing, incomplete, from a newer version, of another kind, or does not
                fit its base.
        """
        folder = find_folder(name)
        data = read_settings(folder)
        if KIND_KEY in data:
            raise ModelError(
                f"{folder}: a labeler of the kind {data[KIND_KEY]!r:.100} is not a torch labeler with a head. "
                f"Type: lookboth.open_labeler({str(folder)!r})"
            )
        options = LoadOptions(
            device=device,
            precision=precision,
            base=base,
            merge=merge,
            trust_remote_code=trust_remote_code,
        )
        return load_labeler(folder, data, options)

    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Save adapter, head, plan, tags and model card to one folder.

        Args:
            folder: target folder, created if missing.
            dtype: dtype of the saved adapter weights; None: as trained. torch.bfloat16 halves their size.
        """
        save_parts(self.config, self.model, self.tokenizer, folder, dtype=dtype)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.model.head.parameters()).device

    @property
    def batch_tokens(self) -> int:
        """Default number of tokens per batch."""
        # In bf16 a CPU multiplies so fast that reading the weights, once per batch, takes most of the time.
        return LARGE_BATCH if self.model.compute_dtype == torch.bfloat16 else super().batch_tokens

    def score(self, pieces: Sequence[TokenizedExample]) -> np.ndarray:
        """Return the head's scores for every word of one batch, (w, num_tags), under the plan of `config`.

        An open labeler scores the labels of its training; `with_labels` names others.
        """
        if self.config.is_open:
            return self.with_labels().score(pieces)
        inputs = place_inputs(build_batch(pieces).inputs(), self.device)
        with self.model.predicting(self.config.plan):
            scores: np.ndarray = self.model(**inputs)["logits"].cpu().numpy()
        return scores

    def label_chunk(self, examples: Sequence[Example], *, batch_tokens: int | None) -> Iterator[Prediction]:
        """Yield the prediction for each example, in order; see `TextLabeler.label_chunk`.

        An open labeler finds in each example the labels of its `label_set`.
        """
        if not self.config.is_open:
            return super().label_chunk(examples, batch_tokens=batch_tokens)
        return label_by_label_set(
            examples,
            lambda labels: self.with_labels([*map(LabelText.parse, labels)] or None),
            batch_tokens=batch_tokens,
        )

    def likelihood(self) -> Likelihood:
        """Return the head's conversion of scores to probabilities."""
        return self.model.head.likelihood()

    def open_stream(self, *, lag: int | None = None) -> WordStream:
        """Return a stream that labels one text while it arrives; see `TextLabeler.open_stream`.

        The first stream under a plan compares incremental passes with a whole pass on random tokens. The stream of an
        open labeler finds the labels of its training.

        Raises:
            PlanError: a layer has unlimited look-ahead, or this model cannot be run incrementally.
            ModelError: the labeler's task, head, repetition or windows need the whole text.
            ConfigError: the lag is negative.
        """
        if self.config.is_open:
            return self.with_labels().open_stream(lag=lag)
        require_streamable(self.config, self.model.backbone, lag)
        prove_once(self.model, self.config.plan)
        open_window = partial(IncrementalScorer, self.model, self.config.encoding, self.config.plan)
        return WordStream(self.config, self.encoder, self.likelihood(), open_window, lag=lag)

    @property
    def planned_model(self) -> Any:
        """The backbone, which has the mask plan."""
        return self.model.backbone

    @property
    def takes_plans(self) -> bool:
        """Whether `with_plan` returns a view under another plan."""
        return True

    @property
    def batch_key(self) -> Hashable | None:
        """What labelers have in common whose texts can share batches; None if this one shares them with no other."""
        key = None if self.config.is_open else mixing_key(self.model)
        return key and (key, self.config.plan)

    @property
    def takes_labels(self) -> bool:
        """Whether `with_labels` names labels at prediction time."""
        return self.config.is_open

    def with_labels(
        self, labels: Labels | None = None, *, demonstrations: DemonstrationPool | None = None
    ) -> "Labeler":
        """Return an ordinary labeler with a linear head for labels named now; it shares the backbone.

        Vectors of labels are cached, so that naming them again costs little. Save the result to export or calibrate
        it, or to train it further.

        Args:
            labels: a list of "name" or "name: description"; a mapping from name to description; or a text with commas
                as on the command line. None: those of the training.

        Raises:
            ModelError: this is not an open labeler, or there are demonstrations, which only generative labelers read.
            ConfigError: no label, an empty name, a name that occurs twice, or a text that is too long.

        >>> labeler.with_labels(["company", "product: something that is sold"])  # doctest: +SKIP
        """
        if not self.config.is_open:
            # This raises an error with the fixed labels.
            super().with_labels(labels, demonstrations=demonstrations)
        refuse_demonstrations(demonstrations)
        known = [*map(LabelText.parse, self.config.known_labels)]
        parsed = parse_labels(known if labels is None else labels)
        vectors = self._vectors.of([label.forms()[0] for label in parsed])
        return Labeler(*fix_labels(self.config, self.model, parsed, vectors), self.tokenizer)

    def with_plan(self, plan: str | MaskPlan) -> "Labeler":
        """Return a view of this labeler under another plan; both share the weights and keep their plans.

        A labeler applies the plan of its `config` whenever it labels, and restores the previous plan afterwards. A
        view does not need memory; it costs the time of two calls of `apply_plan` per batch. Views of one labeler must
        not run in parallel threads.

        Raises:
            PlanError: the plan is invalid, does not fit, or the model cannot take it.
        """
        if isinstance(plan, str):
            plan = MaskPlan.parse(plan, self.config.plan.num_layers)
        # Applying the plan once checks that it fits before the view is returned.
        with under_plan(self.model.backbone, plan):
            return Labeler(replace(self.config, plan=plan), self.model, self.tokenizer)


def load_labeler(folder: Path, data: Mapping[str, Any], options: LoadOptions) -> Labeler:
    """Load the labeler with a head that was saved to `folder`; `data` is its `config.json`.

    Raises: see `Labeler.from_pretrained`.
    """
    return Labeler(*load_parts(folder, data, options))


def require_fixed_labels(labeler: TextLabeler, what: str) -> None:
    """Refuse an open labeler.

    Args:
        labeler: the loaded labeler.
        what: the operation that needs fixed labels, as a participle for the message ("exported").

    Raises:
        ModelError: the labels are named at prediction time.
    """
    if labeler.takes_labels:
        raise ModelError(
            f"an open labeler cannot be {what}, because its labels are named at prediction time. Fix them first: "
            "lookboth fix-labels LABELER OUT --labels 'company, product'"
        )


def require_head(labeler: TextLabeler, what: str) -> Labeler:
    """Return `labeler` as a Labeler, the torch labeler with a head.

    Args:
        labeler: the loaded labeler.
        what: the operation that needs a Labeler, as a participle for the message ("merged").

    Raises:
        ModelError: the labeler is generative or was exported.
    """
    scoring = require_scores(labeler, what)
    if not isinstance(scoring, Labeler):
        raise ModelError(f"an exported labeler cannot be {what}; use the labeler it was exported from.")
    return scoring
