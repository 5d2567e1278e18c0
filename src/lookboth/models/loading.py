"""Loading of backbones and tokenizers by hub id, local folder, or built-in name."""

import hashlib
import importlib.util
import json
import os
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from lookboth.errors import ConfigError, ModelError
from lookboth.models.builtin_models import known_models, resolve_model
from lookboth.models.quick_building import build_quickly
from lookboth.models.untrusted import as_model_error
from lookboth.quiet import without_load_report

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "bf16", "fp16", "fp32"]


def load_config(name: str, *, revision: str | None = None, trust_remote_code: bool = False) -> Any:
    """Load the transformers configuration of a model, without its weights."""
    from transformers import AutoConfig

    return from_hub(AutoConfig, name, revision=revision, trust_remote_code=trust_remote_code)


def load_tokenizer(name: str, *, revision: str | None = None, trust_remote_code: bool = False) -> Any:
    """Load the tokenizer of a model.

    Raises:
        ModelError: the tokenizer is missing, or it does not work.
    """
    from transformers import AutoTokenizer

    tokenizer = from_hub(AutoTokenizer, name, revision=revision, trust_remote_code=trust_remote_code)
    return _require_working(tokenizer, name)


def load_saved_tokenizer(folder: Path, base: str | None = None) -> Any:
    """Load the tokenizer in the folder of a saved labeler; without one, as in the shipped labelers, that of its base.

    Args:
        folder: the folder.
        base: the base model, if the labeler may do without a tokenizer of its own.

    Raises:
        ModelError: the tokenizer is missing, or it does not work.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if base is not None and not (folder / "tokenizer_config.json").is_file():
        return load_tokenizer(base)
    # AutoTokenizer knows the class named in the folder only after `import lookboth.integrations.transformers`.
    kind = PreTrainedTokenizerFast if (folder / "tokenizer.json").is_file() else AutoTokenizer
    name = str(folder.absolute())
    return _require_working(from_hub(kind, name), name)


def _require_working(tokenizer: Any, name: str) -> Any:
    # Some tokenizers load but fail at the first text; find out before a long training.
    with as_model_error(f"model {name!r}: its tokenizer does not work"):
        tokenizer("a b", add_special_tokens=False)
        tokenizer("a b")
    return tokenizer


def load_backbone(
    name: str,
    *,
    precision: Precision = "auto",
    device: str = "cpu",
    attn_implementation: str | None = None,
    four_bit: bool = False,
    double_quant: bool = True,
    num_layers: int | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> Any:
    """Load a model without vocabulary head and pooler, in evaluation mode.

    Args:
        name: hub id, folder, or a built-in name such as "smollm2-135m".
        precision: precision of the weights and the arithmetic; "auto": bf16 if the device supports it natively, else
            fp32. With "fp16" the embeddings and thus the residual stream stay in fp32, because fp16 overflows there.
        device: "cpu", "cuda", ...
        attn_implementation: "sdpa", "eager", ...; None: the faster one on this device.
        four_bit: load in 4 bits (nf4) for QLoRA; needs bitsandbytes.
        double_quant: in 4 bits, quantize the scales as well.
        num_layers: number of layers to keep, nearest the input; the others are not read from disk.
        revision, trust_remote_code: as in transformers; remote code runs only if this is True.

    Raises:
        ModelError: the model does not exist, or 4 bits are not possible on this machine.
        ConfigError: the device or precision does not exist, or `num_layers` exceeds the layers of the model.
    """
    import torch
    from transformers import AutoModel

    from lookboth.compat import keep_quantized_layout
    from lookboth.models.products import use_faster_products
    from lookboth.models.shortening import first_layers

    _check_device(device)
    kwargs = _load_arguments(torch_dtype(precision, device), device, attn_implementation)
    if four_bit:
        kwargs |= _four_bit(device, kwargs["dtype"], double_quant)
    if num_layers is not None:
        config = load_config(name, revision=revision, trust_remote_code=trust_remote_code)
        kwargs["config"] = first_layers(config, num_layers, trust_remote_code=trust_remote_code)
    # For a shortened model transformers would list the weights of all removed layers.
    with nullcontext() if num_layers is None else without_load_report():
        load = partial(from_hub, AutoModel, name, revision=revision, trust_remote_code=trust_remote_code)
        model = build_quickly(partial(load, **kwargs))
    model = _only_layers(model)
    if kwargs["dtype"] == torch.float16:
        _keep_embeddings(model, name, revision=revision, trust_remote_code=trust_remote_code)
    if four_bit:
        keep_quantized_layout(model)
    use_faster_products(model)
    # A quantized model is already on its device, placed by device_map.
    return (model if four_bit else model.to(device)).eval()


def _load_arguments(dtype: Any, device: str, attn_implementation: str | None) -> dict[str, Any]:
    # Only safetensors, because pickled weights can execute code when they are loaded.
    arguments: dict[str, Any] = {"dtype": dtype, "use_safetensors": True}
    attn_implementation = attn_implementation or _faster_attention(dtype, device)
    if attn_implementation:
        from lookboth.masking import VARLEN  # noqa: F401  (importing it registers the backend with transformers)

        arguments["attn_implementation"] = attn_implementation
    return arguments


def _only_layers(model: Any) -> Any:
    """Return the text model without vocabulary head, which AutoModel returns for Llama 4, and without pooler."""
    while model.get_output_embeddings() is not None:
        inner = model.get_decoder()
        # get_decoder() of Llama 4's language model returns the model itself.
        model = model.model if inner is model else inner
    if getattr(model, "pooler", None) is not None:
        # The pooler of an encoder summarizes a text for classification; heads read the states instead.
        model.pooler = None
    return model


def _keep_embeddings(model: Any, name: str, *, revision: str | None, trust_remote_code: bool) -> None:
    """Replace the embeddings of a model in fp16 by those on disk, in fp32."""
    import torch
    from transformers import AutoModel

    from lookboth.models.shortening import cut_config

    config = load_config(name, revision=revision, trust_remote_code=trust_remote_code)
    with without_load_report():
        first = from_hub(
            AutoModel,
            name,
            config=cut_config(config, 1),
            dtype=torch.float32,
            use_safetensors=True,
            revision=revision,
            trust_remote_code=trust_remote_code,
        )
    first, table = _only_layers(first), model.get_input_embeddings()
    table.weight = torch.nn.Parameter(first.get_input_embeddings().weight.detach().to(table.weight.device))
    table.register_forward_hook(_half_outside_autocast)


def _half_outside_autocast(_: Any, __: Any, states: "torch.Tensor") -> "torch.Tensor":
    """Return embeddings in fp16, the dtype of the layers, unless autocast handles both dtypes."""
    import torch

    return states if torch.is_autocast_enabled(states.device.type) else states.half()


def _faster_attention(dtype: "torch.dtype", device: str) -> str | None:
    """Return "eager" for bf16 on a CPU, else None (transformers' choice).

    In bf16, torch's fused CPU kernel is up to ten times slower than plain matrix products. The difference is largest
    in the backward pass and for short texts.
    """
    import torch

    return "eager" if device == "cpu" and dtype == torch.bfloat16 else None


def torch_dtype(precision: Precision, device: str = "cpu") -> "torch.dtype":
    """Return the dtype of `precision` on `device`.

    Raises:
        ConfigError: the precision is not auto, bf16, fp16 or fp32.
    """
    import torch

    from lookboth.compat import has_native_bf16

    if precision not in get_args(Precision):
        raise ConfigError(f"precision {precision!r}: allowed are {', '.join(get_args(Precision))}.")
    if precision == "auto":
        if device.startswith("cuda"):
            # Emulated bf16 is slower than fp32.
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            native = device == "cpu" and has_native_bf16()
        precision = "bf16" if native else "fp32"
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)


def default_device() -> str:
    """Return "cuda" if a GPU is available ("cuda:N" in a process whose current GPU is number N > 0), else "cpu"."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    number = torch.cuda.current_device()
    return f"cuda:{number}" if number else "cuda"


def _check_device(name: str) -> None:
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        first_line = str(error).splitlines()[0]
        raise ConfigError(
            f"device {name!r} is not available: {first_line} Type for example cpu or cuda."
        ) from error


def fingerprint(backbone: Any) -> str:
    """Return a short hash of a backbone's shape and a sample of its weights.

    The sample comes from the input embeddings, rounded to bf16. It does not depend on precision, quantization or an
    adapter.
    """
    import torch

    config = backbone.config.get_text_config()
    table = backbone.get_input_embeddings().weight
    # 64 rows spread over the vocabulary are enough to distinguish models, and hashing them is fast.
    rows = torch.linspace(0, table.shape[0] - 1, 64).long().to(table.device)
    sample = table.detach()[rows].to(torch.bfloat16).view(torch.int16).cpu().numpy().tobytes()
    shape = [config.model_type, config.num_hidden_layers, config.hidden_size, *table.shape]
    return hashlib.sha256(json.dumps(shape).encode() + sample).hexdigest()[:16]


def from_hub(auto: Any, name: str, **kwargs: Any) -> Any:
    """Call `auto.from_pretrained` (AutoModel, AutoTokenizer, ...) for a hub id, folder or built-in name.

    Raises:
        ModelError: the model does not exist or cannot be loaded.
    """
    path = resolve_model(name)
    # "user/model" may be a hub id; other paths can only be folders, and the Hub's message would mislead.
    looks_local = os.sep in path and (path.startswith((".", os.sep, "~")) or path.count(os.sep) > 1)
    if looks_local and not Path(path).expanduser().is_dir():
        raise ModelError(
            f"model {name!r}: no such folder. Name a folder, a hub id, or one of {known_models()}."
        )
    advice = (
        f"Name a folder with a safetensors model, a hub id you have access to, or one of {known_models()}."
    )
    with as_model_error(f"model {name!r} cannot be loaded", advice):
        return auto.from_pretrained(path, **kwargs)


def has_four_bits() -> bool:
    """Whether weights can be kept in 4 bits: bitsandbytes, which supports CPUs and GPUs, is installed."""
    return importlib.util.find_spec("bitsandbytes") is not None


def _four_bit(device: str, dtype: "torch.dtype", double_quant: bool) -> dict[str, Any]:
    if not has_four_bits():
        raise ModelError(
            "QLoRA needs bitsandbytes, which is not installed. Type: pip install 'lookboth[quant]', or use "
            "adapter.kind = 'lora'."
        )
    from transformers import BitsAndBytesConfig

    return {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=double_quant,
            bnb_4bit_compute_dtype=dtype,
        ),
        "device_map": {"": device},
    }
