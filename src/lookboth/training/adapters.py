"""Choosing the trainable weights of a backbone: all, a LoRA adapter, a LoRA adapter on 4-bit weights, or none."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lookboth.config import AdapterConfig
from lookboth.errors import ConfigError, ModelError, first_line
from lookboth.models import (
    WEIGHTS_FILE,
    as_model_error,
    attach_pairs,
    fill_pairs,
    paired_weights,
    read_adapter,
)
from lookboth.training.lora_places import LoraPlaces, find_places

if TYPE_CHECKING:
    from peft import LoraConfig


def add_adapter(backbone: Any, config: AdapterConfig, *, trained: Path | None = None) -> Any:
    """Make the weights selected by `config` trainable, freeze all others and return the backbone.

    Args:
        backbone: a Hugging Face model without vocabulary head.
        config: the adapter section of a recipe.
        trained: folder of the LoRA adapter of a labeler that is trained further.

    Raises:
        ConfigError: the backbone lacks a target module or layer.
        ModelError: `config.start_from` or `trained` holds no adapter that fits.
    """
    if config.kind == "full":
        return backbone.requires_grad_(True)
    backbone.requires_grad_(False)
    if config.kind == "head":
        return backbone
    return _add_lora(backbone, config, trained)


def num_trainable(model: torch.nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _add_lora(backbone: Any, config: AdapterConfig, trained: Path | None) -> Any:
    from peft import prepare_model_for_kbit_training

    if config.kind == "qlora":
        # Casts the weights that are not in 4 bits, such as norms, to fp32.
        backbone = prepare_model_for_kbit_training(backbone, use_gradient_checkpointing=False)
    if trained is not None:
        return _continue_lora(backbone, config, trained)
    places = _asked_for(backbone, config)
    if places.experts and config.dropout:
        raise ConfigError(
            f"adapter.dropout = {config.dropout:g}: LoRA pairs of experts ({places.experts[0]}) cannot have dropout. "
            "Set adapter.dropout = 0, or name adapter.target_modules without experts."
        )
    try:
        model = attach_pairs(backbone, _settings(backbone, places, config))
    except ValueError as error:
        raise ConfigError(
            f"adapter: PEFT cannot put LoRA pairs on this model: {first_line(error)}"
        ) from error
    # PEFT matches by suffix, so check that exactly these weights have a pair.
    if different := paired_weights(model) ^ set(places.names()):
        raise ConfigError(
            f"adapter: {len(different)} weights have a LoRA pair and should not, or the other way round, for example "
            f"{min(different)!r}. Name adapter.target_modules by full names."
        )
    if config.start_from:
        _load_start(model, Path(config.start_from), config)
    return model


def _continue_lora(backbone: Any, config: AdapterConfig, folder: Path) -> Any:
    """Attach a trained adapter as it was saved, with pairs at the same weights, in fp32 and trainable."""
    settings, weights = read_adapter(folder)
    lora = settings.to_lora()
    lora.inference_mode, lora.lora_dropout = False, config.dropout
    with as_model_error(f"{folder}: the adapter does not fit or is damaged"):
        model = attach_pairs(backbone, lora)
        fill_pairs(model, weights, dtype=torch.float32)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".lora_" in name)
    return model


def _asked_for(backbone: Any, config: AdapterConfig) -> LoraPlaces:
    """Return the places for LoRA pairs: all linear layers and experts in the text path, or the named targets."""
    targets = config.target_modules
    if isinstance(targets, str):
        return find_places(backbone, config.layers)
    # Embedding tables get LoRA pairs only if they are named.
    places = find_places(backbone, config.layers, embeddings=True)
    missing = [target for target in targets if not places.named([target]).names()]
    if missing:
        where = "this model" if config.layers is None else f"the layers {config.layers} of this model"
        linear = sorted({name.rsplit(".", 1)[-1] for name in find_places(backbone).names()})
        raise ConfigError(
            f"adapter.target_modules = {missing!r}: not in {where}, or not used on text. "
            f"Its linear layers are {', '.join(linear)}."
        )
    return places.named(targets)


def _settings(backbone: Any, places: LoraPlaces, config: AdapterConfig) -> "LoraConfig":
    """Return the LoRA settings for PEFT.

    PEFT matches target modules by suffix, so modules that merely end with a wanted name are excluded
    explicitly.
    """
    from peft import LoraConfig

    wanted = set(places.modules)
    endings = tuple(f".{name}" for name in wanted)
    excluded = [name for name, _ in backbone.named_modules() if name.endswith(endings) and name not in wanted]
    return LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=list(places.modules),
        exclude_modules=excluded or None,
        target_parameters=list(places.experts) or None,
        use_rslora=config.rslora,
        use_dora=config.dora,
        init_lora_weights=True if config.init == "default" else config.init,
    )


def _load_start(model: Any, folder: Path, config: AdapterConfig) -> None:
    setting = f"adapter.start_from = {str(folder)!r}"
    # Accept the adapter itself and the output folder of `lookboth adapt`.
    holder = next((f for f in (folder, folder / "adapter") if (f / WEIGHTS_FILE).is_file()), None)
    if holder is None:
        raise ModelError(f"{setting}: no {WEIGHTS_FILE} in it.")
    settings, weights = read_adapter(holder)
    kept = {
        "rank": (settings.r, config.rank),
        "alpha": (settings.lora_alpha, config.alpha),
        "rslora": (settings.use_rslora, config.rslora),
        "dora": (settings.use_dora, config.dora),
    }
    for key, (found, wanted) in kept.items():
        if found != wanted:
            shown, other = (f"{v:g}" if key in {"rank", "alpha"} else str(v).lower() for v in (found, wanted))
            raise ModelError(
                f"{setting}: was trained with {key} {shown}, and adapter.{key} = {other}. "
                f"Set adapter.{key} = {shown}."
            )
    # An adapter of the full model also fits a model that ends earlier.
    below = {name: tensor for name, tensor in weights.items() if not _is_cut_off(name, model)}
    try:
        fill_pairs(model, below, dtype=torch.float32)
    except ModelError as error:
        raise ModelError(
            f"{setting}: does not fit the model: {error} Use the rank, target modules and layers it was trained with."
        ) from error


def _is_cut_off(name: str, model: Any) -> bool:
    """Return whether a weight belongs to a layer that `exit_layer` removed."""
    numbers = [int(part) for part in name.split(".") if part.isdigit()]
    # The first number in the name of a weight is its layer.
    return bool(numbers) and numbers[0] >= model.config.get_text_config(decoder=True).num_hidden_layers
