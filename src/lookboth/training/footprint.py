"""Estimated memory of a training, computed before it starts; the formula is in docs/recipes.md."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from torch import nn

from lookboth.compat import attention_name
from lookboth.config import AdapterConfig, RunConfig
from lookboth.errors import ConfigError, LookbothError
from lookboth.masking import PREFIX, find_stack, keeps_scores, read_layers
from lookboth.models import build_empty, default_device, load_config, torch_dtype
from lookboth.training.adapters import num_trainable
from lookboth.training.batches import RunBatches
from lookboth.training.lora_places import is_named
from lookboth.training.process_group import shards_weights

GB = 1e9
# Bytes per trained weight. All other optimizers keep two fp32 moments, 8 bytes.
_OPTIMIZER_BYTES = {"adamw_8bit": 2, "paged_adamw_8bit": 2}
# Bytes per 4-bit weight with its share of the scales, one per 64 weights; double quantization stores a scale in one
# byte, with one fp32 constant per 256 scales.
_FOUR_BIT_BYTES = {True: 0.5 + 1 / 64 + 4 / 64 / 256, False: 0.5 + 4 / 64}


@dataclass(frozen=True, slots=True)
class Footprint:
    """Peak memory of a training in bytes, by purpose.

    Args:
        weights: frozen and trained weights in their stored precision.
        gradients, optimizer: gradients and optimizer state of the trained weights.
        activations: activations stored for the backward pass, under the recipe.
        activations_other: the same with the opposite setting of gradient checkpointing.
        checkpointing: whether the recipe uses gradient checkpointing.
    """

    weights: float
    gradients: float
    optimizer: float
    activations: float
    activations_other: float
    checkpointing: bool

    @property
    def kept(self) -> float:
        """Return the bytes that do not depend on the batch."""
        return self.weights + self.gradients + self.optimizer

    @property
    def total(self) -> float:
        """Return all bytes."""
        return self.kept + self.activations

    def describe(self) -> str:
        """Return a one-line description."""
        other = "without" if self.checkpointing else "with"
        return (
            f"memory: about {_gb(self.total)} = weights {_gb(self.weights)}, gradients {_gb(self.gradients)}, "
            f"optimizer {_gb(self.optimizer)}, activations {_gb(self.activations)} "
            f"({_gb(self.activations_other)} {other} gradient checkpointing)"
        )


def footprint(model: nn.Module, config: RunConfig, *shapes: tuple[int, int]) -> Footprint:
    """Return the memory to train `model` with the recipe's adapter on batches of these shapes: (rows, tokens per row).

    It is that of the shape that takes most. With eager attention this need not be the shape with most tokens.
    """
    weights = float(sum(parameter.nbytes for parameter in model.parameters()))
    text, trained = _text_config(model), num_trainable(model)
    found = (
        _estimate_bytes(text, config, weights, trained, rows * length, length) for rows, length in shapes
    )
    return max(found, key=lambda one: one.total)


def _estimate_bytes(
    text: Any, config: RunConfig, weights: float, trained: int, tokens: int, length: int
) -> Footprint:
    """Return the memory of a training.

    Args:
        text: configuration of the text model.
        config: the recipe.
        weights: bytes of all weights; trained: number of trained weights.
        tokens: positions of a batch; length: tokens of one row.
    """
    training, layers = config.training, text.num_hidden_layers
    width = torch_dtype(training.precision, default_device()).itemsize
    # Autocast keeps a copy of trained fp32 weights in the lower precision of the matrix products.
    copies = weights / 4 * width if config.adapter.kind == "full" and width < 4 else 0.0
    layer = _layer_bytes(text, config, length, width) * tokens + copies / layers
    ends = tokens * (12 * text.hidden_size + _vocabulary_bytes(config, text.vocab_size, width))
    everything = layers * layer + ends
    checkpointed = layers * tokens * text.hidden_size * width + layer + ends
    chosen, other = everything, checkpointed
    if training.gradient_checkpointing:
        chosen, other = checkpointed, everything
    averages = 4 * trained if training.ema is not None else 0
    return Footprint(
        weights=weights,
        gradients=4 * trained,
        optimizer=_OPTIMIZER_BYTES.get(training.optimizer, 8) * trained + averages,
        activations=chosen,
        activations_other=other,
        checkpointing=training.gradient_checkpointing,
    )


def _layer_bytes(text: Any, config: RunConfig, length: int, width: int) -> float:
    """Return the bytes that one layer stores per token for the backward pass; `width` is bytes per value."""
    # A state-space model has no attention heads.
    heads = _size(text, "num_attention_heads", 0)
    head = _size(text, "head_dim", text.hidden_size // max(1, heads))
    queries, keys = heads * head, _size(text, "num_key_value_heads", heads) * head
    inner = _size(text, "intermediate_size", 4 * text.hidden_size)
    steps = 5 if getattr(text, "activation_function", "") == "gelu_new" else 4
    whole = 2 if config.adapter.kind == "full" else 0
    kept = width * (steps * inner + 2 * queries + 2 * keys) + (width * (2 + whole) + 8) * text.hidden_size
    attention = attention_name(text) or ""
    in_blocks = attention == f"{PREFIX}eager" and default_device() == "cpu" and not keeps_scores(length)
    if attention.removeprefix(PREFIX) == "eager" and not in_blocks:
        kept += heads * length * (width + (4 if width == 2 else 0)) + 2 * width * (queries - keys)
    return float(kept)


def _size(text: Any, name: str, default: int) -> int:
    """Return a size of a configuration: of several, one per layer, the largest; `default` if it names none."""
    try:
        value = getattr(text, name, None)
    except RuntimeError:
        # The layers have configurations of their own, as in Gemma 4, and this size differs.
        value = [getattr(layer, name, None) or 0 for layer in text.per_layer_config]
    largest = max(value, default=0) if isinstance(value, list | tuple) else value
    return largest if isinstance(largest, int) and largest > 0 else default


def _vocabulary_bytes(config: RunConfig, size: int, width: int) -> int:
    """Return the bytes of the logits per token for a model that writes; heads over words are small."""
    # Imported here because splits depends on modules that depend on this one.
    from lookboth.config import WITH_HEAD

    return 0 if config.method in WITH_HEAD else size * (width + 8)


def _text_config(model: Any) -> Any:
    inner = getattr(model, "backbone", None) or getattr(model, "model", None) or model
    return (inner if hasattr(inner, "config") else model).config.get_text_config()


def batch_shapes(batches: RunBatches) -> set[tuple[int, int]]:
    """Return the (rows, tokens per row) of all batches; a packed batch is one row."""
    lengths = batches.piece_lengths()
    if batches.layout == "packed":
        return {(1, sum(lengths[i] for i in batch)) for batch in batches.schedule}
    return {(len(batch), max(lengths[i] for i in batch)) for batch in batches.schedule}


def memory_lines(model: nn.Module, config: RunConfig, batches: RunBatches) -> Sequence[str]:
    """Return the memory estimate of a training, with a warning if less is free; the weights are already loaded."""
    found = footprint(model, config, *batch_shapes(batches))
    free = free_memory(default_device())
    if shards_weights() or found.total - found.weights <= free:
        return [found.describe()]
    return [found.describe(), f"Warning: only {_gb(free + found.weights)} are available. {_advice(config)}"]


def estimate(config: RunConfig) -> Footprint:
    """Estimate the memory of a recipe from its model's configuration alone, without weights and data.

    A batch is assumed to be as large as the recipe allows, so the activations are an upper bound.

    Raises:
        LookbothError: the model configuration cannot be loaded, or the model does not take the adapter.
    """
    from lookboth.models import cut_config

    settings = load_config(config.model, revision=config.revision, trust_remote_code=config.trust_remote_code)
    if config.exit_layer is not None:
        settings = cut_config(settings, config.exit_layer)
    full = config.adapter.kind == "full"
    dtype = torch.float32 if full else torch_dtype(config.training.precision, default_device())
    model = build_empty(settings, dtype=dtype, trust_remote_code=config.trust_remote_code)
    length = config.max_tokens * (config.repetition + 1)
    rows = config.training.batch_sentences or max(1, config.training.batch_tokens // length)
    added = 0 if full else _lora_weights(model, config.adapter)
    trained = sum(p.numel() for p in model.parameters()) if full else added
    weights = 4 * added + sum(_stored_bytes(model, config.adapter))
    return _estimate_bytes(_text_config(model), config, weights, trained, rows * length, length)


def _stored_bytes(model: nn.Module, adapter: AdapterConfig) -> Iterator[float]:
    """Yield the bytes of each weight of a backbone in the precision it is loaded in."""
    linear = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear)}
    for parameter in model.parameters():
        if adapter.kind == "qlora":
            packed = _FOUR_BIT_BYTES[adapter.double_quant] if id(parameter) in linear else 4.0
            yield packed * parameter.numel()
        else:
            yield float(parameter.nbytes)


def _lora_weights(model: nn.Module, adapter: AdapterConfig) -> int:
    """Return the number of weights in the LoRA pairs of a recipe, including DoRA magnitudes."""
    if adapter.kind == "head":
        return 0
    layers = find_stack(model).layers
    chosen = range(len(layers)) if adapter.layers is None else read_layers(adapter.layers, len(layers))
    targets = adapter.target_modules
    return sum(
        adapter.rank * sum(weight.shape[-2:]) * (weight.shape[0] if weight.dim() == 3 else 1)
        + (weight.shape[0] if adapter.dora else 0)
        for number in chosen
        for name, weight in layers[number].named_parameters()
        if weight.dim() >= 2
        if isinstance(targets, str)
        or any(is_named(name.removesuffix(".weight"), target) for target in targets)
    )


def require_memory(config: RunConfig) -> None:
    """Refuse a training whose weights, gradients and optimizer state alone exceed the free memory.

    Models whose memory cannot be estimated are accepted.

    Raises:
        ConfigError: with the required and the free memory and settings to change.
    """
    if shards_weights():
        return
    try:
        found = estimate(config)
    # The estimate reads configuration keys that not every architecture has; training itself reports real errors.
    except (LookbothError, AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return
    free = free_memory(default_device())
    if found.kept > free:
        raise ConfigError(
            f"this training does not fit: {_gb(free)} are free on {default_device()}. {found.describe()}. "
            f"{_advice(config)}"
        )


def free_memory(device: str) -> float:
    """Return the bytes that a process can still allocate on a device; on a CPU swap space counts."""
    if device.startswith("cuda"):
        return float(torch.cuda.mem_get_info(device)[0])
    return float(psutil.virtual_memory().available + psutil.swap_memory().free)


def _advice(config: RunConfig) -> str:
    """Return settings that reduce the memory of this recipe."""
    ways = []
    if config.adapter.kind == "full":
        ways.append("adapter.kind = 'lora'")
    if config.adapter.kind in {"full", "lora"}:
        ways.append("adapter.kind = 'qlora'")
    if not config.training.gradient_checkpointing:
        ways.append("training.gradient_checkpointing = true")
    smaller = "batch_sentences" if config.training.batch_sentences else "batch_tokens"
    return f"Set {', '.join(ways)}{', or ' if ways else ''}a smaller training.{smaller}, or take a smaller model."


def _gb(size: float) -> str:
    return f"{size / GB:.3g} GB" if size >= 1e7 else f"{size / GB:.2g} GB"
