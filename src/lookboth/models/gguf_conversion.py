"""Conversion of a GGUF file to a safetensors folder, dequantized tensor by tensor."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookboth.errors import ModelError
from lookboth.files import open_to_readers

if TYPE_CHECKING:
    import torch


def convert_gguf(
    file: Path,
    target: Path,
    *,
    dtype: "torch.dtype",
    settings: Mapping[str, Any] | None = None,
    adjust_tokenizer: Callable[[Any], None] | None = None,
) -> None:
    """Convert the model and the tokenizer of a GGUF file to a folder that transformers loads.

    Each tensor is dequantized in fp32 and rounded to `dtype` before the next one is read. The peak memory is thus the
    model in `dtype` plus a few copies of its largest tensor in fp32.

    Args:
        file: the GGUF file.
        target: an existing folder for the result.
        dtype: dtype of the weights on disk.
        settings: settings of the published config.json that the header of the file lacks or states incorrectly.
        adjust_tokenizer: corrects the tokenizer in the same way.

    Raises:
        ModelError: the package gguf is not installed.
    """
    import torch
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    source: dict[str, Any] = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
    try:
        config = AutoConfig.from_pretrained(**source)
        tokenizer = AutoTokenizer.from_pretrained(**source)
    except ImportError as error:
        raise ModelError(
            "reading a GGUF file needs the package gguf. Type: pip install 'lookboth[demo]'"
        ) from error
    # Otherwise the local path of the GGUF file would be saved in config.json.
    config.name_or_path = ""
    config.update(dict(settings or {}))
    weights = _weights(file, config, dtype)
    # On the meta device and with assign=True, the weights are in memory only once.
    with torch.device("meta"):
        model = AutoModel.from_config(config, dtype=dtype)
    model.load_state_dict(weights, assign=True)
    model.save_pretrained(target)
    if adjust_tokenizer is not None:
        adjust_tokenizer(tokenizer)
    tokenizer.save_pretrained(target)
    open_to_readers(target)


def _weights(file: Path, config: Any, dtype: "torch.dtype") -> dict[str, "torch.Tensor"]:
    """Return the weights of the model without its vocabulary head, by transformers' names."""
    import torch
    from transformers import AutoModelForCausalLM

    from lookboth.compat import read_gguf_weights

    with torch.device("meta"):
        shape = AutoModelForCausalLM.from_config(config, dtype=dtype)
    found = read_gguf_weights(file, shape, dtype)
    head = found.pop("lm_head.weight", None)
    prefix = f"{shape.base_model_prefix}."
    weights = {name.removeprefix(prefix): weight for name, weight in found.items()}
    if head is not None and config.tie_word_embeddings:
        # The weights are tied; GGUF files store the copy of the vocabulary head with more bits.
        weights["embed_tokens.weight"] = head
    return weights
