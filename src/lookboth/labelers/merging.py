"""Labelers saved in another form: with the adapter merged, or with fixed labels; checked before they count."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lookboth.errors import ModelError
from lookboth.labelers.folders import find_folder, require_other_folder
from lookboth.labelers.labeler import Labeler
from lookboth.labelers.labeler_config import read_settings
from lookboth.labelers.opening import kind_of, open_labeler, resolve
from lookboth.labelers.reading_back import read_back
from lookboth.models import LabelerModel, default_device, has_adapter, merge_for_good, torch_dtype

if TYPE_CHECKING:
    from lookboth.data import DemonstrationPool, Labels

TOLERANCE = 1e-3
_PROBE = (
    "Ada Lovelace met Charles Babbage in London in June 1833.",
    "Toyota opened a plant in Burnaston, Derbyshire, says the BBC.",
    "no names here , only words",
)


class Merged(NamedTuple):
    """A labeler whose adapter was merged, and the effect of the merge.

    Args:
        labeler: the merged labeler.
        change: largest change of a probability on the probe sentences.
        of: what the probabilities are of ("tag").
    """

    labeler: Any
    change: float
    of: str


def merge_backbone(backbone: Any, adapter: str) -> Any:
    """Return a backbone with its adapter merged into the weights, in place.

    Args:
        backbone: the backbone of a labeler.
        adapter: kind of adapter, for messages.

    Raises:
        ModelError: the backbone does not have an adapter, or is in 4 bits, which would round the sum.
    """
    if not has_adapter(backbone):
        raise ModelError(f"nothing to merge: this labeler was trained with adapter = {adapter!r}.")
    if getattr(backbone, "is_quantized", False):
        raise ModelError(
            "a labeler in 4 bits cannot be merged. Load it over the unquantised base: "
            "Labeler.from_pretrained(FOLDER, precision='fp32')."
        )
    return merge_for_good(backbone)


def merge_labeler(labeler: Labeler) -> Labeler:
    """Merge the adapter of a labeler into its backbone; predictions are equal within rounding.

    The weights are changed in place: use the returned labeler, not the argument.

    Raises:
        ModelError: the labeler does not have an adapter, or its backbone is in 4 bits, which would round the sum.
    """
    merged = merge_backbone(labeler.model.backbone, labeler.config.adapter)
    config = replace(labeler.config, adapter="merged")
    # A new model around the merged backbone, with a copy of the trained head.
    model = LabelerModel(merged, config, compute_dtype=labeler.model.compute_dtype)
    model.head.load_state_dict(labeler.model.head.state_dict())
    return Labeler(config, model.eval(), labeler.tokenizer)


def merge_and_compare(labeler: Labeler, sentences: Sequence[Sequence[str]]) -> Merged:
    """Merge the adapter of a labeler with a head, and compare its tag probabilities for sentences.

    Raises:
        ModelError: as in `merge_labeler`.
    """
    import numpy as np

    from lookboth.inference import word_log_probs

    # Compute this before merging, which changes the weights of `labeler` in place.
    before = word_log_probs(labeler, sentences)
    merged = merge_labeler(labeler)
    after = word_log_probs(merged, sentences)
    change = max(float(np.abs(np.exp(a) - np.exp(b)).max()) for a, b in zip(before, after, strict=True))
    return Merged(merged, change, "tag")


def merge_to_folder(
    labeler: str, out: str | Path, *, precision: str = "fp32", tolerance: float = TOLERANCE
) -> str:
    """Merge the adapter of `labeler`, save the result, and return a sentence on the difference.

    Args:
        labeler: folder or hub id of a torch labeler, with a head or generative.
        out: folder for the merged labeler.
        precision: precision of the merged weights; in fp32 only rounding is lost.
        tolerance: largest allowed change of a tag probability on the probe sentences; of a token probability for a
            generative labeler.

    Raises:
        ModelError: the labeler does not have an adapter, or the merged labeler differs by more than `tolerance`
            (nothing is written), or the written labeler differs from the one in memory.
        ConfigError: `out` is the folder of the labeler.
    """
    import torch

    from lookboth.data import split_words

    folder = find_folder(labeler)
    require_other_folder(folder, out)
    kind = kind_of(folder, read_settings(folder))
    if kind.merge is None:
        raise ModelError("an exported labeler cannot be merged; use the labeler it was exported from.")
    # "auto" would load a QLoRA labeler in 4 bits, which cannot be merged.
    if precision == "auto":
        precision = "bf16" if torch_dtype("auto", default_device()) == torch.bfloat16 else "fp32"
    words = [[text[start:end] for start, end in split_words(text)] for text in _PROBE]
    merged: Merged = resolve(kind.merge)(open_labeler(folder, precision=precision, merge=False), words)
    if merged.change > tolerance:
        raise ModelError(
            f"{labeler}: merging in {precision} changes a {merged.of} probability by {merged.change:.2g}, more than "
            f"{tolerance:g}. Merge with --precision fp32."
        )
    merged.labeler.save_pretrained(out)
    read_back(merged.labeler, Path(out))
    return f"merged into {out}; largest change of a {merged.of} probability {merged.change:.1e} (allowed {tolerance:g})"


def fix_labels_to_folder(
    labeler: str,
    out: str | Path,
    labels: "Labels | None" = None,
    *,
    demonstrations: "DemonstrationPool | None" = None,
    precision: str = "fp32",
) -> str:
    """Save a labeler with labels named now as an ordinary labeler, and return a sentence on it.

    Args:
        labeler: folder or hub id of an open or generative labeler.
        out: folder for the labeler with these labels.
        labels: the labels, as in `Labeler.with_labels`; None: those of the demonstrations, or of its training.
        demonstrations: sentences with these labels for a generative labeler, as in `GenerativeLabeler.with_labels`.
        precision: precision of the backbone while the labels are read.

    Raises:
        ModelError: the labels of the labeler are already fixed, or the written labeler differs from the one in memory.
        ConfigError: the labels or demonstrations are not valid, or `out` is the folder of the labeler.
    """
    folder = find_folder(labeler)
    require_other_folder(folder, out)
    opened = open_labeler(folder, precision=precision, merge=False)
    fixed: Any = opened.with_labels(labels, demonstrations=demonstrations)
    fixed.save_pretrained(out)
    read_back(fixed, Path(out))
    return f"written: {out}, with the labels {', '.join(fixed.config.labels)}"
