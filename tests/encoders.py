"""Tiny random encoders of each family, built from configurations, offline."""

from pathlib import Path
from typing import Any

import torch
import transformers
from tiny import tiny_tokenizer

VOCAB = 97
SMALL = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 40,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
RELATIVE = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "pad_token_id": 0}
ENCODERS: dict[str, dict[str, Any]] = {
    "Bert": SMALL,
    "Roberta": SMALL,
    "XLMRoberta": SMALL,
    "Electra": {**SMALL, "embedding_size": 16},
    "DistilBert": {
        "vocab_size": VOCAB,
        "dim": 32,
        "hidden_dim": 48,
        "n_layers": 4,
        "n_heads": 4,
        "max_position_embeddings": 40,
    },
    "ModernBert": {
        **SMALL,
        "local_attention": 6,
        "global_attn_every_n_layers": 2,
        "cls_token_id": 0,
        "sep_token_id": 2,
    },
    "MPNet": SMALL,
    "Deberta": {**SMALL, **RELATIVE},
    "DebertaV2": {
        **SMALL,
        **RELATIVE,
        "position_biased_input": False,
        "share_att_key": True,
        "position_buckets": 8,
        "norm_rel_ebd": "layer_norm",
    },
}
TOKENIZERS = {
    "Bert": "wordpiece",
    "Roberta": "roberta",
    "ModernBert": "modernbert",
    "MPNet": "mpnet",
    "DebertaV2": "deberta-v3",
}


def encoder(name: str, backend: str | None = None, **changes: Any) -> Any:
    """Return a tiny random encoder; weights are scaled up so that attention matters."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**{**ENCODERS[name], **changes})
    given = {"attn_implementation": backend} if backend else {}
    model = transformers.AutoModel.from_config(config, **given).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.normal_(0, 0.2)
    return model


def save_encoder(folder: Path, name: str) -> Path:
    """Write a random encoder of the family `name`, with a tokenizer of its kind, as a safetensors folder."""
    tokenizer = tiny_tokenizer(TOKENIZERS[name])
    special = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.cls_token_id,
        "eos_token_id": tokenizer.sep_token_id,
    }
    if name == "ModernBert":
        special |= {"cls_token_id": tokenizer.cls_token_id, "sep_token_id": tokenizer.sep_token_id}
    model = encoder(name, vocab_size=len(tokenizer), max_position_embeddings=130, **special)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
