"""LoRA pairs in a backbone: put on exactly the weights that are named, filled, and listed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lookboth.errors import ModelError
from lookboth.quiet import without_peft_warnings

if TYPE_CHECKING:
    from peft import LoraConfig

_ADAPTER = "default"  # PEFT's name for the only adapter of a model


def attach_pairs(backbone: Any, lora: "LoraConfig", *, empty: bool = False) -> Any:
    """Return `backbone` wrapped by PEFT with fresh pairs on what `lora` names, in fp32 where weights are smaller.

    PEFT rewrites names in models whose configuration it knows, for adapters made for transformers 4: `gate_proj`
    becomes "the experts of every layer" in a mixture of experts. The pairs are therefore put into the modules without
    the configuration.

    Args:
        backbone: a Hugging Face model.
        lora: names modules and parameters; a name without dots stands for all that end with it.
        empty: make pairs without memory (on the device "meta"), to be filled by `fill_pairs`.

    Raises:
        ValueError: PEFT cannot put pairs there.
    """
    from peft import LoraConfig, get_peft_model
    from peft.utils.constants import DUMMY_TARGET_MODULES

    with without_peft_warnings():
        model: Any = get_peft_model(backbone, LoraConfig(target_modules=DUMMY_TARGET_MODULES))
        model.peft_config[_ADAPTER] = lora
        model.base_model.inject_adapter(_without_config(backbone), _ADAPTER, low_cpu_mem_usage=empty)
    for parameter in _pairs(model).values():
        if parameter.dtype in {torch.bfloat16, torch.float16}:
            parameter.data = parameter.data.float()  # small updates would vanish in half precision
    return model


@torch.no_grad()
def fill_pairs(model: Any, weights: Mapping[str, torch.Tensor], *, dtype: torch.dtype) -> None:
    """Load `weights` into the pairs of `model`, every one of them and nothing else.

    Args:
        model: from `attach_pairs`.
        weights: by PEFT's names, as `adapter_files.save_adapter` writes them.
        dtype: that the pairs then have.

    Raises:
        ModelError: names or shapes differ.
    """
    pairs = {_saved_name(name): name for name in _pairs(model)}
    missing, unknown = pairs.keys() - weights.keys(), weights.keys() - pairs.keys()
    if missing or unknown:
        raise ModelError(
            f"{len(missing)} LoRA weights are missing and {len(unknown)} unknown, for example "
            f"{min(missing | unknown)!r}."
        )
    for name, place in pairs.items():
        shape = model.get_parameter(place).shape
        if weights[name].shape != shape:
            raise ModelError(
                f"{name} has shape {tuple(weights[name].shape)}, the model needs {tuple(shape)}."
            )
    device = model.get_input_embeddings().weight.device
    state = {place: weights[name].to(device, dtype) for name, place in pairs.items()}
    model.load_state_dict(state, strict=False, assign=True)
    lost = [name for name, value in _pairs(model).items() if not _is_same(value, state[name])]
    if lost:
        raise ModelError(f"{len(lost)} LoRA weights were not taken by the model, for example {min(lost)!r}.")


def paired_weights(model: nn.Module) -> set[str]:
    """Return the full names, in a model without adapter, of the modules and parameters that have a pair."""
    found = set()
    for name, module in model.named_modules():
        if not hasattr(module, "lora_A") or not (module.lora_A or module.lora_embedding_A):
            continue
        path = stock_name(name)
        parameter = getattr(module, "parameter_name", None)
        found.add(f"{path}.{parameter}" if parameter else path)
    return found


def stock_name(name: str) -> str:
    """Return the name that a module or weight has without PEFT.

    >>> stock_name("base_model.model.layers.0.mlp.experts.base_layer.base_layer.down_proj")
    'layers.0.mlp.experts.down_proj'
    """
    return name.replace("base_model.model.", "", 1).replace(".base_layer", "")


def _without_config(backbone: nn.Module) -> nn.Module:
    """Return a module with the same children, which are shared: what is replaced in one is replaced in the other."""
    shell = nn.Module()
    shell._modules, shell._parameters = backbone._modules, backbone._parameters
    return shell


def _pairs(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if ".lora_" in name}


def _saved_name(name: str) -> str:
    """Return the name that PEFT saves a weight of a pair by; DoRA's magnitudes lose their last part."""
    place = name.replace(f".{_ADAPTER}", "")
    return place.removesuffix(".weight") if "lora_magnitude_vector" in place else place


def _is_same(value: torch.Tensor, wanted: torch.Tensor) -> bool:
    return value.device == wanted.device and torch.equal(value.nan_to_num(), wanted.nan_to_num())
