"""Mask plans: which layer may look how far right, put into a model and proved.

`MaskPlan` needs no torch; the names that do are imported when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lookboth.masking.plan import MaskPlan, group_plans, picture

if TYPE_CHECKING:
    from lookboth.masking.attention import apply_plan, get_plan, own_plan, remove_plan
    from lookboth.masking.proof import Proof, prove

__all__ = [
    "MaskPlan",
    "Proof",
    "apply_plan",
    "get_plan",
    "group_plans",
    "own_plan",
    "picture",
    "prove",
    "remove_plan",
]

_NEEDS_TORCH = {
    "apply_plan": "attention",
    "get_plan": "attention",
    "own_plan": "attention",
    "remove_plan": "attention",
    "Proof": "proof",
    "prove": "proof",
}


def __getattr__(name: str) -> Any:
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_NEEDS_TORCH[name]}"), name)
