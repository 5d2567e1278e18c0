"""Domain adaptation: train the weights on raw text before training on labels."""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from lookboth.config import RunConfig
from lookboth.data import place_inputs
from lookboth.errors import ConfigError
from lookboth.files import open_to_readers, read_state, write_json
from lookboth.labelers import (
    ADAPTER_FOLDER,
    BACKBONE_FOLDER,
    read_back_adapter,
    read_back_backbone,
)
from lookboth.masking import MaskPlan, apply_plan, get_plan, remove_plan, under_plan
from lookboth.models import LanguageModel, load_language_model, plan_as_made, save_adapter, torch_dtype
from lookboth.run_folder import TrainingFolder
from lookboth.training.adaptation_texts import (
    OF_LOSS,
    TextBatches,
    adaptation_training,
    hold_out,
    read_texts,
    schedule_texts,
    text_section,
)
from lookboth.training.checkpoints import load_weights
from lookboth.training.lora_places import describe_pairs
from lookboth.training.loss_callbacks import diverged
from lookboth.training.process_group import ProcessGroup, gather_from_ranks, on_rank_zero
from lookboth.training.trainer import fit
from lookboth.types import Example

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AdaptationReport:
    """Settings and results of an adaptation.

    Args:
        objective, plan: as in the recipe.
        texts, held_out: number of training texts and of held-out texts.
        tokens: training tokens, counted once per epoch.
        steps: number of optimizer steps; best_step: the step whose weights are kept.
        loss_before, loss_after: mean loss per prediction on the held-out texts, in nats; on a sample of the
            training texts if none are held out.
        seconds: wall time of the last call, the one that finished.
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
    texts: Sequence[Example] | None = None,
) -> AdaptationReport:
    """Train the trainable weights of `backbone` on the raw text of a recipe, in place.

    The weights with the lowest held-out loss are kept and written to `folder` with the report. An interrupted
    call resumes from its last checkpoint. A finished one only loads its weights.

    Args:
        config: a recipe with the section [adaptation].
        backbone: the model under the plan of labeling, with its adapter; it has the same plan afterwards.
        tokenizer: tokenizer of the backbone.
        seed: seed of batches, masked tokens and dropout.
        folder: folder for checkpoints, weights and report.
        texts: result of `read_texts` for the recipe, if it was read before.

    Raises:
        ConfigError: a plan under which a token to predict is visible, text of dev or test data, or a learning
            rate at which the training diverges.
        DataError: there is less text than adaptation needs.
        ModelError: the model has no vocabulary head.
    """
    plan = _choose_plan(config, backbone)
    model = _language_model(config, backbone)
    kept = TrainingFolder(folder)
    if (
        finished := read_state(kept.adaptation_report, lambda stored: AdaptationReport(**stored))
    ) is not None:
        # A run that was killed after its adaptation continues with these weights.
        load_weights(model, kept.best)
        return finished
    with under_plan(backbone, plan):
        texts = texts or read_texts(config)
        report = _train(model, config, tokenizer, texts, seed=seed, folder=folder, plan=str(plan))
    on_rank_zero(lambda: _save(model, backbone, tokenizer, config, folder))
    on_rank_zero(lambda: write_json(kept.adaptation_report, asdict(report)))
    return report


@torch.no_grad()
def mean_loss(model: LanguageModel, batches: TextBatches) -> float:
    """Return the mean loss per prediction over all batches, in nats; the processes of a group share the batches."""
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    group, summed, count = ProcessGroup.current(), 0.0, 0.0
    for index in range(group.rank, len(batches), group.size):
        tensors = place_inputs(batches[index], device)
        predictions = len(tensors["labels"])
        summed += float(model(**tensors)["loss"]) * predictions
        count += predictions
    model.train(training)
    sums, counts = zip(*gather_from_ranks((summed, count)), strict=True)
    return sum(sums) / max(sum(counts), 1)


def _choose_plan(config: RunConfig, backbone: Any) -> MaskPlan:
    section = text_section(config)
    plan = get_plan(backbone) or plan_as_made(backbone)
    if section.plan is not None or section.objective == "clm":
        plan = MaskPlan.parse(section.plan or "causal", plan.num_layers)
    if section.objective == "clm" and not plan.is_causal:
        raise ConfigError(
            f"adaptation.plan = {section.plan!r}: with objective clm a position would attend to the "
            "token that it predicts, so nothing would be learned. Leave the plan out (causal; labeling keeps its own "
            "plan), or set adaptation.objective = 'mntp'. To train as in llm-unmasking nevertheless, set "
            "'clm_under_plan'."
        )
    return plan


def _language_model(config: RunConfig, backbone: Any) -> LanguageModel:
    """Return `backbone` with its vocabulary head, which is trainable only in full fine-tuning."""
    inner = backbone.get_base_model() if hasattr(backbone, "peft_config") else backbone
    model = load_language_model(
        config.model, inner, revision=config.revision, trust_remote_code=config.trust_remote_code
    )
    for module in model.children():
        if module is not inner:
            # With LoRA the vocabulary head stays as pretrained; labeling discards it anyway.
            module.requires_grad_(config.adapter.kind == "full")
    device = inner.get_input_embeddings().weight.device
    return LanguageModel(model, compute_dtype=torch_dtype(config.training.precision, device.type))


@dataclass(frozen=True, slots=True)
class _Texts:
    """The texts of an adaptation.

    Args:
        trained, scored: batches of the training, and of one evaluation.
        num_trained, num_held_out: number of texts.
        loss_name: name of the loss over `scored`, for messages.
    """

    trained: TextBatches
    scored: TextBatches
    num_trained: int
    num_held_out: int
    loss_name: str


def _without_choice_by_few(config: RunConfig, read: Sequence[Example]) -> RunConfig:
    """Return the recipe; where the held-out texts are too few to choose weights, the last ones are kept."""
    section = text_section(config)
    if section.keep == "last" or len(hold_out(read)[1]) >= OF_LOSS.least:
        return config
    LOGGER.info(
        f"adaptation: {len(read)} texts are too few to hold out {OF_LOSS.least} of them and choose the best weights: "
        "all are trained on, and the last weights are kept"
    )
    return config.model_copy(update={"adaptation": section.model_copy(update={"keep": "last"})})


def _divide(
    read: Sequence[Example], config: RunConfig, tokenizer: Any, *, vocab_size: int, seed: int
) -> _Texts:
    """Divide the texts into those to train on and those to score."""
    section = text_section(config)
    # Scored once per evaluation, however many epochs the training has.
    once = config.model_copy(update={"adaptation": section.model_copy(update={"epochs": 1, "steps": None})})
    rest, aside = hold_out(read)
    # Without a choice of weights nothing is held out: the loss is that of a sample of the training texts.
    texts = rest if section.keep == "best" else list(read)
    trained = schedule_texts(texts, config, tokenizer, vocab_size=vocab_size, seed=seed)
    # The same masked tokens in every evaluation, so that losses are comparable.
    scored = schedule_texts(aside, once, tokenizer, vocab_size=vocab_size, seed=0)
    if section.keep == "best":
        return _Texts(trained, scored, len(texts), len(aside), "held-out loss")
    return _Texts(trained, scored, len(texts), 0, f"loss on {len(aside)} training texts")


def _train(
    model: LanguageModel,
    config: RunConfig,
    tokenizer: Any,
    read: Sequence[Example],
    *,
    seed: int,
    folder: Path,
    plan: str,
) -> AdaptationReport:
    clock, section = time.monotonic(), text_section(config)
    vocab_size = model.model.get_input_embeddings().weight.shape[0]
    config = _without_choice_by_few(config, read)
    texts = _divide(read, config, tokenizer, vocab_size=vocab_size, seed=seed)
    before = mean_loss(model, texts.scored)
    if (pairs := describe_pairs(model)) is not None:
        LOGGER.info(f"adaptation: {pairs}")
    LOGGER.info(
        f"adaptation: {section.objective} under plan {plan}, {texts.num_trained:,} texts, "
        f"{texts.trained.num_tokens():,} tokens; {texts.loss_name} {before:.3f}; "
        "dev below is the geometric mean probability of the correct token, in %"
    )
    history = fit(
        model,
        texts.trained,
        config=adaptation_training(config),
        seed=seed,
        folder=folder,
        # A higher score must be better: the geometric mean probability of the tokens to predict.
        score_dev=lambda: math.exp(-mean_loss(model, texts.scored)),
        section="adaptation",
        adapter=config.adapter,
    )
    if history.best_score <= 0:
        raise diverged(f"infinite {texts.loss_name}", lr_key="adaptation.lr", lr=section.lr)
    after = -math.log(history.best_score)
    LOGGER.info(f"adaptation: {texts.loss_name} {before:.3f} -> {after:.3f}")
    return AdaptationReport(
        section.objective,
        plan,
        texts.num_trained,
        texts.num_held_out,
        texts.trained.num_tokens(),
        history.steps[-1],
        history.best_step,
        before,
        after,
        round(time.monotonic() - clock, 1),
    )


def _save(model: LanguageModel, backbone: Any, tokenizer: Any, config: RunConfig, folder: Path) -> None:
    """Write the trained weights as an adapter or as a full language model, for use outside this run."""
    if config.adapter.kind != "full":
        save_adapter(backbone, folder / ADAPTER_FOLDER, base=config.model, revision=config.revision)
        open_to_readers(folder)
        read_back_adapter(backbone, folder / ADAPTER_FOLDER)
        return
    plan = get_plan(backbone)
    # The plan of adaptation is a setting of this training, not a property of the saved model.
    remove_plan(backbone)
    model.model.save_pretrained(folder / BACKBONE_FOLDER)
    tokenizer.save_pretrained(folder / BACKBONE_FOLDER)
    open_to_readers(folder)
    read_back_backbone(backbone, folder / BACKBONE_FOLDER, trust_remote_code=config.trust_remote_code)
    if plan is not None:
        apply_plan(backbone, plan)
