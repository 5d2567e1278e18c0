"""Loads a saved labeler again and compares it with the labeler in memory, before a run counts as finished."""

import gc
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from lookboth.compat import attention_name
from lookboth.errors import LookbothError, ModelError
from lookboth.labelers.labeler import Labeler
from lookboth.labelers.opening import LoadOptions, load_folder
from lookboth.labelers.saving import BACKBONE_FOLDER
from lookboth.masking import PREFIX, remove_plan
from lookboth.models import Precision, load_adapter, load_backbone, sharing_copy
from lookboth.types import Prediction

TEXT = ("Ada", "Lovelace", "met", "Charles", "Babbage", "in", "London", ".")
# Largest change of a probability; half precision is coarse because adapters are rounded to bf16.
_TOLERANCE = {
    torch.float32: 1e-3,
    torch.float16: 0.1,
    torch.bfloat16: 0.1,
}


class TrainedWeights(Protocol):
    """The weights of a torch labeler."""

    @property
    def backbone(self) -> Any:
        """The backbone with its adapter."""

    @property
    def module(self) -> Any:
        """The module with all weights."""

    @property
    def compute_dtype(self) -> torch.dtype:
        """Dtype of the backbone's arithmetic."""


class TrainedSettings(Protocol):
    """The settings of a trained labeler that concern its weights."""

    @property
    def adapter(self) -> str:
        """Kind of adapter, which determines the weights that are saved."""


class TrainedLabeler(Protocol):
    """A torch labeler, with or without a head."""

    @property
    def config(self) -> TrainedSettings:
        """All settings except the weights."""

    @property
    def model(self) -> TrainedWeights:
        """The weights."""

    @property
    def device(self) -> Any:
        """Device of the weights."""

    def predict_words(self, sentences: Iterable[Sequence[str]]) -> list[Prediction]:
        """Label sentences given as words."""


def read_back(labeler: TrainedLabeler, folder: Path, *, trust_remote_code: bool = False) -> None:
    """Load a saved labeler and compare its weights and the labels of one text with the labeler in memory.

    For labelers over a base (lora, qlora, head, none) only adapter and head are read; the other weights are shared
    with the labeler in memory. A labeler with its own backbone (full, merged) is loaded as a second copy during the
    check. Gradients and optimizer states of the training needed at least twice that memory.

    Args:
        labeler: the trained or merged labeler that was saved.
        folder: the folder it was saved to.
        trust_remote_code: run the base model's own code.

    Raises:
        ModelError: the saved labeler cannot be loaded, or differs from the one in memory.
    """
    # The Trainer and its optimizer are a reference cycle; free them before a second copy is loaded.
    gc.collect()
    try:
        loaded = _load(labeler, folder, trust_remote_code)
        require_same_weights(labeler.model.module, loaded.model.module)
        _require_same_labels(labeler, loaded)
    except LookbothError as error:
        raise ModelError(
            f"{folder}: the saved labeler differs from the labeler in memory: {error} "
            "The labeler in memory is unchanged, and the files are kept."
        ) from error


def read_back_adapter(backbone: Any, folder: Path) -> None:
    """Load a saved adapter and compare it with the adapter of `backbone`; other weights are shared.

    Raises:
        ModelError: the adapter cannot be loaded, or differs.
    """
    require_same_weights(backbone, load_adapter(without_adapter(backbone), folder))


def read_back_backbone(backbone: Any, folder: Path, *, trust_remote_code: bool = False) -> None:
    """Load a saved backbone and compare its weights; it needs the memory of a second copy.

    Raises:
        ModelError: the backbone cannot be loaded, or differs.
    """
    require_same_weights(backbone, _load_like(backbone, folder, trust_remote_code))


def require_same_weights(ours: nn.Module, theirs: nn.Module) -> None:
    """Compare the weights of two modules, except those they share.

    Args:
        ours: the trained module.
        theirs: the loaded module; it may have lower precision.

    Raises:
        ModelError: the number of weights that differ, and the name of one.
    """
    found = dict(theirs.named_parameters(remove_duplicate=False))
    # Shared parameters are the same object and equal by construction.
    own = {name: value for name, value in ours.named_parameters() if found.get(name) is not value}
    lost = [name for name, value in own.items() if name not in found or not _is_same(value, found[name])]
    if lost:
        raise ModelError(f"{len(lost)} of {len(own)} weights differ, for example {lost[0]}.")


def without_adapter(backbone: Any) -> Any:
    """Return a model without adapter and mask plan that shares its weights with `backbone`."""
    twin = sharing_copy(backbone)
    return remove_plan(twin.unload() if hasattr(twin, "peft_config") else twin).eval()


def _load(labeler: TrainedLabeler, folder: Path, trust_remote_code: bool) -> Any:
    own = labeler.model.backbone
    if labeler.config.adapter in {"full", "merged"}:
        backbone = _load_like(own, folder / BACKBONE_FOLDER, trust_remote_code)
    else:
        backbone = without_adapter(own)
    options = LoadOptions(
        device=str(labeler.device),
        precision=_precision(own),
        # The pairs are compared one by one.
        merge=False,
        trust_remote_code=trust_remote_code,
        backbone=backbone,
    )
    loaded: Any = load_folder(folder, options)
    # The dtype is not saved with a labeler, and another dtype would change the probabilities.
    loaded.model.module.compute_dtype = labeler.model.compute_dtype
    return loaded


def _load_like(backbone: Any, folder: Path, trust_remote_code: bool) -> Any:
    """Load the backbone in `folder` with device, precision and attention backend of `backbone`."""
    attention = attention_name(backbone.config.get_text_config(decoder=True)) or "eager"
    return load_backbone(
        str(folder.absolute()),
        precision=_precision(backbone),
        device=str(backbone.get_input_embeddings().weight.device),
        attn_implementation=attention.removeprefix(PREFIX),
        trust_remote_code=trust_remote_code,
    )


def _precision(backbone: Any) -> Precision:
    """Return the precision of a loaded backbone; with fp16 its embeddings are in fp32."""
    found = {parameter.dtype for parameter in backbone.parameters()}
    if torch.float16 in found:
        return "fp16"
    return "bf16" if backbone.get_input_embeddings().weight.dtype == torch.bfloat16 else "fp32"


def _require_same_labels(ours: TrainedLabeler, theirs: TrainedLabeler) -> None:
    # A generative labeler does not have tag probabilities, so its tags are compared.
    if not isinstance(ours, Labeler) or not isinstance(theirs, Labeler):
        one, other = (labeler.predict_words([TEXT])[0].tags for labeler in (ours, theirs))
        if one != other:
            raise ModelError(
                f"the tags of {' '.join(TEXT)!r} were {one} before saving and are {other} after loading."
            )
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
    # NaN is not equal to NaN, but diverged weights that are saved correctly must not raise here.
    return wanted.shape == theirs.shape and torch.equal(wanted.nan_to_num(), theirs.nan_to_num())
