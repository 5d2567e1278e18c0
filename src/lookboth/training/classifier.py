"""The method "classifier": train a head over hidden states and the adapter of the backbone on labels."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from lookboth.config import RunConfig
from lookboth.data import build_batch, place_inputs, require_depth, schedule_batches
from lookboth.evaluation import Evaluation, evaluate_labeler
from lookboth.labelers import Labeler
from lookboth.masking import under_plan
from lookboth.models import use_plan
from lookboth.run_folder import RunFolder
from lookboth.training.adaptation import AdaptationReport, adapt_backbone
from lookboth.training.annotated_labels import possible_tags
from lookboth.training.batches import RunBatches, find_pad_id, tokenize_examples
from lookboth.training.best_weights import History
from lookboth.training.checkpoints import is_sharded, load_weights
from lookboth.training.class_weights import shape_loss
from lookboth.training.distributed_work import score_tests, share_labeling
from lookboth.training.frozen_states import keep_frozen_states
from lookboth.training.labeler_building import build_labeler
from lookboth.training.letter_case import change_case
from lookboth.training.open_labels import OpenLabels
from lookboth.training.run_finishing import (
    CrossValidation,
    DevScorer,
    DistillationReport,
    LossScorer,
    Start,
    TrainedRun,
    finish_run,
    label_texts_of,
    labels_of,
)
from lookboth.training.soft_targets import SoftTargets
from lookboth.training.splits import Splits
from lookboth.training.trainer import fit, read_config_lines
from lookboth.training.truncation import unscored_words
from lookboth.types import Example, TokenizedExample

LOGGER = logging.getLogger(__name__)


class Prepared(NamedTuple):
    """Starting point of a training.

    Args:
        labeler: untrained labeler under the plan of training; with the section [adaptation], adapted to its raw text.
        batches: batches of the whole training.
        adaptation: report of the adaptation, if any.
    """

    labeler: Labeler
    batches: RunBatches
    adaptation: AdaptationReport | None


def train_classifier(
    config: RunConfig,
    splits: Splits,
    seed: int,
    folder: Path,
    *,
    soft: SoftTargets | None = None,
    distillation: DistillationReport | None = None,
    chosen: CrossValidation | None = None,
) -> TrainedRun:
    """Train a head over hidden states and the adapter of the backbone.

    Args:
        config, splits, seed, folder: as for every method.
        soft: soft targets of the train examples, in distillation.
        distillation: the teachers, for run.json.
        chosen: the number of epochs, chosen without dev data; its score is that of the run.
    """
    start = Start.now() if chosen is None else chosen.start
    adapted = RunFolder(folder).training.adaptation.path
    fitted = config if chosen is None else with_epochs(config, chosen.chosen)
    prepared = prepare_classifier(fitted, splits, seed, adapted, soft=soft)
    labeler, batches = prepared.labeler, prepared.batches
    score_dev = _dev_scorer(labeler, splits.dev, config, chosen)
    history = fit_labeler(labeler, batches, fitted, seed, folder, score_dev)
    # Sharded weights cannot be saved as a labeler, so load the best weights into a whole model.
    if is_sharded(labeler.model):
        labeler = _new_labeler(config, splits, soft)
        load_weights(labeler.model, RunFolder(folder).training.best)
    # Training may use its own plan (`train_plan`); scores are those of the plan of prediction.
    use_plan(labeler.model.backbone, labeler.config.plan)
    dev = score_dev.at(history.best_score)
    seconds = start.seconds()
    tests = score_tests(labeler, splits.tests)
    run = TrainedRun(seed, folder, labeler, history, dev, tests, prepared.adaptation, seconds)
    run = run._replace(unscored=unscored_words(splits), distillation=distillation)
    run = run._replace(cross_validation=chosen)
    return finish_run(run, config, splits.files, start)


def with_epochs(config: RunConfig, epochs: float, *, evals_per_epoch: int = 0) -> RunConfig:
    """Return the recipe with another number of epochs, without early stopping.

    Args:
        config: a recipe.
        epochs: number of epochs.
        evals_per_epoch: number of scores per epoch; 0: one, after the last step.
    """
    own = {"epochs": epochs, "evals_per_epoch": evals_per_epoch, "patience": None}
    return config.model_copy(update={"training": config.training.model_copy(update=own)})


def prepare_classifier(
    config: RunConfig,
    splits: Splits,
    seed: int,
    adapted: Path,
    *,
    soft: SoftTargets | None = None,
) -> Prepared:
    """Return an untrained labeler and all batches; deterministic in the arguments.

    Args:
        config: a recipe.
        splits: the data; train and dev define the labels, train the batches.
        seed: seed of the initial weights and the order of the batches.
        adapted: folder of the adaptation to raw text; a finished adaptation is loaded from it.
        soft: soft targets of the train examples, in distillation; they also define the labels.
    """
    from transformers import set_seed

    # Before the labeler is created: the initial weights of head and adapter are random.
    set_seed(seed)
    labeler = _new_labeler(config, splits, soft)
    adaptation = None
    if config.adaptation is not None:
        backbone = labeler.model.backbone
        adaptation = adapt_backbone(config, backbone, labeler.tokenizer, seed=seed, folder=adapted)
    # Here and not earlier: in distillation the teachers read the texts as they are.
    pieces = _tokenize(labeler, change_case(splits.train, config.data, seed), config)
    if soft is not None:
        soft.require_labels(labeler.config.labels)
        pieces = soft.without_gold(pieces)
        labeler.model.soft_loss = soft.loss
    # After `without_gold`: class weights count gold tags only.
    head = labeler.model.head
    shape_loss(head, config.training, pieces)
    head.allow_tags(possible_tags(config, labeler.config.tags))
    batches = RunBatches.build(
        pieces,
        config=config,
        seed=seed,
        pad_id=find_pad_id(labeler.tokenizer),
        open_labels=_open_labels(labeler, splits.train, config, seed),
    )
    batches = batches if soft is None else soft.add_to(batches)
    _announce(labeler, batches, config)
    return Prepared(labeler, batches, adaptation)


def _tokenize(labeler: Labeler, examples: Sequence[Example], config: RunConfig) -> list[TokenizedExample]:
    # Without context, windows of training have both sides; the plan of training may also attend further than that of
    # prediction.
    knows_reach = config.context and config.train_plan is None
    look_ahead = labeler.config.look_ahead if knows_reach else None
    return tokenize_examples(
        examples, labeler.encoder, tags=labeler.config.tags, config=config, look_ahead=look_ahead
    )


def fit_labeler(
    labeler: Labeler,
    batches: RunBatches,
    config: RunConfig,
    seed: int,
    folder: Path,
    score_dev: Callable[[], float],
) -> History:
    """Train a prepared labeler in place, with cached states of frozen layers where possible; see `fit`."""
    with keep_frozen_states(labeler.model, batches, config.training):
        return fit(
            labeler.model,
            batches,
            config=config.training,
            seed=seed,
            folder=RunFolder(folder).training.path,
            score_dev=score_dev,
            adapter=config.adapter,
        )


def _new_labeler(config: RunConfig, splits: Splits, soft: SoftTargets | None) -> Labeler:
    examples = [*splits.train, *splits.dev]
    labels = labels_of(examples) if soft is None else soft.labels
    if config.head.kind == "nested":
        require_depth(examples, config.head.depth)
    return build_labeler(config, labels=labels, label_texts=label_texts_of(examples))


def _open_labels(
    labeler: Labeler, examples: Sequence[Example], config: RunConfig, seed: int
) -> OpenLabels | None:
    if not labeler.config.is_open:
        return None
    return OpenLabels.build(
        examples,
        labeler.encoder,
        labels=labeler.config.labels,
        scheme=labeler.config.scheme,
        lead=labeler.config.head.label_lead,
        config=config.training,
        seed=seed,
    )


def _dev_scorer(
    labeler: Labeler, dev: Sequence[Example], config: RunConfig, chosen: CrossValidation | None
) -> DevScorer:
    """Return a scorer of the current weights, higher is better: by labels, by dev loss, or that of the folds."""
    if chosen is not None:
        return DevScorer(lambda: chosen.evaluation)
    if config.training.choose_by == "score":
        return DevScorer(lambda: evaluate_planned(labeler, dev))
    pieces = _tokenize(labeler, dev, config)
    LOGGER.info("The lowest dev loss chooses the epoch; dev below is exp(-loss), in %.")
    return LossScorer(
        lambda: evaluate_planned(labeler, dev),
        lambda: _mean_loss(labeler, pieces, config.training.batch_tokens),
    )


@torch.no_grad()
def _mean_loss(labeler: Labeler, pieces: Sequence[TokenizedExample], batch_tokens: int) -> float:
    """Return the mean dev loss per word under the plan of prediction, in nats, with the class weights of
    training.
    """
    model, training = labeler.model, labeler.model.training
    batches = schedule_batches([len(piece) for piece in pieces], max_tokens=batch_tokens)
    total = 0.0
    model.eval()
    with under_plan(model.backbone, labeler.config.plan):
        for batch in batches:
            placed = place_inputs(build_batch([pieces[i] for i in batch]).inputs(), labeler.device)
            # `num_items_in_batch=1` makes the loss a sum over words.
            total += float(model(**placed, num_items_in_batch=1)["loss"])
    model.train(training)
    return total / max(1, sum(len(piece.word_tokens) for piece in pieces))


def evaluate_planned(labeler: Labeler, examples: Sequence[Example]) -> Evaluation:
    """Return the scores of a labeler in training under its plan of prediction."""
    with under_plan(labeler.model.backbone, labeler.config.plan):
        return evaluate_labeler(share_labeling(labeler), examples)


def _announce(labeler: Labeler, batches: RunBatches, config: RunConfig) -> None:
    for line in read_config_lines(config, batches, labeler.model):
        LOGGER.info(line)
    unseen = sorted(labeler.encoder.words_without_token)
    if unseen:
        some = ", ".join(map(repr, unseen[:5]))
        LOGGER.info(f"{len(unseen)} words have no token of their own ({some}); they are still labeled.")
