"""Successive halving: every plan gets a short training, the better half a longer one, and so on.

Jamieson & Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization" (arXiv 1502.07943).
"""

from collections.abc import Sequence

from lookboth.masking.plan import MaskPlan
from lookboth.search.evidence import PlanScore
from lookboth.search.task import Found, SearchTask
from lookboth.training.classifier import prepare_classifier
from lookboth.training.trainer import fit


def rungs(num_plans: int, budget: float) -> list[tuple[int, float]]:
    """Return (plans, share of one training each) of every rung; together they cost `budget` trainings.

    >>> rungs(16, 1.0)
    [(16, 0.015625), (8, 0.03125), (4, 0.0625), (2, 0.125)]
    """
    counts = []
    while num_plans > 1:
        counts.append(num_plans)
        num_plans = -(-num_plans // 2)
    return [(count, budget / len(counts) / count) for count in counts]


def search_halving(task: SearchTask) -> Found:
    """Return the last score of every plan; those that went further stand before those that were dropped.

    Each rung trains from the start with a schedule of its own length.
    """
    alive: Sequence[MaskPlan] = list(task.plans)
    dropped: list[PlanScore] = []
    last: list[PlanScore] = []
    for number, (count, share) in enumerate(rungs(len(alive), task.config.search.budget - 1)):
        scores = {plan: _train_and_score(task, plan, share, f"rung{number}") for plan in alive}
        ranked = sorted(alive, key=lambda plan: -scores[plan].score)
        keep = -(-count // 2)
        dropped = [scores[plan] for plan in ranked[keep:]] + dropped
        alive, last = ranked[:keep], [scores[plan] for plan in ranked[:keep]]
    return Found(last + dropped)


def _train_and_score(task: SearchTask, plan: MaskPlan, share: float, stage: str) -> PlanScore:
    training = task.config.training
    short = task.config.model_copy(
        update={
            "plan": plan.spelled_out(),
            "training": training.model_copy(update={"epochs": training.epochs * share, "evals_per_epoch": 0}),
        }
    )
    folder = task.folder / stage / plan.spelled_out().replace("*", "a")
    prepared = prepare_classifier(short, task.splits, task.seed, folder / "adaptation", lambda _: None)
    fit(
        prepared.labeler.model,
        prepared.batches,
        config=short.training,
        seed=task.seed,
        folder=folder,
        score_dev=lambda: 0.0,
        say=lambda _: None,
    )
    return task.score(prepared.labeler, plan, stage=stage)
