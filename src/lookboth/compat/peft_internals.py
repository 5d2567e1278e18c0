"""Internals of PEFT. Seen to work with PEFT 0.21."""

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import nn

from lookboth.compat.torch_internals import share_children

if TYPE_CHECKING:
    from peft import LoraConfig

_CAST_FLAG = "cast_input_dtype_enabled"


def wrap_as_named(backbone: nn.Module, lora: "LoraConfig", adapter: str, *, empty: bool = False) -> Any:
    """Return `backbone` wrapped by PEFT, with LoRA pairs on exactly the modules and parameters that `lora` names.

    PEFT rewrites names in models whose configuration it knows, for adapters made for transformers 4: `gate_proj`
    becomes "the experts of every layer" in a mixture of experts. No public option turns this off.

    Relies on `DUMMY_TARGET_MODULES`, with which PEFT wraps a model without pairs; on `inject_adapter`, which takes
    settings from `model.peft_config`; and on a module without configuration, whose names PEFT does not rewrite.

    Args:
        backbone: a Hugging Face model.
        lora: settings of the pairs.
        adapter: name of the adapter.
        empty: make pairs without memory (on the device "meta").

    Raises:
        ValueError: PEFT cannot put pairs there.
    """
    from peft import LoraConfig, get_peft_model
    from peft.utils.constants import DUMMY_TARGET_MODULES

    # The model is first wrapped with a configuration that matches nothing, then the pairs are injected.
    model: Any = get_peft_model(backbone, LoraConfig(target_modules=DUMMY_TARGET_MODULES))
    model.peft_config[adapter] = lora
    model.base_model.inject_adapter(share_children(backbone), adapter, low_cpu_mem_usage=empty)
    return model


def cast_lora_inputs(backbone: nn.Module, when: object) -> None:
    """Let LoRA pairs cast their input to the dtype of their weights only while `when` is true.

    Relies on `cast_input_dtype_enabled`, which a layer tests in every forward pass. The public
    `peft.helpers.disable_input_dtype_casting` sets it for a block of code; gradient checkpointing runs layers again
    after that block and would get other casts.

    Args:
        backbone: with or without pairs.
        when: has equality and a truth value that may change; kept in each layer.
    """
    # Without PEFT no module has pairs; visiting all modules takes a twentieth of the time of a short text.
    if "peft" not in sys.modules:
        return
    for module in backbone.modules():
        if getattr(module, _CAST_FLAG, when) != when:
            setattr(module, _CAST_FLAG, when)


def adapter_configs(module: nn.Module) -> list[Any]:
    """Return the settings of the adapters that PEFT has put into a transformers model; else an empty list.

    Relies on the attribute `peft_config` of the model, which both `get_peft_model` and `model.add_adapter` set.
    """
    configs = vars(module).get("peft_config")
    return list(configs.values()) if isinstance(configs, dict) else []


def write_with_adapter(config: Any, key: str, value: str) -> None:
    """Let the settings of an adapter write `key: value` below `auto_mapping` when PEFT saves them.

    PEFT drops keys that its classes do not have when it reads settings; `auto_mapping` takes any keys and has no effect
    on an adapter of a known task. Relies on PEFT saving settings by their own `save_pretrained(folder,
    auto_mapping_dict=...)`.

    Args:
        config: of an adapter.
        key, value: to write.
    """
    # On the instance: other adapters of the same class must not save this value.
    config.save_pretrained = partial(_save, config, key, value)


def forget_written(config: Any, key: str) -> None:
    """Undo `write_with_adapter` and forget the value that was read for `key`."""
    vars(config).pop("save_pretrained", None)
    if getattr(config, "auto_mapping", None):
        config.auto_mapping.pop(key, None)


def _save(config: Any, key: str, value: str, folder: Any, **kwargs: Any) -> None:
    mapping = kwargs.pop("auto_mapping_dict", None) or config.auto_mapping or {}
    type(config).save_pretrained(config, folder, auto_mapping_dict={**mapping, key: value}, **kwargs)
