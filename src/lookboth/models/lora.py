"""LoRA pairs in a backbone: attached to named weights only, filled with weights, and listed.

A LoRA pair is the two low-rank matrices A and B of one weight.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lookboth.compat import wrap_as_named
from lookboth.errors import ModelError
from lookboth.quiet import without_peft_warnings

if TYPE_CHECKING:
    from peft import LoraConfig

_ADAPTER = "default"  # PEFT's name for the only adapter of a model


def attach_pairs(backbone: Any, lora: "LoraConfig", *, empty: bool = False) -> Any:
    """Wrap `backbone` with PEFT and attach new pairs to the weights that `lora` names.

    Pairs in half precision are converted to fp32.

    Args:
        backbone: a Hugging Face model.
        lora: names modules and parameters; a name without dots matches all names that end with it.
        empty: create the pairs on the device "meta", without memory, for `fill_pairs`.

    Raises:
        ValueError: PEFT cannot attach pairs there.
    """
    with without_peft_warnings():
        model = wrap_as_named(backbone, lora, _ADAPTER, empty=empty)
    for parameter in _pairs(model).values():
        if parameter.dtype in {torch.bfloat16, torch.float16}:
            # In half precision small updates would be rounded to zero.
            parameter.data = parameter.data.float()
    return model


@torch.no_grad()
def fill_pairs(model: Any, weights: Mapping[str, torch.Tensor], *, dtype: torch.dtype) -> None:
    """Load `weights` into the pairs of `model`; each pair must have a weight and each weight a pair.

    Args:
        model: the output of `attach_pairs`.
        weights: weights by PEFT's names, as written by `adapter_files.save_adapter`.
        dtype: dtype of the pairs afterwards.

    Raises:
        ModelError: names or shapes differ.
    """
    pairs = {_saved_name(name): name for name in _pairs(model)}
    check_pairs({name: model.get_parameter(place).shape for name, place in pairs.items()}, weights)
    device = model.get_input_embeddings().weight.device
    state = {place: weights[name].to(device, dtype) for name, place in pairs.items()}
    model.load_state_dict(state, strict=False, assign=True)
    # load_state_dict(strict=False) ignores unknown names silently, so the result is compared.
    lost = [name for name, value in _pairs(model).items() if not _is_same(value, state[name])]
    if lost:
        raise ModelError(f"{len(lost)} LoRA weights were not loaded by the model, for example {min(lost)!r}.")


def check_pairs(shapes: Mapping[str, tuple[int, ...]], weights: Mapping[str, torch.Tensor]) -> None:
    """Check that each pair has a weight of its shape, and each weight a pair.

    Args:
        shapes: shapes that the model needs, by PEFT's names; weights: weights by the same names.

    Raises:
        ModelError: names or shapes differ.
    """
    missing, unknown = shapes.keys() - weights.keys(), weights.keys() - shapes.keys()
    if missing or unknown:
        raise ModelError(
            f"{len(missing)} LoRA weights are missing and {len(unknown)} unknown, for example "
            f"{min(missing | unknown)!r}."
        )
    for name, shape in shapes.items():
        if weights[name].shape != shape:
            raise ModelError(
                f"{name} has shape {tuple(weights[name].shape)}, the model needs {tuple(shape)}."
            )


def paired_weights(model: nn.Module) -> set[str]:
    """Return the full names, as in a model without adapter, of the modules and parameters with a pair."""
    found = set()
    for name, module in model.named_modules():
        if not hasattr(module, "lora_A") or not (module.lora_A or module.lora_embedding_A):
            continue
        path = stock_name(name)
        parameter = getattr(module, "parameter_name", None)
        found.add(f"{path}.{parameter}" if parameter else path)
    return found


def stock_name(name: str) -> str:
    """Return the name of a module or weight as in a model without PEFT.

    >>> stock_name("base_model.model.layers.0.mlp.experts.base_layer.base_layer.down_proj")
    'layers.0.mlp.experts.down_proj'
    """
    return name.replace("base_model.model.", "", 1).replace(".base_layer", "")


def _pairs(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if ".lora_" in name}


def _saved_name(name: str) -> str:
    """Return the name under which PEFT saves a weight of a pair; DoRA's magnitudes lose the suffix ".weight"."""
    place = name.replace(f".{_ADAPTER}", "")
    return place.removesuffix(".weight") if "lora_magnitude_vector" in place else place


def _is_same(value: torch.Tensor, wanted: torch.Tensor) -> bool:
    # Diverged weights may contain NaN, which is not equal to itself.
    return value.device == wanted.device and torch.equal(value.nan_to_num(), wanted.nan_to_num())
