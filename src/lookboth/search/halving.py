"""Successive halving: all plans begin their training, the better half goes on, and so on; one of them finishes.

Jamieson & Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization" (arXiv 1502.07943).
"""

from collections.abc import Sequence

from lookboth.masking.plan import MaskPlan
from lookboth.search.evidence import PlanScore
from lookboth.search.task import Found, SearchTask
from lookboth.search.trials import drop, train_until


def rungs(num_plans: int, budget: float) -> list[tuple[int, float]]:
    """Return (plans, share of a training at which they are compared) of every rung; each share doubles the last.

    Together with the rest of the training of the one that is left they cost `budget` trainings, or less where all
    the plans can be trained to the end.

    >>> rungs(4, 2.0)
    [(4, 0.25), (2, 0.5)]
    >>> rungs(16, 2.0)
    [(16, 0.03125), (8, 0.0625), (4, 0.125), (2, 0.25)]
    """
    counts = []
    while num_plans > 1:
        counts.append(num_plans)
        num_plans = -(-num_plans // 2)
    steps = [2 ** max(0, number - 1) for number in range(len(counts))]  # how much longer than the rung before
    cost = sum(count * step for count, step in zip(counts, steps, strict=True)) - sum(steps)
    return [(count, min(1.0, 2**number * (budget - 1) / cost)) for number, count in enumerate(counts)]


def search_halving(task: SearchTask) -> Found:
    """Return the last score of every plan; those that went further stand before those that were dropped."""
    alive: Sequence[MaskPlan] = list(task.plans)
    dropped: list[PlanScore] = []
    last: list[PlanScore] = []
    for number, (_, share) in enumerate(rungs(len(alive), task.config.search.budget)):
        scores = {plan: train_until(task, plan, share, stage=f"rung{number}") for plan in alive}
        ranked = sorted(alive, key=lambda plan: -scores[plan].score)
        keep = -(-len(alive) // 2)
        for plan in ranked[keep:]:
            drop(task, plan)
        dropped = [scores[plan] for plan in ranked[keep:]] + dropped
        alive, last = ranked[:keep], [scores[plan] for plan in ranked[:keep]]
    return Found(last + dropped, compared=2)
