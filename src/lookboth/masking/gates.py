"""Gates: a learnable strength in [0, 1] of the attention of each layer to the right."""

from torch import Tensor, nn

from lookboth.errors import PlanError
from lookboth.masking.applied_plan import STATE, AppliedPlan


def set_gates(model: nn.Module, strengths: Tensor | None) -> None:
    """Scale the attention of each bidirectional layer to the tokens on its right; in place.

    The logarithm of the strength is added to the attention scores: 1 leaves the layer as in its plan, 0 makes it
    causal. `apply_plan` and `remove_plan` remove the gates.

    Args:
        model: a model with an active plan and eager attention.
        strengths: one per layer, shape (num_layers,), with or without gradient; None removes the gates.

    Raises:
        PlanError: no plan is active, the backend does not add masks to scores, or the number of strengths is wrong.
    """
    state = _state(model)
    if strengths is None:
        for rule in state.rules:
            rule.strength = None
        return
    # Only the eager mask is a float tensor added to the scores, through which gradients reach the gates.
    if state.backend != "eager":
        raise PlanError(
            f"Gates need a mask that is added to the attention scores; {state.backend} does not use one. "
            "Load the model with attn_implementation='eager'."
        )
    if strengths.shape != (len(state.rules),):
        raise PlanError(
            f"{tuple(strengths.shape)} strengths for {len(state.rules)} layers: pass one per layer."
        )
    for rule, strength in zip(state.rules, strengths, strict=True):
        rule.strength = strength


def _state(model: nn.Module) -> AppliedPlan:
    for module in model.modules():
        state = module.__dict__.get(STATE)
        if state is not None:
            return state
    raise PlanError(
        "No plan is active, and gates scale the layers of a plan. Type apply_plan(model, 'full')."
    )
