"""Finding the places for LoRA pairs in a backbone: linear layers and experts in the text path, by full name."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lookboth.errors import ConfigError, PlanError
from lookboth.masking import find_stack, read_layers
from lookboth.models import OneDnnLinear, modules_that_read_text, paired_weights, stock_name

# Compared by name: "Conv1D" is GPT-2's linear layer, the others are classes of bitsandbytes, which may not be
# installed.
_LINEAR_TYPES = {"Conv1D", "Linear4bit", "Linear8bitLt"}
# Their weights also have three dimensions.
_NO_EXPERTS = (nn.Conv1d, nn.ConvTranspose1d)
# The first number in the name of a module is its layer.
_LAYER = re.compile(r"(.*?\.)?(\d+)\.")


@dataclass(frozen=True, slots=True)
class LoraPlaces:
    """Full names of modules and parameters that can have a LoRA pair.

    Args:
        modules: linear layers, and embeddings if they were named.
        experts: parameters that hold one matrix per expert of a mixture.
    """

    modules: tuple[str, ...]
    experts: tuple[str, ...]

    def named(self, targets: Iterable[str]) -> "LoraPlaces":
        """Return the places whose name equals or ends with one of `targets`."""
        wanted = tuple(targets)
        return LoraPlaces(
            *(
                tuple(name for name in names if any(is_named(name, target) for target in wanted))
                for names in (self.modules, self.experts)
            )
        )

    def names(self) -> tuple[str, ...]:
        """Return the names of all modules and experts."""
        return self.modules + self.experts


def find_places(backbone: Any, layers: str | None = None, *, embeddings: bool = False) -> LoraPlaces:
    """Return the places for LoRA pairs in all or some layers of a backbone.

    Modules that a pass over text does not use (towers for images or sound) are excluded: their pairs would
    never be trained.

    Args:
        backbone: a Hugging Face model without vocabulary head and adapter.
        layers: selected layers in the notation of `read_layers`; None for the whole model.
        embeddings: whether to include embedding tables in the modules.

    Raises:
        ConfigError: the model does not have these layers.
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
    return LoraPlaces(tuple(name for name in inside if name in linear | tables), tuple(experts))


def describe_pairs(model: nn.Module) -> str | None:
    """Describe which weights have a LoRA pair, and which matrices of the same layers do not; None without pairs."""
    paired = paired_weights(model)
    if not paired:
        return None
    places = {match[0]: int(match[2]) for name in paired if (match := _LAYER.match(name))}
    kinds = ", ".join(sorted({_kind(name) for name in paired}))
    bare = sorted({_kind(name) for name in _matrices(model) - paired if name.startswith(tuple(places))})
    without = f"; none on {', '.join(bare)}" if bare else ""
    return f"LoRA pairs on {len(paired)} weights of layers {_ranges(sorted({*places.values()}))}: {kinds}{without}"


def is_linear(module: nn.Module) -> bool:
    """Return whether a module multiplies by a matrix and returns one tensor, as LoRA needs; some routers return
    a tuple.
    """
    if type(module).__name__ in _LINEAR_TYPES:
        return True
    if not isinstance(module, nn.Linear):
        return False
    return type(module).forward in {nn.Linear.forward, OneDnnLinear.forward} or _gives_a_tensor(module)


def is_named(name: str, target: str) -> bool:
    """Return whether PEFT matches a module of this full name to `target`."""
    return name == target or name.endswith(f".{target}")


def _reads(name: str, called: set[str]) -> bool:
    """Return whether a module was called, or belongs to an expert in a called layer that was not selected.

    A module that was not called although its parent was called is never run: its pair would not be used.
    """
    parts = name.split(".")
    if name in called or ".".join(parts[:-1]) in called:
        return name in called
    layers = (".".join(parts[: end + 1]) for end, part in enumerate(parts) if part.isdigit())
    return any(layer in called for layer in layers)


def _chosen(backbone: Any, layers: str, called: set[str]) -> list[nn.Module]:
    """Return the modules of the selected layers; if one module holds several layers (LongCat), all must be
    selected.
    """
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
    """Return the outermost numbered module that contains a module.

    >>> _holder("layers.1.self_attn.0")
    'layers.1'
    """
    match = _LAYER.match(f"{name}.")
    return match[0].rstrip(".") if match else name


def _layers(backbone: Any, called: set[str]) -> list[nn.Module]:
    """Return the layers from the input up; without a mask plan, the first called module list of the right
    length.
    """
    try:
        return list(find_stack(backbone).layers)
    except PlanError:
        depth = getattr(backbone.config.get_text_config(), "num_hidden_layers", None)
        for name, module in backbone.named_modules():
            if isinstance(module, nn.ModuleList) and len(module) == depth and f"{name}.0" in called:
                return list(module)
        raise


def _experts_of(module: nn.Module, counts: set[int]) -> list[str]:
    """Return the parameters of a module that hold one matrix per expert, possibly with extra idle experts."""
    stacked = {key: value for key, value in module.named_parameters(recurse=False) if value.dim() == 3}
    return list(stacked) if any(value.shape[0] in counts for value in stacked.values()) else []


def _expert_counts(config: Any) -> set[int]:
    """Return the expert counts in a configuration."""
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
    """Return the full names of all weights with two or more dimensions, in the naming of `paired_weights`."""
    return {
        stock_name(name).removesuffix(".weight")
        for name, value in model.named_parameters()
        if value.dim() > 1 and ".lora_" not in name
    }


def _kind(name: str) -> str:
    """Return the last two parts of a name without numbers.

    >>> _kind("layers.3.mlp.experts.0.gate_proj")
    'experts.gate_proj'
    """
    return ".".join([part for part in name.split(".") if not part.isdigit()][-2:])


def _ranges(numbers: list[int]) -> str:
    """Format numbers as ranges.

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
