"""The state of a plan that is applied to a backbone, and the checks before and after each forward pass."""

from dataclasses import dataclass, field
from typing import Any

from torch.utils.hooks import RemovableHandle
from transformers.utils.import_utils import is_torchdynamo_compiling

from lookboth.compat import attention_name
from lookboth.errors import PlanError
from lookboth.masking.backends import PREFIX, LayerRule
from lookboth.masking.packed_rows import find_segments, set_current_segments
from lookboth.masking.plan import MaskPlan

# Attribute of the backbone: its AppliedPlan.
STATE = "lookboth_state"


@dataclass(slots=True)
class AppliedPlan:
    """The changes `apply_plan` made to a backbone, so that they can be checked and undone.

    Args:
        plan: the active plan.
        backend: the stock attention implementation that the plan uses.
        use_cache: the previous value in the configuration; None where it was not changed.
        rules: the rule of every attention module, nearest the input first.
        parameters: names of the backbone's forward parameters, in order.
        confirmed: whether one forward pass has used the plan's attention in every layer.
        incremental: whether the current pass is incremental, in which layers without final rows do not run.
        hooks: the hooks that were registered with modules of the model.
    """

    plan: MaskPlan
    backend: str
    use_cache: bool | None
    rules: list[LayerRule]
    parameters: list[str]
    confirmed: bool = False
    incremental: bool = False
    hooks: list[RemovableHandle] = field(default_factory=list)


def before_forward(backbone: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Check that the plan is still active and find the packed texts of the batch."""
    state: AppliedPlan = getattr(backbone, STATE)
    if attention_name(backbone.config.get_text_config(decoder=True)) != PREFIX + state.backend:
        raise PlanError(
            f"The attention implementation of {type(backbone).__name__} was changed after apply_plan, which "
            f"deactivated plan '{state.plan}'. Call apply_plan(model, '{state.plan}') again, or "
            "remove_plan(model)."
        )
    # Callers may pass position_ids and attention_mask by position.
    given = dict(zip(state.parameters, args, strict=False)) | kwargs
    set_current_segments(
        find_segments(given.get("position_ids"), given.get("attention_mask"), _num_tokens(given))
    )


def _num_tokens(given: dict[str, Any]) -> int | None:
    ids, states = given.get("input_ids"), given.get("inputs_embeds")
    if ids is not None:
        return int(ids.shape[-1])
    return None if states is None else int(states.shape[1])


def after_forward(backbone: Any, args: tuple[Any, ...], output: Any) -> None:
    """Check after the first forward pass that every layer used the plan's attention."""
    set_current_segments(None)
    state: AppliedPlan = getattr(backbone, STATE)
    # One complete pass is enough, because the layers do not change afterwards.
    if state.confirmed or state.incremental or is_torchdynamo_compiling() or _drops_layers(backbone):
        return
    missed = [str(layer) for layer, rule in enumerate(state.rules) if not rule.visited]
    if missed:
        raise PlanError(
            f"{type(backbone).__name__} ran layers {', '.join(missed)} without the plan's attention: they "
            "use their own attention code and the plan has no effect there. This model cannot take a plan; "
            "call remove_plan(model)."
        )
    state.confirmed = True


def _drops_layers(backbone: Any) -> bool:
    """Whether this forward pass may have skipped whole layers (LayerDrop, as in OPT)."""
    return backbone.training and getattr(backbone.config, "layerdrop", 0) > 0
