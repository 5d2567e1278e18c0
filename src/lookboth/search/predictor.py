"""Short trainings of every plan, ranked by a regression on the layers that attend to the right.

Performance prediction from a few cheap trainings is from architecture search (Baker et al. 2017,
"Accelerating Neural Architecture Search using Performance Prediction", arXiv 1705.10823). Here the features
are the layers that attend to the right, and the predictor is a ridge regression.
"""

from collections.abc import Sequence

import numpy as np

from lookboth.masking import MaskPlan
from lookboth.search.search_task import SearchResult, SearchTask, affordable_training
from lookboth.search.trials import train_short

_STRENGTHS = tuple(10.0**power for power in range(-2, 5))


def search_predictor(task: SearchTask) -> SearchResult:
    """Return every candidate's score after a short training, ordered by the predicted scores."""
    count = len(task.candidates)
    share = affordable_training(task.config.search.budget, count * task.scoring_cost) / count
    scores = [train_short(task, candidate, share, stage="short") for candidate in task.candidates]
    predicted = smooth([candidate.plan for candidate in task.candidates], [score.score for score in scores])
    order = sorted(range(len(scores)), key=lambda i: -predicted[i])
    return SearchResult([scores[i] for i in order])


def smooth(plans: Sequence[MaskPlan], scores: Sequence[float]) -> list[float]:
    """Return the prediction of a ridge regression on the layers that attend to the right, for each plan.

    The regularization strength minimizes the leave-one-out error.

    Args:
        plans: the plans that were trained.
        scores: the dev score of each plan.

    >>> from lookboth.masking import group_plans
    >>> plans = list(group_plans(2, 4))
    >>> [str(plan) for plan in plans]
    ['causal', '0011', '1100', 'full']
    >>> [round(score, 1) for score in smooth(plans, [0.1, 0.3, 0.2, 0.4])]
    [0.1, 0.3, 0.2, 0.4]
    """
    features = np.array([[float(reach != 0) for reach in plan.reach] for plan in plans])
    target = np.array(scores, dtype=float)
    centered = features - features.mean(axis=0)
    u, d, _ = np.linalg.svd(centered, full_matrices=False)
    best, least = target, np.inf
    for strength in _STRENGTHS:
        hat = (u * (d**2 / (d**2 + strength))) @ u.T + 1 / len(plans)
        fitted = hat @ target
        # The leave-one-out error has a closed form: no second fit per plan is needed.
        error = float(np.sum(((target - fitted) / np.maximum(1 - np.diag(hat), 1e-9)) ** 2))
        if error < least:
            best, least = fitted, error
    return [float(value) for value in best]
