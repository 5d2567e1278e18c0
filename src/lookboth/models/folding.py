"""Adapters of a model for inference: plain ones are added to its weights, or kept apart where others share these.

Other adapters are left to PEFT.
Importing PEFT takes longer than loading a small labeler, and it imports bitsandbytes where that is installed.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from lookboth.compat import adapter_configs
from lookboth.errors import ModelError
from lookboth.models.adapter_settings import AdapterSettings
from lookboth.models.lora import attach_pairs, check_pairs, fill_pairs
from lookboth.models.products import OneDnnLinear
from lookboth.models.shared_backbone import Pair, SharedBackbone, row_pairs, stock_of

_FOLDED = "lookboth_folded"  # attribute of a backbone
_LINEAR = {nn.Linear, OneDnnLinear, Conv1D}


@dataclass(frozen=True)
class FoldedPairs:
    """An adapter that was added to the weights of a backbone, kept for saving.

    Args:
        settings: settings of the adapter.
        weights: the weights of its pairs by PEFT's names.
    """

    settings: AdapterSettings
    weights: Mapping[str, Tensor]


def plain_places(backbone: Any, settings: AdapterSettings) -> dict[str, nn.Module]:
    """Return the modules that an adapter changes if all are linear layers and its pairs are plain; else an empty dict.

    DoRA, experts, embeddings, and layers in 4 bits or with another adapter are not plain.
    """
    quantized = getattr(backbone, "is_quantized", False)
    if settings.use_dora or settings.target_parameters or quantized or adapter_configs(backbone):
        return {}
    places = {name: module for name, module in backbone.named_modules() if settings.names_module(name)}
    # Subclasses, such as quantized layers, have other weights.
    return places if all(type(module) in _LINEAR for module in places.values()) else {}


@torch.no_grad()
def fold_pairs(
    backbone: Any,
    places: Mapping[str, nn.Module],
    settings: AdapterSettings,
    weights: Mapping[str, Tensor],
    *,
    dtype: torch.dtype,
) -> None:
    """Add the products of plain pairs to the weights of a backbone, in place; the sums are the ones of PEFT.

    Args:
        backbone: a Hugging Face model; places: its modules, found by `plain_places`.
        settings, weights: see `read_adapter`.
        dtype: dtype of the pairs, to which PEFT would convert them.

    Raises:
        ModelError: names or shapes differ; no weight was changed.
    """
    kept = _fitting(backbone, places, settings, weights, dtype)
    for name, module in places.items():
        a, b = (kept[pair] for pair in _pair_names(name))
        module.get_parameter("weight").data += _product(a, b, settings.scaling_of(name), module)
    backbone.requires_grad_(False)
    setattr(backbone, _FOLDED, FoldedPairs(settings, kept))


def keep_pairs(
    backbone: Any,
    places: Mapping[str, nn.Module],
    settings: AdapterSettings,
    weights: Mapping[str, Tensor],
    *,
    dtype: torch.dtype,
) -> SharedBackbone:
    """Return a shared backbone with plain pairs apart from its weights; arguments and errors as in `fold_pairs`."""
    rows = row_pairs(backbone)
    assert rows is not None
    kept = _fitting(backbone, places, settings, weights, dtype)
    backbone.requires_grad_(False)
    rows.take(backbone, places)
    pairs = {}
    for name in places:
        a, b = (kept[pair] for pair in _pair_names(name))
        pairs[name] = Pair(a, b, settings.scaling_of(name))
    model = SharedBackbone(backbone, pairs)
    setattr(model, _FOLDED, FoldedPairs(settings, kept))
    return model


def fold_adapter(backbone: Any) -> None:
    """Merge the adapter into the weights in memory, if there is one and the weights are not in 4 bits.

    Inference is a fifth faster and equal within rounding. Saving still writes the adapter separately. The model cannot
    be trained afterwards, see `require_trainable`.
    """
    if hasattr(backbone, "merge_adapter") and not getattr(backbone, "is_quantized", False):
        backbone.merge_adapter()


def has_adapter(backbone: Any) -> bool:
    """Whether a backbone has an adapter, separate or added to the weights."""
    return hasattr(backbone, "merge_and_unload") or hasattr(backbone, _FOLDED)


def is_folded(backbone: Any) -> bool:
    """Return whether the adapter was merged into the weights in memory."""
    merged = (getattr(module, "merged", False) is True for module in backbone.modules())
    return hasattr(backbone, _FOLDED) or any(merged)


def merge_for_good(backbone: Any) -> Any:
    """Return a backbone with the adapter in its weights, from which the adapter can no longer be saved; in place.

    Raises:
        ModelError: the weights belong to several labelers.
    """
    if isinstance(backbone, SharedBackbone):
        raise ModelError(
            "the weights of this labeler belong to others as well, so nothing can be merged into them. Load it alone: "
            "Labeler.from_pretrained(FOLDER)"
        )
    if hasattr(backbone, _FOLDED):
        delattr(backbone, _FOLDED)
        return backbone
    # PEFT warns if it is to merge an adapter twice.
    return backbone.unload() if is_folded(backbone) else backbone.merge_and_unload()


def with_pairs_apart(backbone: Any) -> Any:
    """Return a backbone whose adapter PEFT can save.

    For folded and shared pairs this is a copy that shares all weights. It must only be saved, since it would add folded
    pairs twice.
    """
    folded: FoldedPairs | None = getattr(backbone, _FOLDED, None)
    if folded is None:
        return backbone
    model = attach_pairs(sharing_copy(stock_of(backbone)), folded.settings.to_lora(), empty=True)
    fill_pairs(model, folded.weights, dtype=next(iter(folded.weights.values())).dtype)
    return model


def sharing_copy(backbone: Any) -> Any:
    """Return a copy of a model that shares all tensors with it; modules can be replaced in one of them."""
    # Recurrent layers keep their last state as an attribute, and deepcopy refuses tensors with a gradient.
    kept = [
        value for module in backbone.modules() for value in vars(module).values() if torch.is_tensor(value)
    ]
    # As the memo of deepcopy, this makes the copy refer to the original tensors.
    shared = {id(tensor): tensor for tensor in (*backbone.parameters(), *backbone.buffers(), *kept)}
    return copy.deepcopy(backbone, shared)


def require_trainable(backbone: Any) -> None:
    """Check that the adapter was not merged into the weights, where it would not get gradients.

    Raises:
        ModelError: the adapter was merged, or the weights belong to several labelers.
    """
    if is_folded(backbone) or row_pairs(backbone) is not None:
        raise ModelError(
            "the adapter of this labeler is merged into its weights, or it shares them with other labelers, so it "
            "cannot be trained. Load it with merge=False: Labeler.from_pretrained(FOLDER, merge=False)"
        )


def _fitting(
    backbone: Any,
    places: Mapping[str, nn.Module],
    settings: AdapterSettings,
    weights: Mapping[str, Tensor],
    dtype: torch.dtype,
) -> dict[str, Tensor]:
    """Return the weights of pairs on the device of the backbone; errors as in `fold_pairs`."""
    shapes = [_pair_shapes(name, module, settings.rank_of(name)) for name, module in places.items()]
    check_pairs({name: shape for pair in shapes for name, shape in pair.items()}, weights)
    device = backbone.get_input_embeddings().weight.device
    return {name: value.to(device, dtype) for name, value in weights.items()}


def _pair_names(name: str) -> tuple[str, str]:
    """Return the names under which PEFT saves the matrices A and B of a module."""
    return f"base_model.model.{name}.lora_A.weight", f"base_model.model.{name}.lora_B.weight"


def _pair_shapes(name: str, module: nn.Module, rank: int) -> dict[str, tuple[int, ...]]:
    weight = module.get_parameter("weight")
    size_out, size_in = reversed(weight.shape) if isinstance(module, Conv1D) else weight.shape
    return dict(zip(_pair_names(name), ((rank, size_in), (size_out, rank)), strict=True))


def _product(a: Tensor, b: Tensor, scaling: float, module: nn.Module) -> Tensor:
    """Return scaling * BA in the layout of the module's weight, in the order of operations of PEFT's merge."""
    dtype = a.dtype
    if a.device.type == "cpu" and dtype in {torch.bfloat16, torch.float16}:
        # Some CPUs multiply slowly in half precision.
        a, b = a.float(), b.float()
    # In place: the memory of a second product costs as much as computing it.
    product = (b @ a).mul_(scaling)
    return (product.T if isinstance(module, Conv1D) else product).to(dtype)
