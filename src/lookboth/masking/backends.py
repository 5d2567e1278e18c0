"""The attention and mask functions registered with transformers, one pair a backend: `lookboth_sdpa`, ..."""

from dataclasses import dataclass
from typing import Any

import transformers
from torch import Tensor, nn
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
from transformers.modeling_utils import AttentionInterface

from lookboth.errors import PlanError
from lookboth.masking.masks import LayerMasks
from lookboth.masking.notation import Reach
from lookboth.masking.packed_rows import current_prompt, current_segments
from lookboth.masking.plan import MaskPlan
from lookboth.masking.query_blocks import attend
from lookboth.masking.structure import Stack, stock_attention
from lookboth.masking.varlen import VARLEN

PREFIX = "lookboth_"
RULE = "lookboth_rule"  # attribute of an attention module: its LayerRule
# What transformers tells a mask function. Names are compared on each call: one that is renamed upstream would otherwise
# be taken for a default and change masks without a word.
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
    """What one attention module does under the plan.

    Args:
        reach: how far right it may look.
        stock: the attention function the module would call without a plan; None where it keeps its own.
        is_encoder: whether the stock layer looks both ways.
        visited: whether a forward pass came through here since the plan was applied.
        strength: of what the layer sees on its right, a scalar in [0, 1] (see `set_gates`); None: all of it.
    """

    reach: Reach
    stock: Any
    is_encoder: bool = False
    visited: bool = False
    strength: Tensor | None = None


def backends() -> list[str]:
    """Return the stock backends a plan can be applied to."""
    return [name for name in ALL_MASK_ATTENTION_FUNCTIONS if not name.startswith(PREFIX)]


def computes_in_halves(backend: str) -> bool:
    """Whether a stock backend takes bf16 and fp16 states only, on a GPU."""
    return backend == VARLEN or "flash" in backend


def build_rules(stack: Stack, backend: str, plan: MaskPlan) -> list[LayerRule]:
    """Return the rule of every layer, nearest the input first, its own stock attention function looked up."""
    return [
        LayerRule(reach, None if stack.own_attention else stock_attention(module, backend), stack.is_encoder)
        for module, reach in zip(stack.ruled, plan.reach, strict=True)
    ]


def register_backend(backend: str) -> str:
    """Register the pair for a stock backend with transformers and return its name.

    Raises:
        PlanError: a backend that transformers has no mask function for.
    """
    if backend not in backends():
        raise PlanError(
            f"attn_implementation='{backend}' has no mask function in transformers, so nothing could be "
            f"masked; allowed are {', '.join(backends())}. Load the model with attn_implementation='sdpa'."
        )

    def mask(**arguments: Any) -> LayerMasks:
        return build_layer_masks(backend, arguments)

    AttentionMaskInterface.register(PREFIX + backend, mask)
    AttentionInterface.register(PREFIX + backend, _ATTENTION.get(backend, _flash_attention))
    return PREFIX + backend


def build_layer_masks(backend: str, arguments: dict[str, Any]) -> LayerMasks:
    """Return the masks of a forward pass from the arguments transformers gives a mask function.

    Masks that were made outside the text model (PaliGemma) and come in again as its attention mask stay as they are.

    Raises:
        PlanError: this version of transformers names its arguments otherwise.
    """
    missing, unknown = NEEDED - arguments.keys(), arguments.keys() - NEEDED - OPTIONAL
    if missing or unknown:
        found = [f"does not tell a mask function its {', '.join(sorted(missing))}"] if missing else []
        found += [f"tells a mask function of {', '.join(sorted(unknown))}"] if unknown else []
        raise PlanError(
            f"transformers {transformers.__version__} {' and '.join(found)}, which a plan cannot rely on. "
            "Install the version lookboth was tested with: transformers 5.23."
        )
    given = arguments["attention_mask"]
    return given if isinstance(given, LayerMasks) else LayerMasks(backend, arguments)


def pick(module: nn.Module, masks: Any) -> tuple[LayerRule, Any]:
    """Return the rule of this module and the mask it may see through."""
    rule = getattr(module, RULE, None)
    if rule is None:
        raise PlanError(
            f"{type(module).__name__} runs under a mask plan that was never applied to it: its configuration "
            "comes from a model with a plan. Call apply_plan(model)."
        )
    if not isinstance(masks, LayerMasks):
        raise PlanError(
            f"{type(module).__name__} got an attention mask of type {type(masks).__name__} that did not come "
            "through transformers' mask functions. Pass attention_mask as a padding mask of shape (batch, "
            "tokens), or None; a 4-D mask cannot be combined with a plan."
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
    # Explicit, because without a mask the stock function falls back to module.is_causal, which stays True.
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
            "flex_attention cannot be trained on a CPU: torch has no backward pass for it there. "
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
    borders = ("position_ids", "cu_seq_lens_q")
    if attention_mask.is_packed and all(kwargs.get(name) is None for name in borders):
        raise PlanError(
            f"{type(module).__name__} does not tell flash attention where packed texts begin. "
            "Load the model with attn_implementation='sdpa'."
        )
    stock_module = _Renamed(
        module, config=_Renamed(module.config, _attn_implementation=attention_mask.backend)
    )
    return rule.stock(stock_module, query, key, value, mask, **{**kwargs, "is_causal": rule.reach == 0})


class _Renamed:
    """An object with some attributes replaced: flash attention loads its kernel by the backend's name."""

    def __init__(self, target: Any, **replaced: Any) -> None:
        self._target = target
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)


_ATTENTION = {
    "sdpa": _sdpa_attention,
    "eager": _eager_attention,
    "flex_attention": _flex_attention,
    VARLEN: _plain_attention,
}
