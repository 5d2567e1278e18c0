"""Tiny labelers of many kinds, and their exports."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from encoders import TOKENIZERS, save_encoder
from tiny import tiny_labeler, tiny_tokenizer

from lookboth.config.recipe_files import parse_config
from lookboth.labelers.merging import merge_labeler
from lookboth.onnx.export import write_files
from lookboth.training.labeler_building import build_labeler
from lookboth.types import Example

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
SLIDING = {"head_dim": 8, "sliding_window": 5}
KINDS = ["sliding_attention", "full_attention"]
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {}),
    "mistral": ("MistralConfig", {"sliding_window": 5}),
    "qwen3": ("Qwen3Config", {"head_dim": 8}),
    "gemma3": ("Gemma3TextConfig", {**SLIDING, "layer_types": KINDS}),
    "gpt2": ("GPT2Config", {"attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0}),
}


class Case(NamedTuple):
    """What is exported: a family, a plan, and settings of `tiny_labeler` or of a recipe."""

    family: str
    plan: str
    settings: dict[str, Any]


WORDS = {
    "linear": Case("llama", "0,*", {}),
    "crf": Case("gpt2", "causal", {"head": {"kind": "crf"}, "label_on": "mean", "scheme": "IOBES"}),
    "gate": Case(
        "gemma3",
        "3,0",
        {"head": {"kind": "context_gate", "layers": "mix"}, "label_on": "first", "adapter": "full"},
    ),
}
MORE = {
    "nested": Case("llama", "0,*", {"head": {"kind": "nested"}}),
    "mistral": Case("mistral", "0,*", {"label_on": "first", "scheme": "plain"}),
    "qwen3": Case("qwen3", "full", {"head": {"kind": "linear", "layers": "mix"}}),
    "Bert": Case("Bert", "0011", {"label_on": "mean"}),
    "Roberta": Case("Roberta", "full", {}),
    "ModernBert": Case("ModernBert", "0,*,*,2", {}),
    "MPNet": Case("MPNet", "0,*,*,2", {}),
    "DebertaV2": Case("DebertaV2", "0,*,*,2", {}),
}
SEVERAL = Case("Bert", "full", {"head": {"kind": "multi_label", "threshold": 0.4}, "label_on": "max"})


def save_family(folder: Path, family: str) -> Path:
    """Write a tiny random model of a family with a tokenizer of its kind; weights are large enough to matter."""
    if family in TOKENIZERS:
        return save_encoder(folder, family)
    tokenizer = tiny_tokenizer("byte-bos-not-added" if family == "gpt2" else "byte-bos")
    name, extra = FAMILIES[family]
    torch.manual_seed(0)
    special = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    config = getattr(transformers, name)(**SMALL, **extra, **special, vocab_size=len(tokenizer))
    model = transformers.AutoModel.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.normal_(0, 0.2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make(folder: Path, case: Case) -> Any:
    """Return a labeler of words with random weights."""
    return tiny_labeler(save_family(folder, case.family), plan=case.plan, max_tokens=48, **case.settings)


def make_classifier(folder: Path, case: Case) -> Any:
    """Return a labeler of whole texts with random weights."""
    recipe = {
        "model": str(save_family(folder, case.family)),
        "task": "classification",
        "data": {"train": "x"},
    }
    sizes = {"max_tokens": 48, "overlap": 8, "training": {"precision": "fp32"}}
    config = parse_config({**recipe, **sizes, "plan": case.plan, **case.settings})
    labeler = build_labeler(config, labels=("joy", "fear", "hope"), device="cpu")
    labeler.model.eval()
    return labeler


def export_to(labeler: Any, folder: Path, weights: str = "fp32") -> Path:
    """Export a labeler without holding it against torch; its adapter is folded in for good."""
    folder.mkdir()
    merged = merge_labeler(labeler) if hasattr(labeler.model.backbone, "merge_and_unload") else labeler
    sample = [Example(("Ada", "was", "born", "in", "London")), Example(("Toyota",))]
    write_files(merged, folder, weights=weights, examples=sample, source={"name": "tiny"})
    return folder
