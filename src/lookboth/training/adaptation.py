"""Adaptation before labeling: the weights that labeling will train are trained on raw text first."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from lookboth.config import RunConfig
from lookboth.errors import ConfigError
from lookboth.files import read_state, write_json
from lookboth.labelers import (
    ADAPTER_FOLDER,
    BACKBONE_FOLDER,
    read_back_adapter,
    read_back_backbone,
    save_adapter,
)
from lookboth.masking import MaskPlan, apply_plan, get_plan, remove_plan, under_plan
from lookboth.models import LanguageModel, load_language_model, plan_as_made, torch_dtype
from lookboth.run_folder import TrainingFolder
from lookboth.training.adaptation_texts import (
    TextBatches,
    adaptation_training,
    hold_out,
    plan_texts,
    read_texts,
    text_section,
)
from lookboth.training.checkpoints import load_weights
from lookboth.training.lora_places import describe_pairs
from lookboth.training.team import Team, from_all, on_first
from lookboth.training.trainer import fit
from lookboth.training.watching import diverged
from lookboth.types import Example


@dataclass(frozen=True, slots=True)
class AdaptationReport:
    """What an adaptation was and what it did.

    Args:
        objective, plan: as in the recipe.
        texts, held_out: number of texts trained on, and of texts kept aside.
        tokens: tokens seen in training, those of repeated passes counted again.
        steps: optimizer steps; best_step: the one whose weights are kept.
        loss_before, loss_after: mean loss of a prediction on the held-out texts, in nats.
        seconds: wall time of the last, finishing call.
    """

    objective: str
    plan: str
    texts: int
    held_out: int
    tokens: int
    steps: int
    best_step: int
    loss_before: float
    loss_after: float
    seconds: float


def adapt_backbone(
    config: RunConfig,
    backbone: Any,
    tokenizer: Any,
    *,
    seed: int,
    folder: Path,
    say: Callable[[str], None],
    texts: Sequence[Example] | None = None,
) -> AdaptationReport:
    """Train those weights of `backbone` that are to be trained on the raw text of a recipe, in place.

    The weights of the lowest held-out loss are kept and written to `folder` with the report. A call that was
    killed goes on from its last checkpoint; one that was finished only loads its weights.

    Args:
        config: a recipe with the section [adaptation].
        backbone: under the plan of labeling, with its adapter; it is left under that plan.
        tokenizer: of the backbone.
        seed: of batches, hidden tokens and dropout.
        folder: for checkpoints, weights and report.
        say: told of progress, a line at a time.
        texts: what `read_texts` gives for the recipe, where it has been read.

    Raises:
        ConfigError: a plan under which a token to be predicted is seen, text of dev or test data, or a learning
            rate at which the training diverges.
        DataError: there is no such text.
        ModelError: the model has no vocabulary head.
    """
    plan = _choose_plan(config, backbone)
    model = _language_model(config, backbone)
    kept = TrainingFolder(folder)
    if (
        finished := read_state(kept.adaptation_report, lambda stored: AdaptationReport(**stored))
    ) is not None:
        load_weights(model, kept.best)
        return finished
    with under_plan(backbone, plan):
        texts = texts or read_texts(config)
        report = _train(model, config, tokenizer, texts, seed=seed, folder=folder, say=say, plan=str(plan))
    on_first(lambda: _save(model, backbone, tokenizer, config, folder))
    on_first(lambda: write_json(kept.adaptation_report, asdict(report)))
    return report


@torch.no_grad()
def mean_loss(model: LanguageModel, batches: TextBatches) -> float:
    """Return the mean loss of a prediction over all batches, in nats; several processes share the batches."""
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    team, summed, count = Team.here(), 0.0, 0.0
    for index in range(team.rank, len(batches), team.size):
        tensors = {name: tensor.to(device) for name, tensor in batches[index].items()}
        predictions = len(tensors["labels"])
        summed += float(model(**tensors)["loss"]) * predictions
        count += predictions
    model.train(training)
    sums, counts = zip(*from_all((summed, count)), strict=True)
    return sum(sums) / max(sum(counts), 1)


def _choose_plan(config: RunConfig, backbone: Any) -> MaskPlan:
    section = text_section(config)
    plan = get_plan(backbone) or plan_as_made(backbone)
    if section.plan is not None or section.objective == "clm":
        plan = MaskPlan.parse(section.plan or "causal", plan.num_layers)
    if section.objective == "clm" and not plan.is_causal:
        raise ConfigError(
            f"adaptation.plan = {section.plan!r}: a position would see the very token it is to predict (objective "
            "clm), so that nothing is left to learn. Leave the plan out (causal; labeling keeps its own plan), or "
            "set adaptation.objective = 'mntp'."
        )
    return plan


def _language_model(config: RunConfig, backbone: Any) -> LanguageModel:
    """Return `backbone` with its vocabulary head, which is trained only where everything is."""
    inner = backbone.get_base_model() if hasattr(backbone, "peft_config") else backbone
    model = load_language_model(
        config.model, inner, revision=config.revision, trust_remote_code=config.trust_remote_code
    )
    for module in model.children():
        if module is not inner:
            module.requires_grad_(config.adapter.kind == "full")
    device = inner.get_input_embeddings().weight.device
    return LanguageModel(model, compute_dtype=torch_dtype(config.training.precision, device.type))


def _train(
    model: LanguageModel,
    config: RunConfig,
    tokenizer: Any,
    read: Sequence[Example],
    *,
    seed: int,
    folder: Path,
    say: Callable[[str], None],
    plan: str,
) -> AdaptationReport:
    clock, section = time.monotonic(), text_section(config)
    vocab_size = model.model.get_input_embeddings().weight.shape[0]
    texts, aside = hold_out(read)
    batches = plan_texts(texts, config, tokenizer, vocab_size=vocab_size, seed=seed)
    once = config.model_copy(update={"adaptation": section.model_copy(update={"epochs": 1, "steps": None})})
    held_out = plan_texts(aside, once, tokenizer, vocab_size=vocab_size, seed=0)
    before = mean_loss(model, held_out)
    if (pairs := describe_pairs(model)) is not None:
        say(f"adaptation: {pairs}")
    say(
        f"adaptation: {section.objective} under plan {plan}, {len(texts):,} texts, "
        f"{batches.num_tokens():,} tokens; held-out loss {before:.3f}; "
        "dev below is the geometric mean probability of the right token, in %"
    )
    history = fit(
        model,
        batches,
        config=adaptation_training(config),
        seed=seed,
        folder=folder,
        # A score must grow: the geometric mean of the probabilities of the tokens to be predicted.
        score_dev=lambda: math.exp(-mean_loss(model, held_out)),
        say=lambda line: say(f"adaptation: {line}"),
        lr_key="adaptation.lr",
        adapter=config.adapter,
    )
    if history.best_score <= 0:
        raise diverged("a held-out loss beyond all bounds", lr_key="adaptation.lr", lr=section.lr)
    after = -math.log(history.best_score)
    say(f"adaptation: held-out loss {before:.3f} -> {after:.3f}")
    return AdaptationReport(
        section.objective,
        plan,
        len(texts),
        len(aside),
        batches.num_tokens(),
        history.steps[-1],
        history.best_step,
        before,
        after,
        round(time.monotonic() - clock, 1),
    )


def _save(model: LanguageModel, backbone: Any, tokenizer: Any, config: RunConfig, folder: Path) -> None:
    """Write what was trained, as an adapter or as a whole language model, for use outside this run."""
    if config.adapter.kind != "full":
        save_adapter(backbone, folder / ADAPTER_FOLDER, base=config.model, revision=config.revision)
        read_back_adapter(backbone, folder / ADAPTER_FOLDER)
        return
    plan = get_plan(backbone)
    remove_plan(backbone)  # the plan of a training step is no part of a model
    model.model.save_pretrained(folder / BACKBONE_FOLDER)
    tokenizer.save_pretrained(folder / BACKBONE_FOLDER)
    read_back_backbone(backbone, folder / BACKBONE_FOLDER, trust_remote_code=config.trust_remote_code)
    if plan is not None:
        apply_plan(backbone, plan)
