"""Applies a mask plan to any Hugging Face decoder or encoder, in place, without copying a model file.

transformers lets a library register an attention function and a mask function under one name. The mask
function here returns one object with every mask the plan needs (`masks.py`). The attention function takes the mask
of its layer and calls the stock backend (`backends.py`). Encoders with their own attention code receive the mask of
each layer through a hook (`own_attention.py`).
"""

import copy
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from lookboth.compat import attention_name, set_attention_name
from lookboth.errors import PlanError
from lookboth.masking.adapter_plan import PLAN_KEY, adapter_plan, forget_plan, note_plan
from lookboth.masking.applied_plan import STATE, AppliedPlan, after_forward, before_forward
from lookboth.masking.backends import PREFIX, RULE, build_rules, register_backend
from lookboth.masking.own_attention import check_own_attention, hook_layers
from lookboth.masking.plan import MaskPlan
from lookboth.masking.structure import Stack, find_stack

# Attribute of a backbone whose configuration was copied.
OWN_CONFIG = "lookboth_own_config"
# Attribute of a causal model that cannot take a plan and runs unchanged.
IS_STOCK = "lookboth_is_stock"

Model = TypeVar("Model", bound=nn.Module)


def apply_plan(model: Model, plan: MaskPlan | str | None = None) -> Model:
    """Apply a mask plan to the layers of `model`, in place, and return the model for chaining.

    Works on a bare backbone, a model with any head, and a model wrapped by PEFT, before or after wrapping.
    An active plan is replaced. The plan is written to the configuration, so `save_pretrained` keeps it, and PEFT
    saves it with an adapter. After `from_pretrained` call `apply_plan(model)` to apply it again. The model's
    configuration is copied first, so other models built from the same object do not change.

    Args:
        model: any Hugging Face decoder or encoder whose attention uses transformers' AttentionInterface, and
            MPNet and DeBERTa. A plan removes the causal mask of a decoder and adds one to an encoder.
        plan: a MaskPlan or any notation of `MaskPlan.parse`; None takes the plan saved with the adapter or in
            the configuration.

    Raises:
        PlanError: the plan does not fit the model, or the model cannot take one.
    """
    stack = find_stack(model)
    wanted = _resolve(adapter_plan(model) if plan is None else plan, stack)
    backend = (attention_name(stack.config) or "eager").removeprefix(PREFIX)
    _check_softcap(stack, backend)
    name = register_backend(backend)
    rules = build_rules(stack, backend, wanted)
    check_own_attention(stack, wanted)
    # Everything that can fail is done above: after an error the model keeps its previous plan.
    remove_plan(model)
    # Copied once: later calls keep the copy, and with it all changes the user made to it.
    if not getattr(stack.backbone, OWN_CONFIG, False):
        _give_own_config(model)
        setattr(stack.backbone, OWN_CONFIG, True)
    for module, rule in zip(stack.ruled, rules, strict=True):
        setattr(module, RULE, rule)
    state = AppliedPlan(wanted, backend, None, rules, [])
    _switch_on(stack, state, name)
    if stack.own_attention:
        state.hooks += hook_layers(stack)
    # PEFT saves the state dict of the wrapped model, which may be the backbone or any model around it.
    for module in _around(model, stack.backbone):
        state.hooks.append(module.register_state_dict_pre_hook(note_plan))
    return model


def remove_plan(model: Model) -> Model:
    """Restore attention, configuration and cache setting of the stock model, in place, and return the model."""
    backbone: Any
    # The backbone is found by its state, because PEFT may have wrapped the model after the plan was applied.
    for backbone in model.modules():
        state = backbone.__dict__.get(STATE)
        if state is None:
            continue
        delattr(backbone, STATE)
        for hook in state.hooks:
            hook.remove()
        for module in backbone.modules():
            module.__dict__.pop(RULE, None)
        config = backbone.config.get_text_config(decoder=True)
        set_attention_name(config, state.backend)
        config.__dict__.pop(PLAN_KEY, None)
        for module in _around(model, backbone):
            forget_plan(module)
        if state.use_cache is not None:
            config.use_cache = state.use_cache
    return model


@contextmanager
def under_plan(model: nn.Module, plan: MaskPlan | None) -> Iterator[None]:
    """Apply `plan` inside the context (None: the stock model); restore the previous plan at its end."""
    before = get_plan(model)
    try:
        _switch_to(model, plan)
        yield
    finally:
        _switch_to(model, before)


def get_plan(model: nn.Module) -> MaskPlan | None:
    """Return the active plan of `model`; None for a stock model."""
    for module in model.modules():
        state = module.__dict__.get(STATE)
        if state is not None:
            return state.plan
    return None


def is_stock(model: nn.Module) -> bool:
    """Whether a causal model cannot take a plan and runs unchanged (see `models.stock.use_plan`)."""
    return any(module.__dict__.get(IS_STOCK, False) for module in model.modules())


def own_plan(model: nn.Module) -> MaskPlan:
    """Return the plan of the stock model: causal for a decoder, full for an encoder.

    Raises:
        PlanError: the model cannot take a plan.
    """
    stack = find_stack(model)
    return MaskPlan((None if stack.is_encoder else 0,) * len(stack.layers))


def fit_plan(model: nn.Module, plan: MaskPlan | str | None) -> MaskPlan:
    """Return a plan for the layers of `model` without applying it; None: the plan of the stock model.

    Raises:
        PlanError: the plan does not fit the model, or the model cannot take one.
    """
    own = own_plan(model)
    if plan is None:
        return own
    stack = find_stack(model)
    fitted = _resolve(plan, stack)
    # Both calls raise a PlanError if the plan cannot be applied to this model.
    build_rules(stack, "eager", fitted)
    check_own_attention(stack, fitted)
    return fitted


def change_backend(model: nn.Module, name: str) -> None:
    """Change the attention backend of `model` in place; an active plan stays active.

    Args:
        model: a model with or without a plan.
        name: name of the stock backend, for example "eager".

    Raises:
        PlanError: a plan cannot be applied to this backend.
    """
    # Under a plan the model has the name of the plan's backend, so the plan is removed for the change.
    plan = get_plan(model)
    remove_plan(model)
    next(module for module in model.modules() if isinstance(module, PreTrainedModel)).set_attn_implementation(
        name
    )
    if plan is not None:
        apply_plan(model, plan)


def _switch_to(model: nn.Module, plan: MaskPlan | None) -> None:
    if plan is None:
        remove_plan(model)
    # A stock model is already causal, and a plan cannot be applied to it.
    elif get_plan(model) != plan and not (plan.is_causal and is_stock(model)):
        apply_plan(model, plan)


def _resolve(plan: MaskPlan | str | None, stack: Stack) -> MaskPlan:
    num_layers = len(stack.layers)
    saved = getattr(stack.config, PLAN_KEY, None)
    if plan is None and saved is None:
        raise PlanError(
            "No plan was given and the model's configuration contains none. Type apply_plan(model, '0011')."
        )
    if isinstance(plan, str):
        return MaskPlan.parse(plan, num_layers)
    if plan is None:
        # The saved plan is spelled out with one reach per layer, so its own length is its number of layers.
        plan = MaskPlan.parse(str(saved), str(saved).removesuffix(",").count(",") + 1)
    if plan.num_layers != num_layers:
        raise PlanError(
            f"The plan is for {plan.num_layers} layers but {type(stack.backbone).__name__} has "
            f"{num_layers}. Type MaskPlan.parse('{plan}', {num_layers}) or apply_plan(model, '0011')."
        )
    return plan


def _check_softcap(stack: Stack, backend: str) -> None:
    softcap = getattr(stack.config, "attn_logit_softcapping", None)
    if backend == "sdpa" and softcap is not None:
        raise PlanError(
            f"{type(stack.backbone).__name__} caps its attention scores (attn_logit_softcapping="
            f"{softcap}), which sdpa does not support. Load it with attn_implementation='eager' or 'flex_attention'."
        )


def _around(model: nn.Module, backbone: nn.Module) -> list[PreTrainedModel]:
    """Return the transformers models in `model` that contain `backbone`, including itself."""
    owners = (module for module in model.modules() if isinstance(module, PreTrainedModel))
    return [owner for owner in owners if any(module is backbone for module in owner.modules())]


def _give_own_config(model: nn.Module) -> None:
    """Replace every configuration in the model by a copy; modules that shared one share the copy."""
    # One memo for all copies: modules that shared a configuration object share its copy.
    copies: dict[int, Any] = {}
    module: Any
    for module in model.modules():
        config = module.__dict__.get("config")
        if isinstance(config, PreTrainedConfig):
            module.config = copy.deepcopy(config, copies)


def _switch_on(stack: Stack, state: AppliedPlan, name: str) -> None:
    backbone, config = stack.backbone, stack.config
    state.parameters = list(inspect.signature(backbone.forward).parameters)
    # With attention to the right, cached states would change with every new token.
    if not state.plan.is_causal and hasattr(config, "use_cache"):
        state.use_cache = config.use_cache
        config.use_cache = False
    set_attention_name(config, name)
    setattr(config, PLAN_KEY, state.plan.spelled_out())
    setattr(backbone, STATE, state)
    state.hooks.append(backbone.register_forward_pre_hook(before_forward, with_kwargs=True))
    state.hooks.append(backbone.register_forward_hook(after_forward))
