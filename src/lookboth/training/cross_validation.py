"""Cross-validation in place of dev data: it chooses the number of epochs of one training on all sentences."""

import gc
import logging
import shutil
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from lookboth.config import RunConfig
from lookboth.data import divide_groups, group_sentences, text_and_offsets, without_duplicates
from lookboth.errors import ConfigError, DataError
from lookboth.evaluation import Evaluation, score_predictions
from lookboth.files import read_state, write_json
from lookboth.run_folder import RunFolder
from lookboth.training.classifier import (
    evaluate_planned,
    fit_labeler,
    prepare_classifier,
    train_classifier,
    with_epochs,
)
from lookboth.training.default_settings import FOLDS
from lookboth.training.frozen_states import share_frozen_states
from lookboth.training.process_group import ProcessGroup
from lookboth.training.run_finishing import CrossValidation, Start, TrainedRun
from lookboth.training.splits import Splits
from lookboth.types import Example, PredictedSpan, Prediction, Task, TextLabel

LOGGER = logging.getLogger(__name__)
# The predictions for the held-out sentences of a fold after each epoch.
_Turns = list[list[Prediction]]


class _LabeledAs(NamedTuple):
    """What the labelers of a recipe label, on which their scores depend."""

    task: Task
    scheme: str
    multi_label: bool


def train_cross_validated(config: RunConfig, splits: Splits, seed: int, folder: Path) -> TrainedRun:
    """Choose the number of epochs by cross-validation, then train on all sentences; see `train_classifier`.

    Each fold is trained on the other folds and scored on its own sentences after every epoch. The scores are those of
    the predictions of all folds together. All trainings share the states of frozen layers. The score of the run is
    that of the out-of-fold predictions after the chosen number of epochs.

    Raises:
        ConfigError: a setting needs dev data, or several processes train together.
        DataError: there are not two different sentences.
    """
    _require_possible(config)
    start = Start.now()
    with share_frozen_states():
        parts = _divide(splits.train, config, seed)
        folds = [
            _fold_turns(config, splits, held, seed, RunFolder.of_fold(folder, number))
            for number, held in enumerate(parts)
        ]
        chosen = choose_epochs(config, splits.train, parts, folds, start)
        return train_classifier(config, splits, seed, folder, chosen=chosen)


def choose_epochs(
    config: RunConfig,
    examples: Sequence[Example],
    parts: Sequence[Sequence[int]],
    folds: Sequence[_Turns],
    start: Start,
) -> CrossValidation:
    """Return the number of epochs with the best score of the out-of-fold predictions.

    The score of an epoch is averaged with those of the epochs before and after it, because scores on few sentences
    vary. Of equal scores the later one is chosen.

    Args:
        config: a recipe.
        examples: the training sentences.
        parts: indices of the held-out sentences of each fold.
        folds: predictions for these sentences after each epoch.
        start: start time of the run.
    """
    # A fold that diverged ends early.
    turns = min(map(len, folds))
    found = [_evaluate_together(config, examples, parts, folds, turn) for turn in range(turns)]
    scores = [evaluation.scores.headline for evaluation in found]
    smooth = [fmean(scores[max(0, turn - 1) : turn + 2]) for turn in range(turns)]
    best = max(range(turns), key=lambda turn: (smooth[turn], turn))
    most = config.training.epochs
    epochs = [min(turn + 1, most) for turn in range(turns)] if config.training.evals_per_epoch else [most]
    name = found[best].scores.headline_name
    LOGGER.info(
        f"cross-validation: {name} {100 * scores[best]:.2f} out of fold after {epochs[best]:g} of {most:g} epochs. "
        f"Training on all {len(examples)} sentences; dev below is this score"
    )
    return CrossValidation(start, len(parts), epochs, scores, epochs[best], found[best])


def _require_possible(config: RunConfig) -> None:
    """Refuse settings that need dev data."""
    training = config.training
    refused = {
        "training.choose_by = 'loss'": training.choose_by == "loss",
        "training.average_evals": training.average_evals > 1,
        "several processes": ProcessGroup.current().size > 1,
    }
    for found, is_there in refused.items():
        if is_there:
            raise ConfigError(
                f"{found}: not supported with cross-validation. Leave it out, or name dev data: "
                "--set 'data.dev=\"FILE\"'"
            )


def _divide(examples: Sequence[Example], config: RunConfig, seed: int) -> list[list[int]]:
    """Return the indices of the held-out sentences of each fold; duplicates are in one fold."""
    groups = group_sentences(examples, whole_documents=bool(config.context))
    if len(groups) < 2:
        what = "documents" if config.context else "sentences"
        raise DataError(
            f"{', '.join(config.data.train)}: cross-validation needs at least 2 different {what}, found {len(groups)}. "
            "Add some, or name dev data: --set 'data.dev=\"FILE\"'"
        )
    parts = divide_groups(groups, min(config.training.folds or FOLDS, len(groups)), seed)
    return [sorted(chain.from_iterable(part)) for part in parts]


def _fold_turns(config: RunConfig, splits: Splits, held: Sequence[int], seed: int, run: RunFolder) -> _Turns:
    """Return the predictions of a fold for its held-out sentences; read from its folder if it is finished."""
    others = sorted({*range(len(splits.train))} - {*held})
    train = [splits.train[index] for index in without_duplicates(others, held, splits.train)]
    if not train:
        raise DataError(
            f"{', '.join(config.data.train)}: all sentences outside a fold of the cross-validation are also in it. Add "
            "others, or name dev data: --set 'data.dev=\"FILE\"'"
        )
    judged = [splits.train[index] for index in held]
    stored = read_state(run.epoch_predictions, lambda turns: [_read(turn, judged) for turn in turns])
    if stored is None:
        LOGGER.info(f"{run.path.name}: trained on {len(train)} sentences, scored on {len(judged)}")
        stored = _train_fold(config, splits._replace(train=train, dev=judged), seed, run)
        write_json(run.epoch_predictions, [[_record(one) for one in turn] for turn in stored])
        shutil.rmtree(run.training.path)
    return stored


def _train_fold(config: RunConfig, splits: Splits, seed: int, run: RunFolder) -> _Turns:
    """Train on a fold and return the predictions for its dev data after each epoch."""
    # The predictions of an interrupted training are lost.
    shutil.rmtree(run.training.path, ignore_errors=True)
    turns: _Turns = []
    training = config.training
    fitted = with_epochs(config, training.epochs, evals_per_epoch=min(1, training.evals_per_epoch))
    # The adaptation to raw text is the same in all trainings.
    adapted = RunFolder(run.path.parent).training.adaptation.path
    labeler, batches, _ = prepare_classifier(fitted, splits, seed, adapted)

    def score() -> float:
        evaluation = evaluate_planned(labeler, splits.dev)
        turns.append(list(evaluation.predictions))
        return evaluation.scores.headline

    fit_labeler(labeler, batches, fitted, seed, run.path, score)
    labeler.model.to("cpu")
    # The Trainer and its optimizer form a reference cycle, which only the collector frees.
    gc.collect()
    return turns


def _evaluate_together(
    config: RunConfig,
    examples: Sequence[Example],
    parts: Sequence[Sequence[int]],
    folds: Sequence[_Turns],
    turn: int,
) -> Evaluation:
    """Return the scores of the predictions of all folds after the same number of epochs."""
    found = dict(
        chain.from_iterable(
            zip(held, turns[turn], strict=True) for held, turns in zip(parts, folds, strict=True)
        )
    )
    order = sorted(found)
    labeled = _LabeledAs(config.task, config.tag_scheme, config.multi_label)
    return score_predictions([found[i] for i in order], [examples[i] for i in order], labeled)


def _record(prediction: Prediction) -> dict[str, Any]:
    """Return tags, spans and labels as JSON values; the rest of a prediction is that of its example."""
    spans = [[span.start, span.end, span.label, span.score] for span in prediction.spans]
    return {"tags": prediction.tags, "spans": spans, "labels": prediction.labels}


def _read(turn: Sequence[dict[str, Any]], examples: Sequence[Example]) -> list[Prediction]:
    """Return the stored predictions for some examples."""
    return [_prediction(record, example) for record, example in zip(turn, examples, strict=True)]


def _prediction(record: dict[str, Any], example: Example) -> Prediction:
    text, words, offsets = text_and_offsets(example)
    spans = []
    for first, end, label, score in record["spans"]:
        start, stop = offsets[first][0], offsets[end - 1][1]
        spans.append(PredictedSpan(first, end, label, text[start:stop], start, stop, score))
    labels = record["labels"]
    kept = None if labels is None else tuple(TextLabel(*label) for label in labels)
    return Prediction(text, words, offsets, tuple(record["tags"]), tuple(spans), kept)
