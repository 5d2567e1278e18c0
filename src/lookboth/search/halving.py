"""Successive halving: train all candidates a little, resume the better half, repeat until one is left.

Jamieson & Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization" (arXiv
1502.07943).
"""

from collections.abc import Sequence

from lookboth.search.candidates import Candidate
from lookboth.search.evidence import PlanScore
from lookboth.search.search_task import SearchResult, SearchTask, affordable_training
from lookboth.search.trials import delete_training, train_until


def rungs(num_candidates: int, budget: float, scoring: float = 0.0) -> list[tuple[int, float]]:
    """Return (candidates, share of a training at which they are compared) for every rung; each share is twice
    the last.

    All rungs, their scoring and the rest of the final training together cost `budget` trainings. They cost
    less if the budget lets every candidate train to the end.

    Args:
        num_candidates: number of candidates at the start.
        budget: in ordinary trainings.
        scoring: cost of scoring one candidate on dev data, in ordinary trainings.

    >>> rungs(4, 2.0)
    [(4, 0.25), (2, 0.5)]
    >>> rungs(16, 2.0)
    [(16, 0.03125), (8, 0.0625), (4, 0.125), (2, 0.25)]
    >>> rungs(4, 2.0, scoring=0.05)
    [(4, 0.175), (2, 0.35)]
    """
    counts = []
    while num_candidates > 1:
        counts.append(num_candidates)
        num_candidates = -(-num_candidates // 2)
    # A resumed candidate pays only for the steps since the rung before.
    steps = [2 ** max(0, number - 1) for number in range(len(counts))]
    cost = sum(count * step for count, step in zip(counts, steps, strict=True)) - sum(steps)
    training = affordable_training(budget, scoring * sum(counts))
    return [(count, min(1.0, 2**number * training / cost)) for number, count in enumerate(counts)]


def affordable(budget: float) -> int:
    """Return how many candidates can be compared late in training, where the ranking is reliable.

    >>> affordable(2.0), affordable(3.5)
    (2, 3)
    """
    return max(2, int(budget))


def search_halving(task: SearchTask) -> SearchResult:
    """Return the last score of every candidate; candidates that trained longer come first."""
    alive: Sequence[Candidate] = list(task.candidates)
    dropped: list[PlanScore] = []
    last: list[PlanScore] = []
    for number, (_, share) in enumerate(rungs(len(alive), task.config.search.budget, task.scoring_cost)):
        scores = {one: train_until(task, one, share, stage=f"rung{number}") for one in alive}
        ranked = sorted(alive, key=lambda one: -scores[one].score)
        keep = -(-len(alive) // 2)
        for one in ranked[keep:]:
            delete_training(task, one)
        # Scores of different rungs are not comparable, so the ones that trained longer stay in front.
        dropped = [scores[one] for one in ranked[keep:]] + dropped
        alive, last = ranked[:keep], [scores[one] for one in ranked[:keep]]
    return SearchResult(last + dropped, compared=2)
