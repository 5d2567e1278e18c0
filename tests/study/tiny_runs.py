"""Every recipe and study as tiny runs: a random model of the family it names, made-up data of its task, few steps.

`make try-recipes` runs all of them; tests run a sample.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from encoders import save_encoder
from tiny import CORPUS, tiny_tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

from lookboth.config import WITH_HEAD, RunConfig, load_recipe, overlay, parse_config
from lookboth.errors import LookbothError
from lookboth.masking import MaskPlan, read_layers
from lookboth.models import save_adapter
from lookboth.run_folder import RunFolder
from lookboth.study.cells import study_settings
from lookboth.study.config import load_study
from lookboth.training import build_base, train

RECIPES = Path(__file__).parent.parent.parent / "recipes"
ENCODERS = {"modernbert": "ModernBert", "roberta": "Roberta", "minilm": "Bert", "mpnet": "MPNet"}
# Part of a model's name: its family in transformers.
DECODERS = {
    "llama": "llama",
    "smollm2": "llama",
    "mistral": "mistral",
    "gemma-2": "gemma2",
    "gemma3": "gemma3_text",
    "gemma": "gemma",
    "qwen3": "qwen3",
    "qwen2": "qwen2",
}
# Layers: few, and for plans and exits that name deeper layers as many as in SmolLM2.
SHALLOW, DEEP = DEPTHS = (4, 30)
# Tokens; enough for a text of `TEXT_TOKENS` tokens, its answer and some demonstrations.
POSITIONS, TEXT_TOKENS = 1024, 96
# Tokens; the tiny encoders have 130 positions.
ENCODER_TOKENS = 64


def all_runs(folder: Path) -> Iterator[tuple[str, RunConfig]]:
    """Yield name and recipe of every recipe file, and of every method with every model of every study file.

    A study's data sets are taken in turn, one per method and model.
    """
    for file in sorted(RECIPES.glob("*.toml")):
        yield file.stem, load_recipe(file)
    for file in sorted((RECIPES / "studies").glob("*.toml")):
        study = load_study(file)
        names, methods = list(study.datasets), dict[tuple[str | None, str], int]()
        for setting in study_settings(study, folder):
            number = methods.setdefault((setting.study.get("model"), setting.study["method"]), len(methods))
            if names[number % len(names)] == setting.study["data"]:
                cell = setting.final_cell(study.seeds[0], setting.choices[0])
                yield f"{file.stem}/{setting.name}", cell.config


def tiny_run(config: RunConfig, folder: Path) -> RunConfig:
    """Return the recipe on a tiny model and made-up data, with one epoch of one or two steps."""
    model = model_like(config.model, folder, depth_for(config))
    encoder = is_encoder(config.model)
    changes: dict[str, Any] = {
        "model": str(model),
        "revision": None,
        "data": {"train": [str(data_like(config, folder))], "dev": [], "test": None},
        "training": {
            "epochs": 1,
            "accumulation": 1,
            "checkpoint_steps": 1,
            "seeds": config.training.seeds[:1],
        },
        "generative": {"embedding_model": str(model_like("minilm-l6", folder)), "max_answer_tokens": 8},
        "adapter": {"rank": min(config.adapter.rank, 4)},
    }
    if encoder:
        changes |= {"max_tokens": ENCODER_TOKENS, "overlap": 0}
    if config.method not in WITH_HEAD:
        changes |= {"max_tokens": TEXT_TOKENS, "overlap": 0}
        changes["generative"]["max_tokens"] = POSITIONS
    if config.adaptation is not None:
        changes["adaptation"] = {"steps": 1, "text": []}
    if config.adapter.start_from:
        changes["adapter"]["start_from"] = str(_adapter_like(config, model, folder))
    if config.distill is not None:
        changes["distill"] = {
            "teachers": [str(_teacher_like(config, folder))],
            "texts": [str(_texts(folder))],
        }
    return parse_config(overlay(config.to_dict(), changes))


def is_encoder(name: str) -> bool:
    """Return whether a model of the recipes is an encoder."""
    return any(part in name.lower() for part in ENCODERS)


def depth_for(config: RunConfig) -> int:
    """Return the smallest of `DEPTHS` that every plan and layer of the recipe fits."""
    plans = filter(None, (config.plan, config.train_plan, config.generative.prompt_plan))
    for depth in DEPTHS[:-1]:
        try:
            for plan in plans:
                MaskPlan.parse(plan, depth)
            read_layers(config.adapter.layers or "top:1", depth)
        except LookbothError:
            continue
        if (config.exit_layer or 0) <= depth:
            return depth
    return DEEP


def model_like(name: str, folder: Path, depth: int = SHALLOW) -> Path:
    """Return a folder with a tiny random model of the family of a recipe's model; made once."""
    target = folder / f"{name.replace('/', '--')}-{depth}"
    if not target.is_dir():
        low = name.lower()
        if is_encoder(low):
            save_encoder(target, next(family for part, family in ENCODERS.items() if part in low))
        else:
            _save_decoder(target, next(family for part, family in DECODERS.items() if part in low), depth)
    return target


def _save_decoder(folder: Path, family: str, depth: int) -> None:
    tokenizer = tiny_tokenizer("byte-bos")
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        family,
        # The tokenizers of some families (Qwen2) add a token of their own when they are loaded.
        vocab_size=len(tokenizer) + 8,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=depth,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=POSITIONS,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def data_like(config: RunConfig, folder: Path) -> Path:
    """Return a folder of train, dev and test data of the recipe's task, with the labels of its label map."""
    labels = sorted({"LOC", "PER", *config.data.label_map, *config.generative.descriptions} - {"*"})
    kind = "texts" if config.task == "classification" else config.scheme
    # A generated answer takes a forward pass for every few words.
    most = None if config.method in WITH_HEAD else 6
    target = folder / f"data-{kind}-{len(labels)}-{most}"
    if not target.is_dir():
        target.mkdir(parents=True)
        rng = random.Random(0)
        for split, count in (("train", 12), ("dev", 4), ("test", 4)):
            _write_split(target, split, kind, [_sentence(rng)[:most] for _ in range(count)], labels, rng)
    return target


def _sentence(rng: random.Random) -> list[str]:
    words = rng.choice(CORPUS).split()
    # Some are longer than the windows of every recipe with truncation.
    return words * rng.choice([1, 1, 1, 6])


def _write_split(
    folder: Path, split: str, kind: str, sentences: list[list[str]], labels: list[str], rng: random.Random
) -> None:
    if kind == "texts":
        rows = [
            json.dumps({"text": " ".join(s), "label": labels[i % len(labels)]})
            for i, s in enumerate(sentences)
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
        return
    # In the scheme plain every word has a label.
    tags = labels if kind == "plain" else ["O", "O", *(f"B-{label}" for label in labels)]
    blocks = ["".join(f"{word} {rng.choice(tags)}\n" for word in words) for words in sentences]
    (folder / f"{split}.conll").write_text("\n".join(blocks), encoding="utf-8")


def _teacher_like(config: RunConfig, folder: Path) -> Path:
    """Return a labeler trained on the data of a recipe, which teaches it."""
    target = RunFolder(folder / f"teacher-{config.scheme}" / "seed-0")
    if not target.labeler.is_dir():
        recipe = {
            "model": str(model_like("smollm2", folder)),
            "scheme": config.scheme,
            "data": {"train": str(data_like(config, folder))},
            "adapter": {"rank": 2},
            "training": {"epochs": 1, "precision": "fp32"},
        }
        train(parse_config(recipe), target.path.parent)
    return target.labeler


def _texts(folder: Path) -> Path:
    """Return a file of texts without labels."""
    file = folder / "texts.txt"
    file.write_text("\n".join(CORPUS) + "\n", encoding="utf-8")
    return file


def _adapter_like(config: RunConfig, model: Path, folder: Path) -> Path:
    """Return a saved adapter of the whole model, to start a recipe from."""
    target = folder / "adapter-to-start-from"
    if not target.is_dir():
        new = {"exit_layer": None, "plan": None, "model": str(model)}
        whole = parse_config(overlay(config.to_dict(), new, {"adapter": {"rank": 4, "start_from": None}}))
        save_adapter(build_base(whole, device="cpu").backbone, target, base=str(model), revision=None)
    return target
