"""Where LoRA pairs can go in a backbone: the linear layers and experts that read text, by full name."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lookboth.errors import ConfigError, PlanError
from lookboth.masking import find_stack, read_layers
from lookboth.models import OneDnnLinear, modules_that_read_text, paired_weights, stock_name

_LINEAR_TYPES = {"Conv1D", "Linear4bit", "Linear8bitLt"}
_NO_EXPERTS = (nn.Conv1d, nn.ConvTranspose1d)
_LAYER = re.compile(r"(.*?\.)?(\d+)\.")


@dataclass(frozen=True, slots=True)
class Places:
    """Full names of what can have a LoRA pair.

    Args:
        modules: linear layers, and embeddings where they were named.
        experts: parameters that hold one matrix for each expert of a mixture.
    """

    modules: tuple[str, ...]
    experts: tuple[str, ...]

    def named(self, targets: Iterable[str]) -> "Places":
        """Return those whose name is, or ends with, one of `targets`."""
        wanted = tuple(targets)
        return Places(
            *(
                tuple(name for name in names if any(is_named(name, target) for target in wanted))
                for names in (self.modules, self.experts)
            )
        )

    def names(self) -> tuple[str, ...]:
        """Return all of them."""
        return self.modules + self.experts


def find_places(backbone: Any, layers: str | None = None, *, embeddings: bool = False) -> Places:
    """Return what can have a pair in a backbone, in some or all of its layers.

    What a pass over text never enters (towers for images or sound) is left out: a pair there would never be trained.

    Args:
        backbone: a Hugging Face model without vocabulary head and adapter.
        layers: those that are meant, as `read_layers` reads them; the whole model when None.
        embeddings: count tables of embeddings among the modules.

    Raises:
        ConfigError: layers that the model does not have.
        ModelError: the model cannot be run on text.
    """
    called = modules_that_read_text(backbone)
    inside = {name: module for name, module in backbone.named_modules() if _reads(name, called)}
    if layers is not None:
        chosen = {id(module) for layer in _chosen(backbone, layers, called) for module in layer.modules()}
        inside = {name: module for name, module in inside.items() if id(module) in chosen}
    linear = {name for name, module in inside.items() if is_linear(module)}
    tables = {name for name, module in inside.items() if embeddings and isinstance(module, nn.Embedding)}
    counts = _expert_counts(backbone.config.get_text_config())
    experts = [
        f"{name}.{key}"
        for name, module in inside.items()
        if name not in linear and not isinstance(module, _NO_EXPERTS)
        for key in _experts_of(module, counts)
    ]
    return Places(tuple(name for name in inside if name in linear | tables), tuple(experts))


def describe_pairs(model: nn.Module) -> str | None:
    """Return a sentence on which weights have a LoRA pair, and which matrices in the same layers have none.

    None where there are no pairs.
    """
    paired = paired_weights(model)
    if not paired:
        return None
    places = {match[0]: int(match[2]) for name in paired if (match := _LAYER.match(name))}
    kinds = ", ".join(sorted({_kind(name) for name in paired}))
    bare = sorted({_kind(name) for name in _matrices(model) - paired if name.startswith(tuple(places))})
    without = f"; none on {', '.join(bare)}" if bare else ""
    return f"LoRA pairs on {len(paired)} weights of layers {_ranges(sorted({*places.values()}))}: {kinds}{without}"


def is_linear(module: nn.Module) -> bool:
    """Whether a module multiplies by a matrix and gives one tensor, as LoRA needs; some routers give a tuple."""
    if type(module).__name__ in _LINEAR_TYPES:
        return True
    if not isinstance(module, nn.Linear):
        return False
    return type(module).forward in {nn.Linear.forward, OneDnnLinear.forward} or _gives_a_tensor(module)


def is_named(name: str, target: str) -> bool:
    """Whether PEFT takes a module of this full name for `target`."""
    return name == target or name.endswith(f".{target}")


def _reads(name: str, called: set[str]) -> bool:
    """Whether a module was called, or is part of an expert that was not chosen, in a layer that was called.

    A module that was not called although its parent was is only looked into: its pair would never be used.
    """
    parts = name.split(".")
    if name in called or ".".join(parts[:-1]) in called:
        return name in called
    layers = (".".join(parts[: end + 1]) for end, part in enumerate(parts) if part.isdigit())
    return any(layer in called for layer in layers)


def _chosen(backbone: Any, layers: str, called: set[str]) -> list[nn.Module]:
    """Return the modules that hold the chosen layers; where one holds several (LongCat), all must be chosen."""
    stack = _layers(backbone, called)
    try:
        numbers = set(read_layers(layers, len(stack)))
    except PlanError as error:
        raise ConfigError(f"adapter.layers = {layers!r}: {error}") from error
    names = {id(module): name for name, module in backbone.named_modules()}
    holders = [_holder(names[id(layer)]) for layer in stack]
    chosen = {holders[number] for number in numbers}
    together = {number for number, holder in enumerate(holders) if holder in chosen}
    if together != numbers:
        raise ConfigError(
            f"adapter.layers = {layers!r}: layers {_ranges(sorted(together))} of this model share their modules. "
            f"Set adapter.layers = '{','.join(f'{n}-{n}' for n in sorted(together))}', or leave it out."
        )
    return [backbone.get_submodule(name) for name in sorted(chosen)]


def _holder(name: str) -> str:
    """Return the outermost numbered module that a module is in.

    >>> _holder("layers.1.self_attn.0")
    'layers.1'
    """
    match = _LAYER.match(f"{name}.")
    return match[0].rstrip(".") if match else name


def _layers(backbone: Any, called: set[str]) -> list[nn.Module]:
    """Return the layers, nearest the input first; of a model that takes no plan, its first list of that length."""
    try:
        return list(find_stack(backbone).layers)
    except PlanError:
        depth = getattr(backbone.config.get_text_config(), "num_hidden_layers", None)
        for name, module in backbone.named_modules():
            if isinstance(module, nn.ModuleList) and len(module) == depth and f"{name}.0" in called:
                return list(module)
        raise


def _experts_of(module: nn.Module, counts: set[int]) -> list[str]:
    """Return the parameters of a module that hold a matrix for each expert; idle experts may come on top."""
    stacked = {key: value for key, value in module.named_parameters(recurse=False) if value.dim() == 3}
    return list(stacked) if any(value.shape[0] in counts for value in stacked.values()) else []


def _expert_counts(config: Any) -> set[int]:
    """Return the numbers that a configuration gives for experts."""
    return {
        value for key, value in vars(config).items() if "expert" in key and type(value) is int and value > 1
    }


@torch.no_grad()
def _gives_a_tensor(linear: nn.Linear) -> bool:
    x = linear.weight.new_zeros(1, 2, linear.in_features)
    try:
        return isinstance(linear(x), torch.Tensor)
    except (RuntimeError, TypeError, ValueError, IndexError):
        return False


def _matrices(model: nn.Module) -> set[str]:
    """Return the full names of all weights with two axes or more, as `paired_weights` names them."""
    return {
        stock_name(name).removesuffix(".weight")
        for name, value in model.named_parameters()
        if value.dim() > 1 and ".lora_" not in name
    }


def _kind(name: str) -> str:
    """Return the last two parts of a name, without numbers.

    >>> _kind("layers.3.mlp.experts.0.gate_proj")
    'experts.gate_proj'
    """
    return ".".join([part for part in name.split(".") if not part.isdigit()][-2:])


def _ranges(numbers: list[int]) -> str:
    """Return numbers as ranges.

    >>> _ranges([0, 1, 2, 5])
    '0-2, 5'
    """
    return ", ".join(_spans(numbers)) or "outside the stack"


def _spans(numbers: list[int]) -> Iterator[str]:
    start = 0
    for end in range(1, len(numbers) + 1):
        if end == len(numbers) or numbers[end] != numbers[end - 1] + 1:
            first, last = numbers[start], numbers[end - 1]
            yield str(first) if first == last else f"{first}-{last}"
            start = end
