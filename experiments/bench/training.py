"""Sides of the training benchmark: methods to train a token classifier with LoRA on a decoder."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from alternate import Side, timed
from torch import nn

from lookboth.config.recipe import RunConfig
from lookboth.config.recipe_files import parse_config
from lookboth.data.batch_facts import place_inputs
from lookboth.data.sources import read_source
from lookboth.models.loading import load_config, load_tokenizer, resolve_model
from lookboth.progress import progress_to
from lookboth.training.batches import RunBatches, find_pad_id, tokenize_examples
from lookboth.training.frozen_states import keep_frozen_states
from lookboth.training.labeler_building import build_labeler
from lookboth.training.run_finishing import labels_of
from lookboth.types import Example, TokenizedExample

TARGETS = ("q_proj", "v_proj")


def recipe(
    model: str, precision: str, layout: str, *, layers: str | None = None, cached: bool = False
) -> RunConfig:
    """Return the recipe of all sides: LoRA on q and v, plan 0011, batches of 1,024 tokens."""
    return parse_config(
        {
            "model": model,
            "plan": "0011",
            "data": {"train": "wnut17"},
            "adapter": {"rank": 16, "target_modules": list(TARGETS), "layers": layers},
            "training": {
                "precision": precision,
                "layout": layout,
                "batch_tokens": 1024,
                "cache_frozen": cached,
            },
        }
    )


def sides(model: str, num_sentences: int, device: str) -> list[Side]:
    """Return the sides: the usual method, the papers' method, and lookboth in fp32 and bf16.

    The papers' method is the slowest and all its batches have the same shape, so it gets a quarter of the sentences.
    Batches of similar length need many sentences to choose from, as in a real training. The warm-up round is the epoch
    that fills the cache of frozen states; the later epochs are measured.
    """
    examples = list(read_source("wnut17", "train").examples)[:num_sentences]
    words = sum(len(example.words) for example in examples)
    pieces = _pieces(examples, model)
    tokens = sum(map(len, pieces))
    usual = _usual(model, pieces, device, pad_to=None, checkpointing=False)
    few = -(-num_sentences // 4)
    papers = _usual(model, pieces[:few], device, pad_to=128, checkpointing=True)
    made = [
        Side("usual", usual, words, "padded batches of 16 in the order of the data, fp32, stock causal mask"),
        Side(
            "papers",
            papers,
            sum(len(example.words) for example in examples[:few]),
            "batches of 16 padded to 128 tokens, 4-D masks, eager, checkpointing, fp32",
        ),
    ]
    for precision in ("fp32", "bf16"):
        layout = "packed" if device.startswith("cuda") else "bucketed"
        for name, layers, cached, where in (
            ("", None, False, ""),
            (", upper half", "01", False, ", LoRA in the upper half of the layers"),
            (", upper half cached", "01", True, ", LoRA in the upper half, states of the lower half kept"),
        ):
            config = recipe(model, precision, layout, layers=layers, cached=cached)
            note = f"{layout} batches of 1,024 tokens, plan 0011{where}"
            made.append(
                Side(f"lookboth {precision}{name}", _ours(config, examples, device), words, note, tokens)
            )
    return made


def _pieces(examples: Sequence[Example], model: str) -> list[TokenizedExample]:
    from lookboth.data.alignment import WordEncoder
    from lookboth.data.schemes import tags_for_labels

    config = recipe(model, "fp32", "bucketed")
    tags = tags_for_labels(labels_of(examples), config.scheme)
    return tokenize_examples(examples, WordEncoder(load_tokenizer(model)), tags=tags, config=config)


def _usual(
    model: str, pieces: Sequence[TokenizedExample], device: str, *, pad_to: int | None, checkpointing: bool
) -> Callable[[], float]:
    """Return a round of transformers' own token classifier with PEFT, in batches of 16."""
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import AutoModelForTokenClassification

    config = load_config(model)
    config.num_labels = 1 + max(tag for piece in pieces for tag in piece.labels or ())
    kwargs = {"attn_implementation": "eager"} if checkpointing else {}
    stock = AutoModelForTokenClassification.from_pretrained(
        resolve_model(model), config=config, dtype=torch.float32, **kwargs
    )
    lora = LoraConfig(r=16, lora_alpha=32, target_modules=list(TARGETS), task_type=TaskType.TOKEN_CLS)
    classifier = get_peft_model(stock, lora).to(device).train()
    if checkpointing:
        classifier.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    batches = [padded(pieces[i : i + 16], pad_to, device) for i in range(0, len(pieces), 16)]
    return _round(classifier, batches)


def padded(pieces: Sequence[TokenizedExample], pad_to: int | None, device: str) -> dict[str, torch.Tensor]:
    """Return a batch padded to its longest sentence, or to `pad_to` tokens with the papers' 4-D mask."""
    length = pad_to or max(map(len, pieces))
    ids = torch.zeros(len(pieces), length, dtype=torch.long)
    labels = torch.full((len(pieces), length), -100)
    mask = torch.zeros(len(pieces), length, dtype=torch.long)
    for row, piece in enumerate(pieces):
        kept = min(len(piece), length)
        ids[row, :kept] = torch.tensor(piece.input_ids[:kept])
        mask[row, :kept] = 1
        for (_, end), tag in zip(piece.word_tokens, piece.labels or (), strict=True):
            if end <= length:
                labels[row, end - 1] = tag
    batch: dict[str, torch.Tensor] = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    # The papers' code passes a full matrix of scores to each layer, which is added to the attention scores.
    if pad_to is not None:
        allowed = mask[:, None, None, :].bool().expand(-1, 1, length, -1)
        batch["attention_mask"] = torch.where(allowed, 0.0, torch.finfo(torch.float32).min)
    return {name: tensor.to(device) for name, tensor in batch.items()}


def _ours(config: RunConfig, examples: Sequence[Example], device: str) -> Callable[[], float]:
    labeler = build_labeler(config, labels=labels_of(examples), device=device)
    pieces = tokenize_examples(examples, labeler.encoder, tags=labeler.config.tags, config=config)
    one_epoch = config.model_copy(update={"training": config.training.model_copy(update={"epochs": 1})})
    planned = RunBatches.build(pieces, config=one_epoch, seed=0, pad_id=find_pad_id(labeler.tokenizer))
    with progress_to(print):
        keep_frozen_states(labeler.model, planned, config.training).__enter__()
    batches = [place_inputs(planned[i], device) for i in range(len(planned))]
    return _round(labeler.model.train(), batches)


def _round(model: nn.Module, batches: Sequence[dict[str, Any]]) -> Callable[[], float]:
    """Return a function that times one pass over the batches, with one optimizer step per batch."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)

    def work() -> None:
        for batch in batches:
            output = model(**batch)
            loss = output["loss"] if isinstance(output, dict) else output.loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return lambda: timed(work)
