"""Reads back what a run has saved, before the run says that it is done."""

import copy
import gc
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from lookboth.errors import LookbothError, ModelError
from lookboth.labelers.labeler import Labeler
from lookboth.labelers.opening import load_folder
from lookboth.labelers.saving import BACKBONE_FOLDER
from lookboth.masking import PREFIX, remove_plan
from lookboth.models import Precision, load_adapter, load_backbone
from lookboth.types import Prediction

TEXT = ("Ada", "Lovelace", "met", "Charles", "Babbage", "in", "London", ".")
_TOLERANCE = {
    torch.float32: 1e-3,
    torch.float16: 0.1,
    torch.bfloat16: 0.1,
}  # of a probability; adapters are rounded to bf16


class TrainedWeights(Protocol):
    """The weights of a labeler that torch runs."""

    @property
    def backbone(self) -> Any:
        """The backbone with its adapter, as it is saved."""

    @property
    def module(self) -> Any:
        """The module with all weights."""

    @property
    def compute_dtype(self) -> torch.dtype:
        """Arithmetic of the backbone."""


class TrainedSettings(Protocol):
    """What the config of a trained labeler says of its weights."""

    @property
    def adapter(self) -> str:
        """Which weights are its own."""


class TrainedLabeler(Protocol):
    """A labeler that torch runs, with a head or without."""

    @property
    def config(self) -> TrainedSettings:
        """Everything but the weights."""

    @property
    def model(self) -> TrainedWeights:
        """The weights."""

    @property
    def device(self) -> Any:
        """Where the weights are."""

    def predict_words(self, sentences: Iterable[Sequence[str]]) -> list[Prediction]:
        """Label sentences given as words."""


def read_back(labeler: TrainedLabeler, folder: Path, *, trust_remote_code: bool = False) -> None:
    """Load what was saved, and compare weights and the labels of one text with the labeler in memory.

    What it costs: of a labeler over its base (lora, qlora, head, none) adapter and head are read, and all other
    weights shared with the labeler in memory. A labeler with a backbone of its own (full, merged) is read into a
    second copy, for as long as the check takes; gradients and optimizer took twice as much or more.

    Args:
        labeler: as trained or merged, and as saved.
        folder: that it was saved into.
        trust_remote_code: let the base model's own code run.

    Raises:
        ModelError: it cannot be loaded, or is another labeler than the one in memory.
    """
    gc.collect()  # the Trainer with its optimizer is a cycle of references
    try:
        loaded = _load(labeler, folder, trust_remote_code)
        require_same_weights(labeler.model.module, loaded.model.module)
        _require_same_labels(labeler, loaded)
    except LookbothError as error:
        raise ModelError(
            f"{folder}: the labeler was saved but does not come back as it was: {error} "
            "The labeler in memory is unchanged, and files are kept as they are."
        ) from error


def read_back_adapter(backbone: Any, folder: Path) -> None:
    """Load an adapter that was saved, and compare it with the one of `backbone`; other weights are shared.

    Raises:
        ModelError: it cannot be loaded, or differs.
    """
    require_same_weights(backbone, load_adapter(without_adapter(backbone), folder))


def read_back_backbone(backbone: Any, folder: Path, *, trust_remote_code: bool = False) -> None:
    """Load a backbone that was saved, and compare its weights; it is a second copy as long as this takes.

    Raises:
        ModelError: it cannot be loaded, or differs.
    """
    require_same_weights(backbone, _load_like(backbone, folder, trust_remote_code))


def require_same_weights(ours: nn.Module, theirs: nn.Module) -> None:
    """Compare the weights of one module with those of another, but for those that the two share.

    Args:
        ours: as trained.
        theirs: as loaded; it may be in lower precision.

    Raises:
        ModelError: names a weight that differs.
    """
    found = dict(theirs.named_parameters(remove_duplicate=False))
    own = {name: value for name, value in ours.named_parameters() if found.get(name) is not value}
    lost = [name for name, value in own.items() if name not in found or not _is_same(value, found[name])]
    if lost:
        raise ModelError(f"{len(lost)} of {len(own)} weights differ, for example {lost[0]}.")


def without_adapter(backbone: Any) -> Any:
    """Return a second model over the same weights, which are shared, without adapter and mask plan."""
    # Recurrent layers keep their last state as an attribute, which cannot be copied while it has a gradient.
    kept = [
        value for module in backbone.modules() for value in vars(module).values() if torch.is_tensor(value)
    ]
    shared = {id(tensor): tensor for tensor in (*backbone.parameters(), *backbone.buffers(), *kept)}
    twin = copy.deepcopy(backbone, shared)
    return remove_plan(twin.unload() if hasattr(twin, "peft_config") else twin).eval()


def _load(labeler: TrainedLabeler, folder: Path, trust_remote_code: bool) -> Any:
    own = labeler.model.backbone
    if labeler.config.adapter in {"full", "merged"}:
        backbone = _load_like(own, folder / BACKBONE_FOLDER, trust_remote_code)
    else:
        backbone = without_adapter(own)
    loaded: Any = load_folder(
        folder,
        device=str(labeler.device),
        precision=_precision(own),
        trust_remote_code=trust_remote_code,
        backbone=backbone,
    )
    loaded.model.module.compute_dtype = labeler.model.compute_dtype
    return loaded


def _load_like(backbone: Any, folder: Path, trust_remote_code: bool) -> Any:
    """Return the backbone in `folder` with device, precision and attention of another."""
    attention = backbone.config.get_text_config(decoder=True)._attn_implementation or "eager"
    return load_backbone(
        str(folder.absolute()),
        precision=_precision(backbone),
        device=str(backbone.get_input_embeddings().weight.device),
        attn_implementation=attention.removeprefix(PREFIX),
        trust_remote_code=trust_remote_code,
    )


def _precision(backbone: Any) -> Precision:
    """Return the precision that a backbone was loaded in; in fp16 its embeddings are in fp32."""
    found = {parameter.dtype for parameter in backbone.parameters()}
    if torch.float16 in found:
        return "fp16"
    return "bf16" if backbone.get_input_embeddings().weight.dtype == torch.bfloat16 else "fp32"


def _require_same_labels(ours: TrainedLabeler, theirs: TrainedLabeler) -> None:
    if not isinstance(ours, Labeler) or not isinstance(theirs, Labeler):
        one, other = (labeler.predict_words([TEXT])[0].tags for labeler in (ours, theirs))
        if one != other:
            raise ModelError(f"{' '.join(TEXT)!r} was labeled {one} and is labeled {other}.")
        return
    from lookboth.inference import word_log_probs

    before, after = (np.exp(word_log_probs(labeler, [TEXT])[0]) for labeler in (ours, theirs))
    difference = float(np.abs(np.nan_to_num(before) - np.nan_to_num(after)).max())
    allowed = _TOLERANCE[ours.model.compute_dtype]
    if difference > allowed:
        raise ModelError(
            f"a probability of {' '.join(TEXT)!r} differs by {difference:.2g}; allowed is {allowed:g}."
        )


def _is_same(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    wanted = ours.detach().to(theirs.device, theirs.dtype)
    return wanted.shape == theirs.shape and torch.equal(wanted.nan_to_num(), theirs.nan_to_num())
