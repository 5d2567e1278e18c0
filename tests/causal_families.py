"""Tiny configurations of every family that transformers has a causal language model for, made from one set of sizes."""

from typing import Any

import transformers
from tiny import tiny_tokenizer
from transformers import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

NUM_LAYERS = 4
MAX_WEIGHTS = 3_000_000  # a family whose own sizes were not taken is not built
_TOKENIZER = tiny_tokenizer("byte-bos")
VOCABULARY = len(_TOKENIZER) + 8  # tokens; some families' tokenizer classes add tokens of their own
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48,
    "num_hidden_layers": NUM_LAYERS, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    "max_position_embeddings": 256, "initializer_range": 0.2,
    # The vector of the padding token is 0, and a norm of it multiplies gradients by 1000: "!" is in none of the texts.
    "pad_token_id": _TOKENIZER.convert_tokens_to_ids("!"), "bos_token_id": _TOKENIZER.bos_token_id,
    "eos_token_id": _TOKENIZER.eos_token_id,
}  # fmt: skip
EXPERTS: dict[str, Any] = {
    "moe_intermediate_size": 16, "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4,
    "moe_num_experts": 4, "num_experts_per_tok": 2, "moe_k": 2, "n_group": 1, "topk_group": 1,
    "first_k_dense_replace": 1, "n_shared_experts": 1, "shared_expert_intermediate_size": 16,
}  # fmt: skip
LATENT: dict[str, Any] = {
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
    "num_key_value_heads": 4,
}  # fmt: skip
PER_LAYER = {"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": SIZES["vocab_size"]}
SLIDING = {"layer_types": ["sliding_attention", "full_attention"] * 2, "sliding_window": 5}
# family: what its configuration needs beside the sizes that all are given; None takes a size away
NEEDS: dict[str, dict[str, Any]] = {
    "deepseek_v2": LATENT, "deepseek_v3": LATENT, "glm4_moe_lite": LATENT, "axk1": LATENT, "youtu": LATENT,
    "minicpm3": {**LATENT, "head_dim": None}, "hunyuan_v1_moe": {"moe_topk": 2},
    "longcat_flash": {
        **LATENT, "num_layers": 2, "ffn_hidden_size": 48, "expert_ffn_hidden_size": 16, "moe_topk": 2,
        "zero_expert_num": 2,
    },
    "laguna": {
        "num_attention_heads_per_layer": None, "layer_types": ["full_attention"] * 4,
        "mlp_layer_types": ["dense", "sparse"] * 2,
    },
    "gemma2": SLIDING, "gemma3_text": SLIDING, "cohere2": SLIDING,
    "gemma3n_text": {
        **SLIDING, **PER_LAYER, "num_kv_shared_layers": 2, "altup_num_inputs": 2,
        "activation_sparsity_pattern": [0.0] * 4, "laurel_rank": 8,
    },
    "gemma4_text": {**SLIDING, **PER_LAYER, "num_kv_shared_layers": 0, "global_head_dim": 8},
    "llama4_text": {"intermediate_size_mlp": 48, "attention_chunk_size": 8},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 16, "do_layer_norm_before": False},
    "phimoe": {"head_dim": None}, "gpt2": {"head_dim": None}, "dbrx": {},
    "modernbert-decoder": {"local_attention": 8, "cls_token_id": 1, "sep_token_id": 2, "head_dim": None},
    "ernie4_5_moe": {"moe_num_shared_experts": 1, "moe_layer_start_index": 1},
    "stablelm": {"head_dim": None}, "persimmon": {"head_dim": None}, "phi": {"head_dim": None},
    "glm": {"head_dim": 8}, "xglm": {"ffn_dim": 48, "d_model": 32, "attention_heads": 4, "num_layers": 4},
    "biogpt": {"head_dim": None}, "lfm2_moe": {"layer_types": ["full_attention"] * 4},
    "jetmoe": {"kv_channels": 8, "num_key_value_heads": 2},
    "gptj": {"head_dim": None, "rotary_dim": 4}, "codegen": {"head_dim": None, "rotary_dim": 4},
    "nemotron": {"head_dim": 8},
    "falcon": {"head_dim": None}, "mamba": {"state_size": 4}, "falcon_mamba": {"state_size": 4},
    "falcon_h1": {
        "mamba_chunk_size": 8, "mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 4,
    },
    # Unlike its heads, experts are not part of this family: equal numbers of both would be taken for experts.
    "recurrent_gemma": dict.fromkeys(EXPERTS),
    # Each cycle repeats both stacks, which multiplies the rounding of merged weights.
    "hrm_text": {"H_cycles": 1, "L_cycles": 2},
    "granitemoeshared": {"shared_intermediate_size": 16},
}  # fmt: skip


def causal_config(family: str) -> Any:
    """Return a tiny configuration of a model type."""
    given = {**SIZES, **EXPERTS, **NEEDS.get(family, {})}
    return CONFIG_MAPPING[family](**{key: value for key, value in given.items() if value is not None})


def causal_families() -> list[str]:
    """Return the model types that have a causal language model."""
    return sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def build_causal(family: str) -> Any:
    """Return a tiny random backbone, or None where it does not come out tiny."""
    import torch

    config = causal_config(family)
    with torch.device("meta"):
        shape = transformers.AutoModel.from_config(config)
    if sum(weight.numel() for weight in shape.parameters()) > MAX_WEIGHTS:
        return None
    torch.manual_seed(0)
    return transformers.AutoModel.from_config(config)
