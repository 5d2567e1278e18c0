"""Which weights of a backbone are trained: all, a LoRA adapter, a LoRA adapter over 4 bits, or none."""

from pathlib import Path
from typing import Any

import torch

from lookboth.config import AdapterConfig
from lookboth.errors import ConfigError, ModelError, PlanError
from lookboth.masking.notation import read_layers
from lookboth.masking.structure import find_stack
from lookboth.models.adapter_files import WEIGHTS_FILE, read_adapter
from lookboth.models.untrusted import as_model_error
from lookboth.quiet import without_peft_warnings


def add_adapter(backbone: Any, config: AdapterConfig) -> Any:
    """Return `backbone` with the weights that `config` names trainable and all others frozen.

    Args:
        backbone: a Hugging Face model without vocabulary head.
        config: the adapter section of a recipe.

    Raises:
        ConfigError: a target module or a layer the backbone does not have.
        ModelError: `config.start_from` holds no adapter that fits.
    """
    if config.kind == "full":
        return backbone.requires_grad_(True)
    backbone.requires_grad_(False)
    if config.kind == "head":
        return backbone
    return _add_lora(backbone, config)


def num_trainable(model: torch.nn.Module) -> int:
    """Return how many parameters are trained."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _add_lora(backbone: Any, config: AdapterConfig) -> Any:
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    if config.kind == "qlora":
        backbone = prepare_model_for_kbit_training(backbone, use_gradient_checkpointing=False)
    lora = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=_targets(backbone, config),
    )
    try:
        with without_peft_warnings():
            model = get_peft_model(backbone, lora)
    except ValueError as error:
        raise _not_there(config.target_modules, backbone, config) from error
    if config.start_from:
        _load_start(model, Path(config.start_from), config)
    return model


def _targets(backbone: Any, config: AdapterConfig) -> str | list[str]:
    """Return what gets LoRA pairs as PEFT takes it; of some of the layers each linear layer by its full name.

    PEFT's own `layers_to_transform` goes by numbers in names and would meet those of another stack (of images) as well.
    """
    targets, layers = config.target_modules, config.layers
    if layers is None and isinstance(targets, str):
        return targets
    names = [n for n, _ in backbone.named_modules()] if layers is None else _linear_layers(backbone, layers)
    if isinstance(targets, str):
        return names
    missing = [target for target in targets if not any(_is_named(name, target) for name in names)]
    if missing:
        raise _not_there(missing, backbone, config)
    if layers is None:
        return list(targets)
    return [name for name in names if any(_is_named(name, target) for target in targets)]


def _linear_layers(backbone: Any, layers: str) -> list[str]:
    """Return the full names of the linear layers inside some layers of the stack."""
    stack = find_stack(backbone)
    try:
        chosen = [stack.layers[number] for number in read_layers(layers, len(stack.layers))]
    except PlanError as error:
        raise ConfigError(f"adapter.layers = {layers!r}: {error}") from error
    inside = {id(module) for layer in chosen for module in layer.modules() if _is_linear(module)}
    return [name for name, module in backbone.named_modules() if id(module) in inside]


def _is_named(name: str, target: str) -> bool:
    """Whether PEFT takes a module of this full name for `target`."""
    return name == target or name.endswith(f".{target}")


def _not_there(targets: Any, backbone: Any, config: AdapterConfig) -> ConfigError:
    linear = sorted({n.rsplit(".", 1)[-1] for n, m in backbone.named_modules() if _is_linear(m)})
    where = "this model" if config.layers is None else f"the layers {config.layers} of this model"
    return ConfigError(
        f"adapter.target_modules = {targets!r}: not in {where}. Its linear layers are {', '.join(linear)}."
    )


def _load_start(model: Any, folder: Path, config: AdapterConfig) -> None:
    from peft import set_peft_model_state_dict

    what = f"adapter.start_from = {str(folder)!r}"
    holder = next((f for f in (folder, folder / "adapter") if (f / WEIGHTS_FILE).is_file()), None)
    if holder is None:
        raise ModelError(f"{what}: no {WEIGHTS_FILE} in it.")
    settings, weights = read_adapter(holder)
    kept = {"rank": (settings.r, config.rank), "alpha": (settings.lora_alpha, config.alpha)}
    for key, (found, wanted) in kept.items():
        if found != wanted:
            raise ModelError(
                f"{what}: was trained with {key} {found:g}, and adapter.{key} = {wanted}. "
                f"Set adapter.{key} = {found:g}."
            )
    below = {name: tensor for name, tensor in weights.items() if not _is_cut_off(name, model)}
    with as_model_error(f"{what}: does not fit the model"):
        result: Any = set_peft_model_state_dict(model, below)
    missing = [name for name in result.missing_keys if "lora_" in name]
    if missing or result.unexpected_keys:
        raise ModelError(
            f"{what}: {len(missing)} LoRA weights missing and {len(result.unexpected_keys)} unknown. "
            "Use the rank, target modules and layers it was trained with."
        )


def _is_cut_off(name: str, model: Any) -> bool:
    """Whether a weight belongs to a layer that `exit_layer` left out: the last one here has a lower number."""
    numbers = [int(part) for part in name.split(".") if part.isdigit()]
    return bool(numbers) and numbers[0] >= model.config.get_text_config(decoder=True).num_hidden_layers


def _is_linear(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.Linear) or type(module).__name__ in {"Conv1D", "Linear4bit"}
