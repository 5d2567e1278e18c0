"""Saves tiny labelers of every kind, with what they predict, as the fixture of the present format version.

Run once for each format version: `PYTHONPATH=tests python tests/models/formats/save.py`. What is there is never written
again, because the point of it is that it was saved by the lookboth of its time.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tiny import tiny_labeler, tiny_tokenizer
from transformers import AutoModelForCausalLM, LlamaConfig

from lookboth.config.recipe_files import parse_config
from lookboth.generative.generative_building import build_generative
from lookboth.inference.confidence import Confidence
from lookboth.labelers.labeler import Labeler
from lookboth.labelers.upgrades import FORMAT_VERSION
from lookboth.models.labeler_model import LabelerModel
from lookboth.types import Example, Span

FORMATS = Path(__file__).parent
TEXTS = ("Ada Lovelace was born in London.", "", "Toyota opened a plant near New York\x00 in 1993\u202e!")
SHOWN = [Example(("Ada", "was", "in", "London"), (Span(0, 1, "PER"), Span(3, 4, "LOC")))]


def main() -> None:
    """Save base, labelers and predictions."""
    folder = FORMATS / str(FORMAT_VERSION)
    if folder.exists():
        sys.exit(f"{folder} is there already; it must stay as it was saved.")
    base = save_base(folder / "base")
    for name, labeler in labelers(base).items():
        labeler.save_pretrained(folder / name)
        found = [prediction.to_dict() for prediction in labeler.predict(TEXTS)]
        (folder / name / "expected.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def save_base(folder: Path) -> Path:
    """Write a random Llama with two layers of 16."""
    tokenizer = tiny_tokenizer("byte-bos")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=256,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def labelers(base: Path) -> dict[str, Any]:
    """Return a labeler of every kind on `base`, which they call "base"."""
    sure = Confidence(precision=0.5, thresholds={"LOC": 0.2, "PER": 0.3}, temperature=1.5)
    made = {
        "lora": tiny_labeler(base, plan="0,2", label_on="mean", scheme="IOBES"),
        "crf": tiny_labeler(base, plan="full", head={"kind": "crf"}),
        "full": tiny_labeler(base, plan="causal", adapter="full"),
        "texts": _of_texts(base),
    }
    made["lora"].config = replace(made["lora"].config, confidence=sure)
    for labeler in made.values():
        labeler.config = replace(labeler.config, base="base")
    return made | {"generative": _generative(base)}


def _of_texts(base: Path) -> Labeler:
    words = tiny_labeler(base, plan="full", adapter="head")
    config = replace(
        words.config, task="classification", tags=("bad", "good"), scheme="plain", label_on="mean"
    )
    return Labeler(config, LabelerModel(words.model.backbone, config).eval(), words.tokenizer)


def _generative(base: Path) -> Any:
    recipe = {"model": str(base), "method": "icl", "data": {"train": "x"}, "training": {"precision": "fp32"}}
    settings = {"generative": {"k": 1, "max_answer_tokens": 12, "instruction": False}}
    labeler = build_generative(
        parse_config(recipe | settings), labels=["LOC", "PER"], pool=SHOWN, seed=0, device="cpu"
    )
    labeler.config = replace(labeler.config, base="base")
    return labeler


if __name__ == "__main__":
    main()
