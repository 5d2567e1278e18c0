"""Models that cannot take a mask plan: they run unchanged, and only the plan "causal" is accepted for them."""

from typing import Any

import torch

from lookboth.errors import LookbothError, PlanError
from lookboth.masking import IS_STOCK, MaskPlan, apply_plan, own_plan, remove_plan
from lookboth.models.text_pass import pass_over_text

# Relative to the change of the last state; the order of sums may differ between passes.
_ROUNDING = 1e-3


def plan_as_made(backbone: Any) -> MaskPlan:
    """Return the plan of a stock model; "causal" if it cannot take a plan but is measured to read left to right.

    Raises:
        PlanError: the model cannot take a plan, and does not read from left to right.
    """
    try:
        return own_plan(backbone)
    except PlanError as error:
        return _causal(backbone, error)


def use_plan(backbone: Any, plan: MaskPlan | str) -> None:
    """Apply a plan; a causal model that cannot take one accepts "causal" and is marked as stock.

    Raises:
        PlanError: the plan does not fit, or the model cannot take a plan and is not causal.
    """
    try:
        apply_plan(backbone, plan)
    except PlanError as error:
        if takes_plans(backbone):
            raise
        # _causal measures with forward passes and raises for a model that does not read left to right.
        if plan not in ("causal", _causal(backbone, error)):
            raise PlanError(
                f"{error} The unchanged, causal model can be used: leave the plan out."
            ) from error
        remove_plan(backbone)
        setattr(backbone, IS_STOCK, True)


@torch.no_grad()
def reads_left_to_right(backbone: Any) -> bool:
    """Whether the states of all tokens but the last stay the same when the last token changes.

    A third pass repeats the first one: a model whose states differ between equal passes (sampling) returns False.
    """
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


def takes_plans(backbone: Any) -> bool:
    """Whether a plan can be applied to a model."""
    try:
        own_plan(backbone)
    except PlanError:
        return False
    return True
