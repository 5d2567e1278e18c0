"""The attention and mask functions registered with transformers, one pair per backend: `lookboth_sdpa`, ..."""

from dataclasses import dataclass
from typing import Any

import transformers
from torch import Tensor, nn
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
from transformers.modeling_utils import AttentionInterface

from lookboth.compat import under_attention_name
from lookboth.errors import PlanError
from lookboth.masking.masks import LayerMasks
from lookboth.masking.notation import Reach
from lookboth.masking.packed_rows import current_prompt, current_segments
from lookboth.masking.plan import MaskPlan
from lookboth.masking.query_blocks import attend
from lookboth.masking.structure import Stack, stock_attention
from lookboth.masking.varlen import VARLEN

PREFIX = "lookboth_"
# Attribute of an attention module: its LayerRule.
RULE = "lookboth_rule"
# Arguments that transformers passes to a mask function. The names are checked on each call: otherwise an argument that
# is renamed upstream would silently take its default and change masks.
NEEDED = {
    "batch_size",
    "q_length",
    "kv_length",
    "q_offset",
    "kv_offset",
    "mask_function",
    "attention_mask",
    "allow_is_causal_skip",
    "dtype",
    "config",
    "use_vmap",
    "device",
}
OPTIONAL = {"allow_is_bidirectional_skip", "local_size"}


@dataclass(slots=True)
class LayerRule:
    """The mask rule of one attention module under the plan.

    Args:
        reach: tokens to the right it may attend to; None: no limit.
        stock: the attention function the module calls without a plan; None if it computes attention itself.
        is_encoder: whether the stock layer is bidirectional.
        visited: whether a forward pass has used this rule since the plan was applied.
        strength: gate of the attention to the right, a scalar in [0, 1] (see `set_gates`); None: no gate.
    """

    reach: Reach
    stock: Any
    is_encoder: bool = False
    visited: bool = False
    strength: Tensor | None = None


def backends() -> list[str]:
    """Return the names of the stock backends a plan can be applied to."""
    # The registry also contains the pairs registered below.
    return [name for name in ALL_MASK_ATTENTION_FUNCTIONS if not name.startswith(PREFIX)]


def computes_in_halves(backend: str) -> bool:
    """Whether a stock backend accepts half precision (bf16, fp16) only, on a GPU."""
    return backend == VARLEN or "flash" in backend


def build_rules(stack: Stack, backend: str, plan: MaskPlan) -> list[LayerRule]:
    """Return the rule of every layer with its stock attention function, nearest the input first."""
    return [
        LayerRule(reach, None if stack.own_attention else stock_attention(module, backend), stack.is_encoder)
        for module, reach in zip(stack.ruled, plan.reach, strict=True)
    ]


def register_backend(backend: str) -> str:
    """Register the pair of functions for a stock backend with transformers and return its name.

    Raises:
        PlanError: transformers does not have a mask function for this backend.
    """
    if backend not in backends():
        raise PlanError(
            f"attn_implementation='{backend}' has no mask function in transformers, so a plan would have no effect; "
            f"allowed are {', '.join(backends())}. Load the model with attn_implementation='sdpa'."
        )

    def mask(**arguments: Any) -> LayerMasks:
        return build_layer_masks(backend, arguments)

    AttentionMaskInterface.register(PREFIX + backend, mask)
    # All backends without an entry are variants of flash attention.
    AttentionInterface.register(PREFIX + backend, _ATTENTION.get(backend, _flash_attention))
    return PREFIX + backend


def build_layer_masks(backend: str, arguments: dict[str, Any]) -> LayerMasks:
    """Return the masks of a forward pass from the arguments transformers passes to a mask function.

    Masks that were built outside the text model (PaliGemma) and arrive as its attention mask are returned unchanged.

    Raises:
        PlanError: this version of transformers uses other argument names.
    """
    missing, unknown = NEEDED - arguments.keys(), arguments.keys() - NEEDED - OPTIONAL
    if missing or unknown:
        found = [f"does not pass {', '.join(sorted(missing))}"] if missing else []
        found += [f"passes the unknown {', '.join(sorted(unknown))}"] if unknown else []
        raise PlanError(
            f"transformers {transformers.__version__} {' and '.join(found)} to a mask function, so a mask could be "
            "wrong. Install the version lookboth was tested with: transformers 5.23."
        )
    given = arguments["attention_mask"]
    return given if isinstance(given, LayerMasks) else LayerMasks(backend, arguments)


def pick(module: nn.Module, masks: Any) -> tuple[LayerRule, Any]:
    """Return the rule of this module and the mask of its reach.

    Raises:
        PlanError: the module does not have a rule, or the mask was not built by the plan's mask function.
    """
    rule = getattr(module, RULE, None)
    if rule is None:
        raise PlanError(
            f"{type(module).__name__} has the configuration of a model with a mask plan, but the plan was not "
            "applied to it. Call apply_plan(model)."
        )
    if not isinstance(masks, LayerMasks):
        raise PlanError(
            f"{type(module).__name__} got an attention mask of type {type(masks).__name__} that transformers' "
            "mask functions did not build. Pass attention_mask as a padding mask of shape (batch, tokens), or "
            "None; a 4-D mask cannot be combined with a plan."
        )
    rule.visited = True
    masks.bind(current_segments(), is_encoder=rule.is_encoder, prompt=current_prompt())
    if rule.strength is not None:
        return rule, masks.with_strength(rule.reach, rule.strength)
    return rule, masks.for_reach(rule.reach)


def _sdpa_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **kwargs: Any
) -> Any:
    rule, mask = pick(module, attention_mask)
    # Pass is_causal explicitly: without a mask the stock function falls back to module.is_causal, which is still True.
    causal = rule.reach == 0 and not rule.is_encoder
    return rule.stock(module, query, key, value, mask, **{**kwargs, "is_causal": causal})


def _plain_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **kwargs: Any
) -> Any:
    rule, mask = pick(module, attention_mask)
    return rule.stock(module, query, key, value, mask, **kwargs)


def _flex_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **kwargs: Any
) -> Any:
    if query.device.type == "cpu" and query.requires_grad:
        raise PlanError(
            "flex_attention cannot be trained on a CPU: torch implements its backward pass for GPUs only. "
            "Load the model with attn_implementation='sdpa' or 'eager', or train on a GPU."
        )
    return _plain_attention(module, query, key, value, attention_mask, **kwargs)


def _eager_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **kwargs: Any
) -> Any:
    rule, mask = pick(module, attention_mask)
    return attend(rule.stock, module, query, key, value, mask, **kwargs)


def _flash_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **kwargs: Any
) -> Any:
    rule, mask = pick(module, attention_mask)
    # Flash attention finds packed texts by one of these arguments; without them texts would mix silently.
    borders = ("position_ids", "cu_seq_lens_q")
    if attention_mask.is_packed and all(kwargs.get(name) is None for name in borders):
        raise PlanError(
            f"{type(module).__name__} does not pass the borders of packed texts to flash attention. "
            "Load the model with attn_implementation='sdpa'."
        )
    stock_module = under_attention_name(module, attention_mask.backend)
    return rule.stock(stock_module, query, key, value, mask, **{**kwargs, "is_causal": rule.reach == 0})


_ATTENTION = {
    "sdpa": _sdpa_attention,
    "eager": _eager_attention,
    "flex_attention": _flex_attention,
    VARLEN: _plain_attention,
}
