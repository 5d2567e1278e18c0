"""Encoders with their own attention code (MPNet, DeBERTa): each layer receives the mask of its reach.

Their layers take the mask as an argument, so a hook before each layer is enough. MPNet builds its masks
through transformers and gets `LayerMasks` there. DeBERTa builds a mask of ones and zeros itself.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lookboth.errors import PlanError
from lookboth.masking.backends import RULE, LayerRule, pick
from lookboth.masking.masks import LayerMasks
from lookboth.masking.packed_rows import current_segments
from lookboth.masking.plan import MaskPlan
from lookboth.masking.structure import Stack


def check_own_attention(stack: Stack, plan: MaskPlan) -> None:
    """Refuse plans that a mask cannot enforce: the convolution of DeBERTa-v2-xlarge reads both neighbours.

    Raises:
        PlanError: a plan other than full for such a model.
    """
    if _convolves(getattr(stack.backbone, "encoder", None)) and any(
        value is not None for value in plan.reach
    ):
        raise PlanError(
            f"{type(stack.backbone).__name__} mixes tokens outside attention (a convolution after layer 0), which "
            f"reads tokens to the right under any mask. Allowed is 'full' only; found '{plan}'."
        )


def hook_layers(stack: Stack) -> list[RemovableHandle]:
    """Return hooks, registered here, that give each layer its own mask and the encoder the borders of packed texts."""
    encoder: Any = stack.backbone.encoder
    return [
        encoder.register_forward_pre_hook(_separate_texts, with_kwargs=True),
        *(layer.register_forward_pre_hook(_hand_mask, with_kwargs=True) for layer in stack.layers),
    ]


def _hand_mask(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Replace the mask argument of a layer by the mask of its rule."""

    def of_layer(given: Any) -> Any:
        if isinstance(given, LayerMasks):
            return pick(layer, given)[1]
        rule: LayerRule = getattr(layer, RULE)
        rule.visited = True
        if rule.reach is None:
            return given
        # DeBERTa's masks contain ones and zeros, so masks are combined by multiplication.
        places = torch.arange(given.shape[-1], device=given.device)
        return given * (places[None, :] - places[:, None] <= rule.reach)

    return _with_mask(args, kwargs, of_layer)


def _separate_texts(encoder: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Add the borders of packed texts to DeBERTa's mask.

    This happens once per pass, before the layers: gradient checkpointing may run a layer again after the pass, when
    the segments are no longer set.
    """

    def of_row(given: Any) -> Any:
        segments = current_segments()
        if segments is None or isinstance(given, LayerMasks):
            return given
        if _convolves(encoder):
            raise PlanError(
                "A convolution mixes neighbouring packed texts; use one text per row "
                "(training.layout = 'bucketed')."
            )
        return _pairs(given) * (segments[:, None, :, None] == segments[:, None, None, :])

    return _with_mask(args, kwargs, of_row)


def _pairs(mask: Tensor) -> Tensor:
    """Return the pairwise mask (B, 1, T, T) of a padding mask (B, T)."""
    if mask.ndim != 2:
        raise PlanError(
            f"attention_mask has shape {tuple(mask.shape)}; packed rows under a plan take a padding mask of shape "
            "(batch, tokens), or None."
        )
    return mask[:, None, :, None] * mask[:, None, None, :]


def _with_mask(args: tuple[Any, ...], kwargs: dict[str, Any], change: Callable[[Any], Any]) -> Any:
    """Return the arguments of a forward pass with `change` applied to the mask, the second argument."""
    if "attention_mask" in kwargs:
        return args, {**kwargs, "attention_mask": change(kwargs["attention_mask"])}
    return (args[0], change(args[1]), *args[2:]), kwargs


def _convolves(encoder: Any) -> bool:
    return getattr(encoder, "conv", None) is not None
