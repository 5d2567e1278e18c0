"""Trainings of one plan alone: a short one, or the first part of an ordinary one that can be gone on with."""

import json
import shutil
from pathlib import Path

from lookboth.config import RunConfig
from lookboth.masking.plan import MaskPlan
from lookboth.search.evidence import PlanScore
from lookboth.search.task import SearchTask, plan_file
from lookboth.training.checkpoints import load_weights
from lookboth.training.classifier import prepare_classifier
from lookboth.training.outcome import Start
from lookboth.training.trainer import fit

_SECONDS = "seconds.json"


def train_shortly(
    task: SearchTask, plan: MaskPlan, share: float, *, stage: str, start: Path | None = None
) -> PlanScore:
    """Return the dev score of a plan after a short training with a schedule of its own length.

    Args:
        task: gives recipe, data, seed and folder; a score that is there already is taken.
        plan: in force while training and while dev data is labeled.
        share: length, as a share of an ordinary training.
        stage: name of the round; scores of other rounds are other scores.
        start: weights to begin with; fresh ones if None.
    """
    training = task.config.training
    short = training.model_copy(update={"epochs": training.epochs * share, "evals_per_epoch": 0})
    config = task.config.model_copy(update={"training": short})
    return _trial(task, config, plan, stage=stage, folder=task.folder / stage / plan_file(plan), start=start)


def train_until(task: SearchTask, plan: MaskPlan, share: float, *, stage: str) -> PlanScore:
    """Return the dev score of a plan when so much of its ordinary training is done; called again, it goes on.

    Args:
        task, plan: as in `train_shortly`.
        share: of an ordinary training, under whose schedule it stands.
        stage: name of the round.
    """
    return _trial(task, task.config, plan, stage=stage, folder=_begun(task, plan), until=share)


def drop(task: SearchTask, plan: MaskPlan) -> None:
    """Remove what `train_until` left of a plan that is not gone on with."""
    shutil.rmtree(_begun(task, plan), ignore_errors=True)


def hand_over(task: SearchTask, plan: MaskPlan, folder: Path) -> float:
    """Move the begun training of a plan to where the ordinary one looks for it, and return the seconds it took.

    Args:
        task, plan: whose training was begun, if any.
        folder: of the ordinary training.
    """
    begun = _begun(task, plan)
    for entry in list(begun.iterdir()) if begun.is_dir() else []:
        entry.replace(folder / entry.name)
    drop(task, plan)
    return _seconds(folder)


def _begun(task: SearchTask, plan: MaskPlan) -> Path:
    return task.folder / "begun" / plan_file(plan)


def _trial(
    task: SearchTask,
    config: RunConfig,
    plan: MaskPlan,
    *,
    stage: str,
    folder: Path,
    start: Path | None = None,
    until: float = 1.0,
) -> PlanScore:
    if (known := task.known(plan, stage)) is not None:
        return known
    clock = Start.now()
    config = config.model_copy(update={"plan": plan.spelled_out()})
    prepared = prepare_classifier(config, task.splits, task.seed, folder / "adaptation", lambda _: None)
    if start is not None:
        load_weights(prepared.labeler.model, start)
    fit(
        prepared.labeler.model,
        prepared.batches,
        config=config.training,
        seed=task.seed,
        folder=folder,
        score_dev=task.scorer(prepared.labeler, plan) if config.training.evals_per_epoch else lambda: 0.0,
        say=lambda _: None,
        until=until,
    )
    (folder / _SECONDS).write_text(json.dumps(_seconds(folder) + clock.seconds()), encoding="utf-8")
    return task.score(prepared.labeler, plan, stage=stage)


def _seconds(folder: Path) -> float:
    file = folder / _SECONDS
    return float(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else 0.0
