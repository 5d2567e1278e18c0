"""Trainings of one candidate alone: a short one, or the first part of an ordinary one that can be gone on with."""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from lookboth.config import RunConfig
from lookboth.files import read_state, write_json
from lookboth.run_folder import TrainingFolder
from lookboth.search.candidates import Candidate
from lookboth.search.evidence import PlanScore
from lookboth.search.task import SearchTask, file_name
from lookboth.training import Diverged, Start, fit, load_weights, prepare_classifier


def train_shortly(
    task: SearchTask, candidate: Candidate, share: float, *, stage: str, start: Path | None = None
) -> PlanScore:
    """Return the dev score of a candidate after a short training with a schedule of its own length.

    Args:
        task: gives recipe, data, seed and folder; a score that is there already is taken.
        candidate: its plan is in force while training and while dev data is labeled.
        share: length, as a share of an ordinary training.
        stage: name of the round; scores of other rounds are other scores.
        start: weights to begin with; fresh ones if None.
    """
    training = task.config.training
    short = training.model_copy(update={"epochs": training.epochs * share, "evals_per_epoch": 0})
    config = task.config.model_copy(update={"training": short})
    return _trial(
        task, config, candidate, stage=stage, folder=task.folder / stage / file_name(candidate), start=start
    )


def train_until(task: SearchTask, candidate: Candidate, share: float, *, stage: str) -> PlanScore:
    """Return the dev score of a candidate when so much of its ordinary training is done; called again, it goes on.

    Args:
        task, candidate: as in `train_shortly`.
        share: of an ordinary training, under whose schedule it stands.
        stage: name of the round.
    """
    return _trial(task, task.config, candidate, stage=stage, folder=_begun(task, candidate), until=share)


def drop(task: SearchTask, candidate: Candidate) -> None:
    """Remove what `train_until` left of a candidate that is not gone on with."""
    shutil.rmtree(_begun(task, candidate), ignore_errors=True)


def hand_over(task: SearchTask, candidate: Candidate, folder: Path) -> float:
    """Move the begun training of a candidate to where the ordinary one looks for it, and return the seconds it took.

    Args:
        task, candidate: whose training was begun, if any.
        folder: of the ordinary training.
    """
    begun = _begun(task, candidate)
    for entry in list(begun.iterdir()) if begun.is_dir() else []:
        entry.replace(folder / entry.name)
    drop(task, candidate)
    return _seconds(folder)


def settings_of(candidate: Candidate) -> dict[str, Any]:
    """Return what a recipe says of a candidate."""
    return {"plan": candidate.plan.spelled_out(), "repetition": candidate.repetition}


def _begun(task: SearchTask, candidate: Candidate) -> Path:
    return task.folder / "begun" / file_name(candidate)


def _trial(
    task: SearchTask,
    config: RunConfig,
    candidate: Candidate,
    *,
    stage: str,
    folder: Path,
    start: Path | None = None,
    until: float = 1.0,
) -> PlanScore:
    if (known := task.known(candidate, stage)) is not None:
        return known
    clock = Start.now()
    config = config.model_copy(update=settings_of(candidate))
    prepared = prepare_classifier(
        config, task.splits, task.seed, TrainingFolder(folder).adaptation.path, lambda _: None
    )
    if start is not None:
        load_weights(prepared.labeler.model, start)
    with suppress(Diverged):  # the score says so
        fit(
            prepared.labeler.model,
            prepared.batches,
            config=config.training,
            adapter=config.adapter,
            seed=task.seed,
            folder=folder,
            score_dev=task.scorer(prepared.labeler, candidate)
            if config.training.evals_per_epoch
            else lambda: 0.0,
            say=lambda _: None,
            until=until,
        )
    write_json(TrainingFolder(folder).seconds, _seconds(folder) + clock.seconds())
    return task.score(prepared.labeler, candidate, stage=stage)


def _seconds(folder: Path) -> float:
    return read_state(TrainingFolder(folder).seconds, float) or 0.0
