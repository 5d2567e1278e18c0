"""Trainings of a single candidate: a short one, or the first part of an ordinary one that can be resumed."""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from lookboth.config import RunConfig
from lookboth.files import read_state, write_json
from lookboth.labelers import Labeler
from lookboth.progress import without_progress
from lookboth.run_folder import TrainingFolder
from lookboth.search.candidates import Candidate
from lookboth.search.evidence import PlanScore
from lookboth.search.search_task import SearchTask, file_name
from lookboth.training import Diverged, Start, fit, load_weights, prepare_classifier


def train_short(
    task: SearchTask, candidate: Candidate, share: float, *, stage: str, start: Path | None = None
) -> PlanScore:
    """Return the dev score of a candidate after a short training with a schedule of its own length.

    Args:
        task: the search; an existing score in its folder is reused.
        candidate: its plan is applied in training and on dev data.
        share: length as a share of an ordinary training.
        stage: name of the round; each round has its own scores.
        start: file with initial weights; None for fresh ones.
    """
    training = task.config.training
    short = training.model_copy(update={"epochs": training.epochs * share, "evals_per_epoch": 0})
    config = task.config.model_copy(update={"training": short})
    return _trial(
        task, config, candidate, stage=stage, folder=task.folder / stage / file_name(candidate), start=start
    )


def train_until(task: SearchTask, candidate: Candidate, share: float, *, stage: str) -> PlanScore:
    """Train a candidate up to a share of its ordinary training and return its dev score; a later call resumes.

    Args:
        task, candidate: as in `train_short`.
        share: share of an ordinary training; the learning-rate schedule is that of the whole training.
        stage: name of the round.
    """
    return _trial(
        task, task.config, candidate, stage=stage, folder=_partial_folder(task, candidate), until=share
    )


def delete_training(task: SearchTask, candidate: Candidate) -> None:
    """Delete the partial training of a candidate that was eliminated."""
    shutil.rmtree(_partial_folder(task, candidate), ignore_errors=True)


def hand_over_training(task: SearchTask, candidate: Candidate, folder: Path) -> float:
    """Move the partial training of a candidate to the folder of the ordinary training; return its duration in
    seconds.

    Args:
        task, candidate: the search and the candidate.
        folder: folder of the ordinary training.
    """
    begun = _partial_folder(task, candidate)
    # The ordinary training finds these checkpoints in its own folder and resumes.
    for entry in list(begun.iterdir()) if begun.is_dir() else []:
        entry.replace(folder / entry.name)
    delete_training(task, candidate)
    return _seconds(folder)


def settings_of(candidate: Candidate) -> dict[str, Any]:
    """Return the recipe keys of a candidate."""
    return {"plan": candidate.plan.spelled_out(), "repetition": candidate.repetition}


def _partial_folder(task: SearchTask, candidate: Candidate) -> Path:
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
    labeler = _trained(task, config, candidate, folder=folder, start=start, until=until)
    write_json(TrainingFolder(folder).seconds, _seconds(folder) + clock.seconds())
    return task.score(labeler, candidate, stage=stage)


# A search logs one line per score instead.
@without_progress()
def _trained(
    task: SearchTask,
    config: RunConfig,
    candidate: Candidate,
    *,
    folder: Path,
    start: Path | None,
    until: float,
) -> Labeler:
    prepared = prepare_classifier(config, task.splits, task.seed, TrainingFolder(folder).adaptation.path)
    labeler, scored = prepared.labeler, config.training.evals_per_epoch
    if start is not None:
        load_weights(labeler.model, start)
    # A diverged candidate gets a score near 0, which ranks it last.
    with suppress(Diverged):
        fit(
            labeler.model,
            prepared.batches,
            config=config.training,
            adapter=config.adapter,
            seed=task.seed,
            folder=folder,
            score_dev=task.scorer(labeler, candidate) if scored else lambda: 0.0,
            until=until,
        )
    return labeler


def _seconds(folder: Path) -> float:
    return read_state(TrainingFolder(folder).seconds, float) or 0.0
