"""Saves a plan in the configuration of a PEFT adapter and reads it back.

PEFT drops settings that its own classes do not have. `auto_mapping` is one of its settings, takes any keys and has
no effect on an adapter of a known task, so the plan is written there.
"""

from typing import Any

from torch import nn

from lookboth.compat import adapter_configs, forget_written, write_with_adapter
from lookboth.errors import PlanError

# Key of the configuration, and of an adapter's `auto_mapping`.
PLAN_KEY = "lookboth_plan"


def note_plan(module: Any, *_: Any) -> None:
    """Make the adapters of a model save its active plan; registered as a hook before `state_dict`.

    PEFT asks for the state dict first when it saves, also if the adapter was added after the plan.
    """
    plan = getattr(module.config.get_text_config(decoder=True), PLAN_KEY, None)
    if plan is not None:
        for config in adapter_configs(module):
            write_with_adapter(config, PLAN_KEY, plan)


def forget_plan(module: nn.Module) -> None:
    """Undo `note_plan` for the adapters of one module, and remove the plan they were loaded with."""
    for config in adapter_configs(module):
        forget_written(config, PLAN_KEY)


def adapter_plan(model: nn.Module) -> str | None:
    """Return the plan that was saved with the adapters of a model; None without one.

    Raises:
        PlanError: the adapters were saved under different plans.
    """
    mappings = (
        getattr(config, "auto_mapping", None) or {}
        for module in model.modules()
        for config in adapter_configs(module)
    )
    plans = {str(mapping[PLAN_KEY]) for mapping in mappings if PLAN_KEY in mapping}
    if len(plans) > 1:
        raise PlanError(
            f"The adapters of this model were saved under different plans: {' and '.join(sorted(plans))}. "
            "Type apply_plan(model, ...) with the one you want."
        )
    return next(iter(plans), None)
