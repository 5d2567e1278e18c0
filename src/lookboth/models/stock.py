"""Mask plans of models that cannot take one: such a model is used as it was made, under the plan "causal" alone."""

from typing import Any

import torch

from lookboth.errors import LookbothError, PlanError
from lookboth.masking import IS_STOCK, MaskPlan, apply_plan, own_plan, remove_plan
from lookboth.models.text_pass import pass_over_text

_ROUNDING = 1e-3  # of the change of the last state; sums may be taken in another order


def plan_as_made(backbone: Any) -> MaskPlan:
    """Return the plan a model was made with; "causal" for one that takes no plan and is seen to read left to right.

    Raises:
        PlanError: the model takes no plan, and reads otherwise.
    """
    try:
        return own_plan(backbone)
    except PlanError as error:
        return _causal(backbone, error)


def use_plan(backbone: Any, plan: MaskPlan | str) -> None:
    """Apply a plan; a model that takes none is left as it was made where the plan is causal, and marked.

    Raises:
        PlanError: the plan does not fit, or the model takes none and is asked for another than its own.
    """
    try:
        apply_plan(backbone, plan)
    except PlanError as error:
        if _takes_plans(backbone):
            raise
        if plan not in ("causal", _causal(backbone, error)):
            raise PlanError(f"{error} As it was made, causal, it can be used: leave the plan out.") from error
        remove_plan(backbone)
        setattr(backbone, IS_STOCK, True)


@torch.no_grad()
def reads_left_to_right(backbone: Any) -> bool:
    """Whether the states of a text stay what they are when its last token is another, and in another pass."""
    try:
        one, other, again = (pass_over_text(backbone, last=last).last_hidden_state for last in (0, 1, 0))
    except LookbothError:
        return False
    moved = (one - other).abs().amax(-1)[0]
    changed = max(moved[:-1].max(), (one - again).abs().max())
    return bool(moved[-1] > 0) and bool(changed <= _ROUNDING * moved[-1])


def _causal(backbone: Any, error: PlanError) -> MaskPlan:
    depth = getattr(backbone.config.get_text_config(), "num_hidden_layers", None)
    if not isinstance(depth, int) or not reads_left_to_right(backbone):
        raise error
    return MaskPlan((0,) * depth)


def _takes_plans(backbone: Any) -> bool:
    try:
        own_plan(backbone)
    except PlanError:
        return False
    return True
