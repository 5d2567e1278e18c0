"""Tiny random models of many families, built from configurations, offline."""

from typing import Any

import torch
import transformers

VOCAB = 97
COMMON = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
    "attention_dropout": 0.0,
}
GROUPED = {"num_key_value_heads": 2}
SLIDING_AND_FULL = ["sliding_attention", "full_attention"]
WINDOW = 5

# family: (configuration class, arguments beyond COMMON)
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", GROUPED),
    "mistral": ("MistralConfig", {**GROUPED, "sliding_window": WINDOW}),
    "qwen2": ("Qwen2Config", GROUPED),
    "qwen3": ("Qwen3Config", {**GROUPED, "head_dim": 8}),
    "gemma2": ("Gemma2Config", {**GROUPED, "head_dim": 8, "sliding_window": WINDOW}),
    "gemma3": ("Gemma3TextConfig", {**GROUPED, "head_dim": 8, "sliding_window": WINDOW}),
    "phi3": ("Phi3Config", GROUPED),
    "gpt2": ("GPT2Config", {"attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0}),
    "opt": ("OPTConfig", {"ffn_dim": 48, "word_embed_proj_dim": 32, "dropout": 0.0}),
    "gpt_neox": ("GPTNeoXConfig", {}),
    "olmo": ("OlmoConfig", {}),
    "olmo2": ("Olmo2Config", GROUPED),
}
NEEDS_EAGER = {"gemma2"}
PACKED = torch.tensor([[0, 1, 2, 3, 0, 1, 0, 1, 2]])


def tiny_config(family: str, num_layers: int = 4, **changes: Any) -> Any:
    """Return a tiny configuration of a family in `FAMILIES`."""
    name, extra = FAMILIES[family]
    arguments = {**COMMON, "num_hidden_layers": num_layers, **extra}
    if family in ("gemma2", "gemma3"):
        arguments["layer_types"] = [SLIDING_AND_FULL[layer % 2] for layer in range(num_layers)]
    return getattr(transformers, name)(**{**arguments, **changes})


def tiny_model(
    family: str = "llama", num_layers: int = 4, backend: str = "sdpa", head: str = "Model", **changes: Any
) -> Any:
    """Return a tiny random model; `head` is the end of an Auto class, as in AutoModelForCausalLM.

    Weights are scaled up so that attention matters and moved states stand out.
    """
    torch.manual_seed(0)
    config = tiny_config(family, num_layers, attn_implementation=backend, **changes)
    model = getattr(transformers, f"Auto{head}").from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.normal_(0, 0.2)
    return model


def tokens(*shape: int, seed: int = 0) -> torch.Tensor:
    """Return random token ids, none of them the padding token."""
    return torch.randint(1, VOCAB, shape, generator=torch.Generator().manual_seed(seed))


def batches() -> dict[str, dict[str, torch.Tensor]]:
    """Return what a model may be given: rows of one length, padded on either side, several texts in a row."""
    right, left = torch.ones(3, 9, dtype=torch.long), torch.ones(3, 9, dtype=torch.long)
    right[0, 5:] = right[2, 1:] = left[1, :6] = 0
    return {
        "one length": {"input_ids": tokens(3, 9)},
        "padded right": {"input_ids": tokens(3, 9), "attention_mask": right},
        "padded left": {"input_ids": tokens(3, 9), "attention_mask": left},
        "packed": {"input_ids": tokens(1, 9), "position_ids": PACKED},
        "packed rows": {"input_ids": tokens(2, 9), "position_ids": PACKED.expand(2, -1)},
    }
