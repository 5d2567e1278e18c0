"""Tiny configurations of every causal language model of transformers, made from one set of sizes."""

from typing import Any

from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

FAMILIES = sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
# Each stands for a kind: local layers, mixtures, latent attention, shared keys, sinks, a mask of its own, a refusal.
QUICK = {
    "bart",
    "cohere2",
    "deepseek_v3",
    "doge",
    "falcon",
    "gemma4_text",
    "glm_moe_dsa",
    "gpt_oss",
    "longcat_flash",
    "minicpm3",
    "mistral",
    "modernbert-decoder",
    "qwen3_moe",
    "qwen3_next",
    "whisper",
}
# Recurrent or sparse layers, two stacks, attention or masks of their own, a language to be named first (X-MOD).
REFUSED = (
    "axk2 bailing_hybrid bamba bart big_bird bigbird_pegasus blenderbot blenderbot-small bloom blt "
    "codegen cpmant deepseek_v32 deepseek_v4 doge dots3_note dots3_note_text falcon falcon_h1 "
    "falcon_mamba git glm_moe_dsa gpt_neo gpt_neox_japanese gptj granitemoehybrid hrm_text hy_v4 "
    "inkling2_text inkling_text jamba kimi_linear lfm3 mamba mamba2 marian mbart megatron-bert minimax "
    "minimax_m3_vl_text mpt mvp nemotron_h olmo_hybrid openai-gpt pegasus plbart prophetnet qwen3_5 "
    "qwen3_5_moe qwen3_5_moe_text qwen3_5_text qwen3_next recurrent_gemma reformer rembert roformer rwkv "
    "whisper xglm xlm xlnet xlstm xmod zamba zamba2 zaya "
)
REFUSES = frozenset(REFUSED.split())
SIZES: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "moe_intermediate_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.2,
}
# Given only to configurations that have such a setting; others would keep it without knowing it.
WHERE_KNOWN: dict[str, Any] = {
    "num_experts": 4,
    "n_routed_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "head_dim": 8,
    "global_head_dim": 8,
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "sliding_window": 5,
    "vocab_size_per_layer_input": 97,
    "hidden_size_per_layer_input": 8,
}
SPECIAL: dict[str, dict[str, Any]] = {
    "gemma3n_text": {
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "num_kv_shared_layers": 2,
        "altup_num_inputs": 2,
        "activation_sparsity_pattern": [0.0] * 4,
        "laurel_rank": 8,
    },
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8, "num_experts": 4, "moe_topk": 2},
}


def tiny_family(model_type: str, backend: str) -> Any:
    """Return a tiny configuration of a family.

    Args:
        model_type: one of `FAMILIES`.
        backend: name of the attention implementation.
    """
    cls = CONFIG_MAPPING[model_type]
    settings = set(getattr(cls, "__annotations__", {}))
    latent = "kv_lora_rank" in settings  # keys of latent attention are as many as its heads
    sizes = SIZES | {"num_key_value_heads": 4 if latent else 2, "attn_implementation": backend}
    known = {key: value for key, value in WHERE_KNOWN.items() if key in settings}
    return cls(**sizes | known | SPECIAL.get(model_type, {}))
