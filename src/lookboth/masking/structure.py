"""Where a plan goes in a Hugging Face model: its decoder, its attention modules, and why some have none."""

import inspect
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from lookboth.errors import PlanError

INTERFACE = "ALL_ATTENTION_FUNCTIONS"  # the name under which every modeling file knows the registry
MASKED_LAYER_TYPES = {"full_attention", "sliding_attention", "chunked_attention"}
FAMILIES = "Llama, Mistral, Qwen2, Qwen3, Gemma 2 and 3, Phi-3, GPT-2, OPT, GPT-NeoX and OLMo"


@dataclass(frozen=True, slots=True)
class Decoder:
    """The parts of a model that a plan touches.

    Args:
        backbone: the module whose forward builds the masks and runs the layers.
        config: the configuration the attention modules read.
        attentions: one self-attention module a layer, nearest the input first.
        layers: the decoder layers that hold them, in the same order.
    """

    backbone: PreTrainedModel
    config: Any
    attentions: tuple[nn.Module, ...]
    layers: tuple[nn.Module, ...]


def find_decoder(model: nn.Module) -> Decoder:
    """Return the decoder inside `model`: a backbone, a model with a head, or one wrapped by PEFT.

    Raises:
        PlanError: no Hugging Face decoder, an encoder, or layers whose attention a plan cannot reach.
    """
    owners = [module for module in model.modules() if isinstance(module, PreTrainedModel)]
    if not owners:
        raise PlanError(
            f"{type(model).__name__} holds no Hugging Face transformers model; a plan needs one. "
            "Load it with transformers.AutoModel.from_pretrained(...)."
        )
    config = _decoder_config(owners[0])
    named = _attention_modules(model, config)
    _check_every_layer(type(owners[0]).__name__, config, [module for _, module in named])
    named.sort(key=lambda item: item[1].layer_idx)
    layers = tuple(_enclosing_layer(model, name) for name, _ in named)
    _check_no_recurrence(type(owners[0]).__name__, layers)
    backbone = _innermost_owner(model, [name for name, _ in named])
    return Decoder(backbone, config, tuple(module for _, module in named), layers)


def interface_call(module: nn.Module) -> Any:
    """Return the function of the module's class that looks up transformers' AttentionInterface, or None.

    The class itself is asked, subclasses included, because a model that ignores the interface accepts any
    registered name and silently keeps its own attention (Falcon does).
    """
    for cls in type(module).__mro__:
        for value in vars(cls).values():
            function = inspect.unwrap(value) if inspect.isfunction(value) else None
            if function is not None and INTERFACE in function.__code__.co_names:
                return function
    return None


def stock_attention(module: nn.Module, backend: str) -> Callable[..., Any]:
    """Return the attention function that `module` itself would call for the stock `backend`.

    Raises:
        PlanError: its modeling file has no function for this backend.
    """
    names = interface_call(module).__globals__
    try:
        found = names[INTERFACE].get_interface(backend, names.get("eager_attention_forward"))
    except KeyError:
        found = None
    if found is None:
        raise PlanError(
            f"{type(module).__name__} has no '{backend}' attention. "
            "Load the model with another attn_implementation, for example 'sdpa'."
        )
    return found


def _decoder_config(owner: PreTrainedModel) -> Any:
    name, config = type(owner).__name__, owner.config
    if getattr(config, "is_encoder_decoder", False):
        raise PlanError(
            f"{name} is an encoder-decoder model; a mask plan is for decoder-only models ({FAMILIES})."
        )
    config = config.get_text_config(decoder=True)
    if getattr(config, "is_causal", True) is False:
        raise PlanError(
            f"{name} has config.is_causal=False, which drops the mask of every layer already. "
            "Set model.config.is_causal = True, then give the plan 'full' or another."
        )
    kinds = set(getattr(config, "layer_types", None) or ()) - MASKED_LAYER_TYPES
    if kinds:
        raise PlanError(
            f"{name} has layers of type {', '.join(sorted(kinds))}; a plan can unmask "
            f"{', '.join(sorted(MASKED_LAYER_TYPES))} only. Recurrent layers read left to right and cannot "
            f"be unmasked. Use a decoder such as {FAMILIES}."
        )
    return config


def _attention_modules(model: nn.Module, config: Any) -> list[tuple[str, Any]]:
    return [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(getattr(module, "layer_idx", None), int)
        and getattr(module, "config", None) is config
        and interface_call(module) is not None
    ]


def _check_every_layer(name: str, config: Any, attentions: list[Any]) -> None:
    if any(getattr(module, "is_causal", True) is False for module in attentions):
        raise PlanError(
            f"{name} is an encoder: its attention already looks both ways, so there is no causal mask to "
            "remove. Use it without a plan."
        )
    counts = Counter(module.layer_idx for module in attentions)
    num_layers = config.num_hidden_layers
    lacking = [layer for layer in range(num_layers) if counts[layer] != 1]
    if not lacking and len(counts) == num_layers:
        return
    which = "no layer" if not counts else f"not exactly one in layers {', '.join(map(str, lacking))}"
    raise PlanError(
        f"{name} cannot take a mask plan: of its {num_layers} layers, {which} has self-attention that goes "
        "through transformers' AttentionInterface. Models that keep their own attention (Falcon), and "
        f"state-space or linear-attention layers (Mamba, RWKV) cannot be unmasked. "
        f"Use a decoder such as {FAMILIES}."
    )


def _check_no_recurrence(name: str, layers: tuple[nn.Module, ...]) -> None:
    """Refuse hybrid layers: state-space mixers carry a causal convolution over the tokens."""
    for index, layer in enumerate(layers):
        if any(isinstance(module, (nn.Conv1d, nn.RNNBase)) for module in layer.modules()):
            raise PlanError(
                f"{name} mixes tokens outside attention (a convolution or recurrence in layer {index}), "
                f"which no mask can turn around. Use a decoder such as {FAMILIES}."
            )


def _enclosing_layer(model: nn.Module, name: str) -> nn.Module:
    """Return the innermost member of a ModuleList that holds the module called `name`."""
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        if isinstance(model.get_submodule(".".join(parts[: end - 1])), nn.ModuleList):
            return model.get_submodule(".".join(parts[:end]))
    raise PlanError(f"Attention module '{name}' is in no list of layers; a plan needs a stack of layers.")


def _innermost_owner(model: nn.Module, names: list[str]) -> PreTrainedModel:
    """Return the smallest transformers model that holds all the modules called `names`."""
    holders = [
        module
        for prefix, module in model.named_modules()
        if isinstance(module, PreTrainedModel)
        and all(not prefix or name.startswith(prefix + ".") for name in names)
    ]
    return holders[-1]
