"""The labeler: a backbone under a mask plan, a head over word states, and what is needed to read text."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lookboth.data import WordEncoder, build_batch
from lookboth.errors import ModelError
from lookboth.inference import HeadLabeler, Likelihood, TextLabeler, require_scores
from lookboth.labelers.folders import find_folder
from lookboth.labelers.labeler_config import KIND_KEY, LabelerConfig, read_settings
from lookboth.labelers.saving import load_parts, save_parts
from lookboth.masking import MaskPlan, under_plan
from lookboth.models import LabelerModel, fold_adapter
from lookboth.types import TokenizedExample


class Labeler(HeadLabeler):
    """A trained sequence labeler.

    Args:
        config: everything but the weights.
        model: backbone and head.
        tokenizer: of the backbone.

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

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path | None = None,
        *,
        device: str | None = None,
        precision: str = "auto",
        base: str | None = None,
        merge: bool = False,
        trust_remote_code: bool = False,
    ) -> "Labeler":
        """Load a labeler with a head from a folder or the Hub; the shipped one when `name` is None.

        `open_labeler` opens a labeler of any kind.

        Args:
            name: folder or hub id; "fast" is the faster one that ships.
            device: "cpu", "cuda", ...; a GPU where there is one when None.
            precision: "auto", "bf16", "fp16" or "fp32"; "auto" takes 4 bits for a QLoRA labeler where that is possible.
            base: where the base model is on this machine, if not where the labeler says; it must be the same one.
            merge: fold the adapter into the weights, if there is one: a fifth faster, the same within rounding.
            trust_remote_code: let the base model's own code run.

        Raises:
            ModelError: the folder is missing, incomplete, from a newer version, of another kind, or does not
                fit its base.
        """
        folder = find_folder(name)
        data = read_settings(folder)
        if KIND_KEY in data:
            raise ModelError(
                f"{folder}: a labeler of the kind {data[KIND_KEY]!r:.100} has no head that torch runs. "
                f"Type: lookboth.open_labeler({str(folder)!r})"
            )
        return load_labeler(
            folder,
            data,
            device=device,
            precision=precision,
            base=base,
            merge=merge,
            trust_remote_code=trust_remote_code,
        )

    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Write adapter, head, plan, tags and model card into one small folder.

        Args:
            folder: created where missing.
            dtype: of the saved adapter weights; as trained when None. Half the size in torch.bfloat16.
        """
        save_parts(self.config, self.model, self.tokenizer, folder, dtype=dtype)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.head.parameters()).device

    @property
    def batch_tokens(self) -> int:
        """Tokens computed at once where the caller names no number.

        In bf16 a CPU's products are so fast that reading the weights, once a batch, is what counts.
        """
        return 2048 if self.model.compute_dtype == torch.bfloat16 else super().batch_tokens

    def score(self, pieces: Sequence[TokenizedExample]) -> np.ndarray:
        """Return what the head gives for every word of one batch under the plan of `config`, (w, num_tags)."""
        inputs = {key: value.to(self.device) for key, value in build_batch(pieces).tensors().items()}
        if was_training := self.model.training:  # setting it walks over all modules
            self.model.eval()
        with torch.inference_mode(), under_plan(self.model.backbone, self.config.plan):
            scores: np.ndarray = self.model(**inputs)["logits"].cpu().numpy()
        if was_training:
            self.model.train()
        return scores

    def likelihood(self) -> Likelihood:
        """Return how scores become probabilities, as the head has it."""
        return self.model.head.likelihood()

    @property
    def planned_model(self) -> Any:
        """The backbone, which carries the mask plan."""
        return self.model.backbone

    @property
    def takes_plans(self) -> bool:
        """Whether `with_plan` gives a view under another plan."""
        return True

    def with_plan(self, plan: str | MaskPlan) -> "Labeler":
        """Return a view of this labeler under another plan; the two share weights and leave each other's plan alone.

        A labeler applies the plan of its `config` whenever it labels, and restores the one it found afterwards. A
        view costs no memory and, per batch, twice the time of `apply_plan`. Views of one labeler do not run in
        parallel threads.

        Raises:
            PlanError: the plan cannot be read, does not fit, or the model cannot take it.
        """
        if isinstance(plan, str):
            plan = MaskPlan.parse(plan, self.config.plan.num_layers)
        with under_plan(self.model.backbone, plan):
            return Labeler(replace(self.config, plan=plan), self.model, self.tokenizer)


def load_labeler(
    folder: Path,
    data: Mapping[str, Any],
    *,
    device: str | None = None,
    precision: str = "auto",
    base: str | None = None,
    merge: bool = False,
    trust_remote_code: bool = False,
    backbone: Any = None,
) -> Labeler:
    """Return the labeler with a head that was saved into `folder`; `data` is its `config.json`.

    Args:
        backbone: without adapter and plan, where it is in memory already; read from disk when None.
        others: see `Labeler.from_pretrained`, also for what is raised.
    """
    parts = load_parts(
        folder,
        data,
        device=device,
        precision=precision,
        base=base,
        trust_remote_code=trust_remote_code,
        backbone=backbone,
    )
    labeler = Labeler(*parts)
    if merge:
        fold_adapter(labeler.model.backbone)
    return labeler


def require_head(labeler: TextLabeler, what: str) -> Labeler:
    """Return `labeler` as one with a head that torch runs.

    Args:
        labeler: as loaded.
        what: what only such a labeler can be, for the message.

    Raises:
        ModelError: it writes its answers, or was exported.
    """
    scoring = require_scores(labeler, what)
    if not isinstance(scoring, Labeler):
        raise ModelError(f"an exported labeler cannot be {what}; take the labeler it was exported from.")
    return scoring
