"""Labelers saved in another form: with the adapter merged, or with fixed labels; checked before they count."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lookboth.errors import ModelError
from lookboth.labelers.labeler import Labeler, require_head
from lookboth.labelers.opening import open_labeler
from lookboth.labelers.reading_back import read_back
from lookboth.models import LabelerModel, default_device, has_adapter, merge_for_good, torch_dtype

if TYPE_CHECKING:
    from lookboth.data import Labels

TOLERANCE = 1e-3
_PROBE = (
    "Ada Lovelace met Charles Babbage in London in June 1833.",
    "Toyota opened a plant in Burnaston, Derbyshire, says the BBC.",
    "no names here , only words",
)


def merge_labeler(labeler: Labeler) -> Labeler:
    """Merge the adapter of a labeler into its backbone; predictions are equal within rounding.

    The weights are changed in place: use the returned labeler, not the argument.

    Raises:
        ModelError: the labeler does not have an adapter, or its backbone is in 4 bits, which would round the sum.
    """
    backbone = labeler.model.backbone
    if not has_adapter(backbone):
        raise ModelError(
            f"nothing to merge: this labeler was trained with adapter = {labeler.config.adapter!r}."
        )
    if getattr(backbone, "is_quantized", False):
        raise ModelError(
            "a labeler in 4 bits cannot be merged. Load it over the unquantised base: "
            "Labeler.from_pretrained(FOLDER, precision='fp32')."
        )
    merged = merge_for_good(backbone)
    config = replace(labeler.config, adapter="merged")
    # A new model around the merged backbone, with a copy of the trained head.
    model = LabelerModel(merged, config, compute_dtype=labeler.model.compute_dtype)
    model.head.load_state_dict(labeler.model.head.state_dict())
    return Labeler(config, model.eval(), labeler.tokenizer)


def merge_to_folder(
    labeler: str, out: str | Path, *, precision: str = "fp32", tolerance: float = TOLERANCE
) -> str:
    """Merge the adapter of `labeler`, save the result, and return a sentence on the difference.

    Args:
        labeler: folder or hub id.
        out: folder for the merged labeler.
        precision: precision of the merged weights; in fp32 only rounding is lost.
        tolerance: largest allowed change of a tag probability on the probe sentences.

    Raises:
        ModelError: the labeler does not have an adapter, or the merged labeler differs by more than `tolerance`
            (nothing is written), or the written labeler differs from the one in memory.
    """
    import numpy as np
    import torch

    from lookboth.data import split_words
    from lookboth.inference import word_log_probs

    # "auto" would load a QLoRA labeler in 4 bits, which cannot be merged.
    if precision == "auto":
        precision = "bf16" if torch_dtype("auto", default_device()) == torch.bfloat16 else "fp32"
    loaded = require_head(open_labeler(labeler, precision=precision, merge=False), "merged")
    words = [[text[start:end] for start, end in split_words(text)] for text in _PROBE]
    # Compute this before merging, which changes the weights of `loaded` in place.
    before = word_log_probs(loaded, words)
    merged = merge_labeler(loaded)
    after = word_log_probs(merged, words)
    difference = max(float(np.abs(np.exp(a) - np.exp(b)).max()) for a, b in zip(before, after, strict=True))
    if difference > tolerance:
        raise ModelError(
            f"{labeler}: merging in {precision} changes a tag probability by {difference:.2g}, more than "
            f"{tolerance:g}. Merge with --precision fp32."
        )
    merged.save_pretrained(out)
    read_back(merged, Path(out))
    return f"merged into {out}; largest change of a tag probability {difference:.1e} (allowed {tolerance:g})"


def fix_labels_to_folder(
    labeler: str, out: str | Path, labels: "Labels | None" = None, *, precision: str = "fp32"
) -> str:
    """Save an open labeler with fixed labels as an ordinary labeler, and return a sentence on it.

    Args:
        labeler: folder or hub id.
        out: folder for the labeler with fixed labels.
        labels: the labels, as in `Labeler.with_labels`; None: those of its training.
        precision: precision of the backbone while the labels are read.

    Raises:
        ModelError: the labels of the labeler are already fixed, or the written labeler differs from the one in memory.
        ConfigError: the labels are not valid.
    """
    opened = require_head(open_labeler(labeler, precision=precision, merge=False), "saved with fixed labels")
    fixed = opened.with_labels(labels or opened.config.known_labels)
    fixed.save_pretrained(out)
    read_back(fixed, Path(out))
    return f"written: {out}, with the labels {', '.join(fixed.config.labels)}"
