"""The parts of a Hugging Face model that a plan changes: its stack of layers and their attention modules."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from lookboth.compat import chooses_by_name, find_attention, interface_call
from lookboth.errors import PlanError

MASKED_LAYER_TYPES = {"full_attention", "sliding_attention", "chunked_attention"}
# Layers of these kinds read from left to right. Sparse, indexed and compressed attention select their own tokens.
RECURRENT = ("linear", "conv", "hybrid", "mamba", "recurrent")
FAMILIES = (
    "Llama, Mistral, Qwen2, Qwen3, Gemma 2 and 3, Phi-3, GPT-2, OPT, GPT-NeoX and OLMo, or an encoder such as "
    "BERT, RoBERTa, XLM-R, Electra, DistilBERT, ModernBERT, MPNet and DeBERTa"
)
# Encoders whose layers receive a mask and compute attention themselves (see own_attention.py).
OWN_ATTENTION = {"mpnet", "deberta", "deberta-v2"}


@dataclass(frozen=True, slots=True)
class Stack:
    """The parts of a model that a plan changes.

    Args:
        backbone: the module whose forward builds the masks and runs the layers.
        ruled: the module of each layer that holds its rule, nearest the input first. It is the self-attention, or
            the layer itself in families with their own attention code.
        layers: the layers, in the same order.
        is_encoder: whether the stock layers are bidirectional. This holds for encoders and for decoders whose
            configuration says `is_causal: false`.
    """

    backbone: PreTrainedModel
    ruled: tuple[nn.Module, ...]
    layers: tuple[nn.Module, ...]
    is_encoder: bool

    @property
    def config(self) -> Any:
        """The current configuration. `apply_plan` replaces it, so it is looked up each time."""
        return self.backbone.config.get_text_config(decoder=True)

    @property
    def own_attention(self) -> bool:
        """Whether the layers compute attention themselves, outside transformers' AttentionInterface."""
        return self.config.model_type in OWN_ATTENTION


def find_stack(model: nn.Module) -> Stack:
    """Return the stack of layers in `model`: a backbone, a model with a head, or one wrapped by PEFT.

    Raises:
        PlanError: not a Hugging Face model, an encoder-decoder, or attention that a plan cannot change.
    """
    owners = [module for module in model.modules() if isinstance(module, PreTrainedModel)]
    if not owners:
        raise PlanError(
            f"{type(model).__name__} does not contain a Hugging Face transformers model; a plan needs one. "
            "Load it with transformers.AutoModel.from_pretrained(...)."
        )
    name, config = type(owners[0]).__name__, _text_config(owners[0])
    if config.model_type in OWN_ATTENTION:
        return _own_attention_stack(owners)
    # Attention modules are found by their code, not by names: names differ in every family.
    named = _attention_modules(model, config)
    _check_every_layer(name, config, [module for _, module in named])
    layers = tuple(_enclosing_layer(model, path) for path, _ in named)
    _check_no_recurrence(name, layers)
    # A decoder used as an encoder says so in its configuration, an encoder in each attention module.
    is_encoder = getattr(config, "is_causal", True) is False or all(
        getattr(module, "is_causal", True) is False for _, module in named
    )
    backbone = _innermost_owner(model, [path for path, _ in named])
    return Stack(backbone, tuple(module for _, module in named), layers, is_encoder)


def stock_attention(module: nn.Module, backend: str) -> Callable[..., Any]:
    """Return the attention function that `module` calls for the stock `backend`.

    Raises:
        PlanError: the modeling file does not have a function for this backend, or it compares the backend's name,
            which a plan changes.
    """
    if chooses_by_name(module):
        raise PlanError(
            f"{type(module).__name__} selects its attention by the name of the attention backend, which a mask plan "
            f"replaces. Use a decoder such as {FAMILIES}."
        )
    found = find_attention(module, backend)
    if found is None:
        raise PlanError(
            f"{type(module).__name__} does not support '{backend}' attention. "
            "Load the model with another attn_implementation, for example 'sdpa'."
        )
    return found


def _text_config(owner: PreTrainedModel) -> Any:
    name, config = type(owner).__name__, owner.config
    if getattr(config, "is_encoder_decoder", False):
        raise PlanError(
            f"{name} is an encoder-decoder model; a mask plan needs a model with one stack ({FAMILIES})."
        )
    config = config.get_text_config(decoder=True)
    if not isinstance(getattr(config, "num_hidden_layers", None), int):
        raise PlanError(
            f"{name} ({config.model_type}) is not a single stack of layers: its configuration has no "
            f"num_hidden_layers. Use a decoder such as {FAMILIES}."
        )
    _check_layer_types(name, set(getattr(config, "layer_types", None) or ()) - MASKED_LAYER_TYPES)
    return config


def _check_layer_types(name: str, kinds: set[str]) -> None:
    """Refuse layer types that do not use the mask transformers builds."""
    if not kinds:
        return
    recurrent = any(any(word in kind for word in RECURRENT) for kind in kinds)
    why = (
        "Recurrent layers read from left to right and cannot be unmasked."
        if recurrent
        else "These layers select or compress the tokens they attend to, from left to right, so a mask alone does "
        "not determine their attention."
    )
    raise PlanError(
        f"{name} has layers of type {', '.join(sorted(kinds))}; a plan can unmask "
        f"{', '.join(sorted(MASKED_LAYER_TYPES))} only. {why} Use a decoder such as {FAMILIES}."
    )


def _own_attention_stack(owners: list[PreTrainedModel]) -> Stack:
    backbone: Any = next(owner for owner in owners if hasattr(getattr(owner, "encoder", None), "layer"))
    layers = tuple(backbone.encoder.layer)
    return Stack(backbone, layers, layers, is_encoder=True)


def _attention_modules(model: nn.Module, config: Any) -> list[tuple[str, Any]]:
    """Return name and module of each self-attention, nearest the input first.

    Decoders number their attention modules. Some encoders (DistilBERT) do not; there the order of modules counts.
    """
    found = [
        (name, module)
        for name, module in model.named_modules()
        # Attention modules of other parts, such as an image tower, have another configuration object.
        if getattr(module, "config", None) is config
        and not isinstance(module, PreTrainedModel)
        and interface_call(module) is not None
    ]
    numbered: list[tuple[str, Any]] = [item for item in found if _layer_number(item[1]) is not None]
    return sorted(numbered, key=lambda item: item[1].layer_idx) or found


def _layer_number(module: Any) -> int | None:
    number = getattr(module, "layer_idx", None)
    return number if isinstance(number, int) else None


def _check_every_layer(name: str, config: Any, attentions: list[Any]) -> None:
    numbers = [_layer_number(module) for module in attentions]
    # Each layer must occur exactly once: a shared layer is missing, cross-attention counts a layer twice.
    counts = Counter(range(len(attentions)) if None in numbers else numbers)
    num_layers = config.num_hidden_layers
    lacking = [layer for layer in range(num_layers) if counts[layer] != 1]
    if not lacking and len(counts) == num_layers:
        return
    if counts and all(counts[layer] > 1 for layer in range(num_layers)):
        raise PlanError(
            f"{name} cannot take a mask plan: each of its layers has {max(counts.values())} attention modules, one of "
            "them for the states of an encoder (cross-attention). A mask plan needs a model with one stack "
            f"({FAMILIES})."
        )
    which = f"layers {', '.join(map(str, lacking))} do not have exactly one" if counts else "none has a"
    raise PlanError(
        f"{name} cannot take a mask plan: of its {num_layers} layers, {which} self-attention that uses "
        "transformers' AttentionInterface. A plan cannot be applied to models with their own attention code (Falcon), "
        "one shared layer (ALBERT), or state-space or linear-attention layers (Mamba, RWKV). "
        f"Use a decoder such as {FAMILIES}."
    )


def _check_no_recurrence(name: str, layers: tuple[nn.Module, ...]) -> None:
    """Refuse hybrid layers: state-space mixers contain a causal convolution over the tokens."""
    for index, layer in enumerate(layers):
        if any(isinstance(module, (nn.Conv1d, nn.RNNBase)) for module in layer.modules()):
            raise PlanError(
                f"{name} mixes tokens outside attention (a convolution or recurrence in layer {index}), "
                f"which a mask cannot change. Use a decoder such as {FAMILIES}."
            )


def _enclosing_layer(model: nn.Module, name: str) -> nn.Module:
    """Return the innermost member of a ModuleList that contains, or is, the module called `name`.

    In LongCat-Flash it is the attention itself, because each layer holds a list of two.
    """
    parts = name.split(".")
    # From the inside out, so that the nearest list of layers is found.
    for end in range(len(parts), 0, -1):
        if isinstance(model.get_submodule(".".join(parts[: end - 1])), nn.ModuleList):
            return model.get_submodule(".".join(parts[:end]))
    raise PlanError(f"Attention module '{name}' is not in a list of layers; a plan needs a stack of layers.")


def _innermost_owner(model: nn.Module, names: list[str]) -> PreTrainedModel:
    """Return the innermost transformers model that contains all the modules called `names`."""
    holders = [
        module
        for prefix, module in model.named_modules()
        if isinstance(module, PreTrainedModel)
        and all(not prefix or name.startswith(prefix + ".") for name in names)
    ]
    # named_modules() visits parents before children, so the last one is the innermost.
    return holders[-1]


# Names of learned position embeddings: BERT family, OPT, GPT-2.
_TABLES = ("position_embeddings", "embed_positions", "wpe")


def first_position(model: nn.Module) -> int:
    """Return the position id of a text's first token: 0, or padding index + 1 in the RoBERTa family and MPNet."""
    table = _table(model)
    padding_idx = getattr(table, "padding_idx", None)
    return 0 if padding_idx is None else padding_idx + 1


def max_positions(model: nn.Module) -> int | None:
    """Return the maximum number of tokens per text; None for a model without learned position embeddings."""
    table = _table(model)
    if table is None:
        return None
    # OPT's table has `offset` extra rows before the first position.
    return int(table.num_embeddings - first_position(model) - getattr(table, "offset", 0))


def steady_positions(config: Any) -> int | None:
    """Return the longest text, in tokens, whose labels do not depend on the other texts of its batch; None: no limit.

    Dynamic NTK and LongRoPE change the rotary frequencies when the longest text of a batch exceeds the length the
    model was pretrained on. All texts of the batch then use the changed frequencies.

    Args:
        config: configuration of the text model.
    """
    found = getattr(config, "rope_parameters", None) or {}
    limits = []
    # Models with several kinds of layers keep one dictionary of rotary parameters per kind.
    for rope in [found, *(part for part in found.values() if isinstance(part, dict))]:
        if "dynamic" in str(rope.get("rope_type")):
            limits.append(config.max_position_embeddings)
        elif rope.get("rope_type") == "longrope":
            limits.append(rope.get("original_max_position_embeddings") or config.max_position_embeddings)
    return min(limits, default=None)


def _table(model: nn.Module) -> Any:
    """Return the embedding of absolute positions; None where positions are rotary or relative."""
    for name, module in model.named_modules():
        if name.rpartition(".")[2] in _TABLES and isinstance(module, nn.Embedding):
            return module
    return None
