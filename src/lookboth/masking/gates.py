"""A strength in [0, 1] for what each layer sees on its right, so that gradient descent can weigh the layers."""

from torch import Tensor, nn

from lookboth.errors import PlanError
from lookboth.masking.attention import STATE, AppliedPlan


def set_gates(model: nn.Module, strengths: Tensor | None) -> None:
    """Scale the attention of each bidirectional layer to the tokens on its right; in place.

    The log of the strength is added to their attention scores: 1 is the layer as its plan has it, 0 a causal layer.
    `apply_plan` and `remove_plan` take the gates away.

    Args:
        model: with a plan in force, on eager attention.
        strengths: one a layer, shape (num_layers,), with gradient or without; None: as the plan says.

    Raises:
        PlanError: no plan is in force, the backend's masks are not added to scores, or the number of layers is another.
    """
    state = _state(model)
    if strengths is None:
        for rule in state.rules:
            rule.strength = None
        return
    if state.backend != "eager":
        raise PlanError(
            f"Gates need masks that are added to attention scores; {state.backend} has none. "
            "Load the model with attn_implementation='eager'."
        )
    if strengths.shape != (len(state.rules),):
        raise PlanError(
            f"{tuple(strengths.shape)} strengths for {len(state.rules)} layers: give one a layer."
        )
    for rule, strength in zip(state.rules, strengths, strict=True):
        rule.strength = strength


def _state(model: nn.Module) -> AppliedPlan:
    for module in model.modules():
        state = module.__dict__.get(STATE)
        if state is not None:
            return state
    raise PlanError("No plan is in force whose layers could be gated. Type apply_plan(model, 'full').")
