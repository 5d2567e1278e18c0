"""Saves a plan in the configuration of a PEFT adapter and reads it back.

PEFT drops settings that its own classes do not have. `auto_mapping` is one of its settings, takes any keys and has
no effect on an adapter of a known task, so the plan is written there.
"""

from functools import partial
from typing import Any

from torch import nn

from lookboth.errors import PlanError

PLAN_KEY = "lookboth_plan"  # key of the configuration, and of an adapter's `auto_mapping`


def note_plan(module: Any, *_: Any) -> None:
    """Make the adapters of a model save its active plan; registered as a hook before `state_dict`.

    PEFT asks for the state dict first when it saves, also if the adapter was added after the plan.
    """
    plan = getattr(module.config.get_text_config(decoder=True), PLAN_KEY, None)
    if plan is not None:
        for config in _adapters(module):
            # On the instance: other adapters of the same class must not save this plan.
            config.save_pretrained = partial(_save, config, plan)


def forget_plan(module: nn.Module) -> None:
    """Undo `note_plan` for the adapters of one module, and remove the plan they were loaded with."""
    for config in _adapters(module):
        vars(config).pop("save_pretrained", None)
        if getattr(config, "auto_mapping", None):
            config.auto_mapping.pop(PLAN_KEY, None)


def adapter_plan(model: nn.Module) -> str | None:
    """Return the plan that was saved with the adapters of a model; None without one.

    Raises:
        PlanError: the adapters were saved under different plans.
    """
    mappings = (
        getattr(config, "auto_mapping", None) or {}
        for module in model.modules()
        for config in _adapters(module)
    )
    plans = {str(mapping[PLAN_KEY]) for mapping in mappings if PLAN_KEY in mapping}
    if len(plans) > 1:
        raise PlanError(
            f"The adapters of this model were saved under different plans: {' and '.join(sorted(plans))}. "
            "Type apply_plan(model, ...) with the one you want."
        )
    return next(iter(plans), None)


def _adapters(module: nn.Module) -> list[Any]:
    """Return PEFT's configurations of the adapters of a module."""
    configs = vars(module).get("peft_config")
    return list(configs.values()) if isinstance(configs, dict) else []


def _save(config: Any, plan: str, folder: Any, **kwargs: Any) -> None:
    mapping = kwargs.pop("auto_mapping_dict", None) or config.auto_mapping or {}
    type(config).save_pretrained(config, folder, auto_mapping_dict={**mapping, PLAN_KEY: plan}, **kwargs)
