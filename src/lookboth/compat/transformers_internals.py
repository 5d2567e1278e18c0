"""Internals of transformers that masks, loading and pipelines rely on. Seen to work with 5.23 and 5.24."""

import inspect
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import DynamicCache, DynamicLayer

_INTERFACE = "ALL_ATTENTION_FUNCTIONS"  # the name under which every modeling file imports the registry
_EAGER = "eager_attention_forward"  # the name of the eager attention function of every modeling file
_BACKEND_NAMES = {"eager", "sdpa"}
_LLAMA_LAYERS = {"LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer"}
_MORE = ("past_key_values", "cache", "output_attentions")


def attention_name(config: Any) -> str | None:
    """Return the name of the attention function that the layers of a text configuration call.

    Relies on `config._attn_implementation`, which has no public getter. It is None until a model is made with it.
    """
    name: str | None = config._attn_implementation
    return name


def set_attention_name(config: Any, name: str) -> None:
    """Set the name of the attention function that the layers of a text configuration call; nothing is checked.

    Relies on `config._attn_implementation_internal`. The public `model.set_attn_implementation` also changes the vision
    and audio models next to a text model, which a mask plan must not touch.
    """
    config._attn_implementation_internal = name


def interface_call(module: nn.Module) -> Any:
    """Return the function of the module's class that looks up transformers' AttentionInterface, or None.

    Relies on the name `ALL_ATTENTION_FUNCTIONS` in modeling files. The code is inspected, base classes included: a
    model that ignores the interface accepts any registered name and keeps its own attention (Falcon does).
    """
    for cls in type(module).__mro__:
        for value in vars(cls).values():
            # Decorators, for example for renamed arguments, would hide the code object.
            function = inspect.unwrap(value) if inspect.isfunction(value) else None
            if function is not None and _INTERFACE in function.__code__.co_names:
                return function
    return None


def find_attention(module: nn.Module, backend: str) -> Callable[..., Any] | None:
    """Return the attention function that `module` calls for a stock backend; None where its modeling file has none.

    Relies on the names `ALL_ATTENTION_FUNCTIONS` and `eager_attention_forward` in modeling files, and on GPT-2's
    `_upcast_and_reordered_attn`, which replaces eager attention if the configuration asks for it.

    Args:
        module: a self-attention for which `interface_call` finds a function.
        backend: for example "sdpa".
    """
    if backend == "eager" and getattr(module, "reorder_and_upcast_attn", False):
        return _upcast_attention
    names = interface_call(module).__globals__
    try:
        found: Callable[..., Any] | None = names[_INTERFACE].get_interface(backend, names.get(_EAGER))
    except KeyError:
        return None
    return found


@cache
def is_usual_attention(function: Callable[..., Any]) -> bool:
    """Whether an eager attention function does what Llama's does: most modeling files contain a copy of it.

    Relies on the name `eager_attention_forward`, on the compiled code of the copies, and on `repeat_kv` in them.
    """
    from transformers.models.llama import modeling_llama

    usual = getattr(modeling_llama, _EAGER)
    own = getattr(function, "__globals__", {}).get("repeat_kv")
    return own is not None and all(
        _code(one) == _code(other) for one, other in ((function, usual), (own, modeling_llama.repeat_kv))
    )


def _code(function: Any) -> tuple[Any, ...]:
    code, constants = function.__code__, function.__code__.co_consts
    # The first constant may be the docstring.
    return code.co_code, constants[function.__doc__ is not None :], code.co_names, code.co_varnames


class LayerParts(NamedTuple):
    """The modules of a decoder layer of Llama's form.

    Args:
        layer: the decoder layer.
        attention: its self-attention, with `head_dim` and `scaling`.
        first_norm, second_norm: RMSNorm before attention and before the MLP.
        activation: activation function of the gate.
        linear: linear layers that read one tensor: queries, keys and values; output; gate and up; down.
    """

    layer: nn.Module
    attention: Any
    first_norm: Any
    second_norm: Any
    activation: Any
    linear: tuple[tuple[nn.Linear, ...], ...]


def layer_parts(module: nn.Module) -> LayerParts | None:
    """Return the parts of a decoder layer that computes what Llama's does; None for every other module.

    Relies on the classes of three modeling files and on the names of the modules in them.
    """
    layer: Any = module
    kind = type(module)
    if kind.__name__ not in _LLAMA_LAYERS or not kind.__module__.startswith("transformers.models."):
        return None
    attention, mlp = layer.self_attn, layer.mlp
    linear = (
        (attention.q_proj, attention.k_proj, attention.v_proj),
        (attention.o_proj,),
        (mlp.gate_proj, mlp.up_proj),
        (mlp.down_proj,),
    )
    norms = layer.input_layernorm, layer.post_attention_layernorm
    return LayerParts(layer, attention, *norms, mlp.act_fn, linear)


def attention_function(attention: nn.Module) -> Callable[..., Any] | None:
    """Return the attention function that a self-attention of Llama's form calls now, an eager one or sdpa.

    None for other backends, which need more arguments. Relies on the registry in its modeling file.
    """
    config: Any = attention.config
    name = attention_name(config) or "eager"
    if name.rpartition("_")[2] not in _BACKEND_NAMES:
        return None
    names = type(attention).forward.__globals__
    found: Callable[..., Any] = names[_INTERFACE].get_interface(name, names[_EAGER])
    return found


def asks_for_more(arguments: dict[str, Any]) -> bool:
    """Whether the arguments of a decoder layer contain a cache of keys and values, or ask for attention weights.

    Relies on both names of the cache (see `cache_argument`).
    """
    return any(arguments.get(name) is not None for name in _MORE)


def chooses_by_name(module: nn.Module) -> bool:
    """Whether the forward function of a self-attention compares the name of its backend with "eager" or "sdpa".

    Relies on the constants in its code. GPT-2 also compares, and `find_attention` knows why.
    """
    if hasattr(module, "reorder_and_upcast_attn"):
        return False
    constants = interface_call(module).__code__.co_consts
    return any(_BACKEND_NAMES & set(value if isinstance(value, tuple) else (value,)) for value in constants)


def under_attention_name(module: nn.Module, name: str) -> Any:
    """Return a view of a self-attention whose configuration has another attention name.

    Relies on flash attention, which loads its kernel by `module.config._attn_implementation`.
    """
    return _Replaced(module, config=_Replaced(module.config, _attn_implementation=name))


def checkpoints_in_old_format(model: Any) -> bool:
    """Whether a modeling file sets activation checkpointing the way of transformers 4.34, which is always reentrant.

    Relies on the argument `value` of its `_set_gradient_checkpointing`, by which transformers recognizes such a file.
    """
    return "value" in inspect.signature(model._set_gradient_checkpointing).parameters


def make_cache(layers: Iterable[tuple[Tensor, Tensor]]) -> DynamicCache:
    """Return a cache that holds keys and values, each (batch, heads, tokens, size), one pair per layer.

    Relies on `cache.layers` and on `DynamicLayer.lazy_initialization`, which makes a layer that `keys` and `values` can
    then be given to. The public `cache.update` would copy them.
    """
    cache = DynamicCache()
    for keys, values in layers:
        layer = DynamicLayer()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        cache.layers.append(layer)
    return cache


def cache_argument(model: nn.Module) -> str:
    """Return the name of the argument of a model's forward pass that takes keys and values of earlier tokens.

    Relies on its two names: transformers 5.24 renamed it from "past_key_values" to "cache".
    """
    # PEFT's wrapper passes all arguments on.
    base = getattr(model, "get_base_model", lambda: model)()
    return "cache" if "cache" in inspect.signature(type(base).forward).parameters else "past_key_values"


def keep_first_keys(cache: DynamicCache, layer: int, count: int) -> None:
    """Remove the keys and values of one layer after its first `count` tokens; a layer without any keeps none.

    Relies on `cache.layers` and `DynamicLayer.crop`. The public `cache.crop` removes the same number in every layer.
    """
    layers: list[Any] = cache.layers
    if layer < len(layers):
        layers[layer].crop(min(0, count - layers[layer].get_seq_length()))


def read_gguf_weights(file: Path, model: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the weights in a GGUF file by the names they have in `model`, dequantized to `dtype`.

    Relies on the module `modeling_gguf_pytorch_utils`. The public `from_pretrained(gguf_file=...)` ties embeddings and
    vocabulary head and keeps only the first, although the file may hold the second in more bits.

    Args:
        file: a GGUF file.
        model: of the architecture in the file; may be without memory (on the device "meta").
        dtype: of the result.
    """
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    found = load_gguf_checkpoint(file, return_tensors=True, model_to_load=model, torch_dtype=dtype)
    weights: dict[str, Tensor] = found["tensors"]
    return weights


def replace_pipeline(task: str, pipeline_class: type) -> None:
    """Let `transformers.pipeline(task)` make pipelines of another class; default models stay.

    Relies on `PIPELINE_REGISTRY.supported_tasks[task]["impl"]`. The public `register_pipeline` warns that the task
    exists, and has `save_pretrained` of the pipeline copy the file of its class next to the model.
    """
    from transformers.pipelines import PIPELINE_REGISTRY

    PIPELINE_REGISTRY.supported_tasks[task]["impl"] = pipeline_class


class PipelineCall(NamedTuple):
    """The arguments of one call of a token classification pipeline, with those of its construction filled in.

    Args:
        inputs: a text, a list of texts or of words, or an iterable of them.
        is_split: whether the inputs are words.
        offsets: the argument `offset_mapping`.
        delimiter: the text between two words.
        options: aggregation_strategy, ignore_labels.
    """

    inputs: Any
    is_split: bool
    offsets: Any
    delimiter: str
    options: dict[str, Any]


def read_pipeline_call(pipeline: Any, inputs: Any, arguments: dict[str, Any]) -> PipelineCall:
    """Return the arguments of a call as transformers' TokenClassificationPipeline understands them.

    Relies on its `_args_parser`, `_sanitize_parameters`, `_preprocess_params` and `_postprocess_params`.

    Args:
        pipeline: a TokenClassificationPipeline.
        inputs, arguments: of its `__call__`.
    """
    before = pipeline._preprocess_params
    given = {"is_split_into_words": before["is_split_into_words"], **arguments}
    sentences, is_split, offsets, delimiter = pipeline._args_parser(inputs, **given)
    options = {**pipeline._postprocess_params, **pipeline._sanitize_parameters(**given)[2]}
    delimiter = before.get("delimiter", " ") if delimiter is None else delimiter
    return PipelineCall(sentences, is_split, offsets, delimiter, options)


def _upcast_attention(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, **_: Any) -> Any:
    return module._upcast_and_reordered_attn(query, key, value, mask)


class _Replaced:
    """A view of an object with some attributes replaced."""

    def __init__(self, target: Any, **replaced: Any) -> None:
        self._target = target
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)
