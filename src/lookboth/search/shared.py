"""One training for all plans: each batch is run under a plan drawn at random, then every plan is scored on dev.

Weight sharing between candidates is from architecture search (Guo et al. 2020, "Single Path One-Shot Neural
Architecture Search with Uniform Sampling", arXiv 1904.00420); here the candidates differ in their masks alone, so
that every weight is shared by all of them.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from lookboth.evaluation.evaluate import evaluate_labeler
from lookboth.masking.attention import apply_plan, under_plan
from lookboth.masking.plan import MaskPlan
from lookboth.models.labeler import Labeler
from lookboth.search.candidates import neighbours, random_plans
from lookboth.search.task import Found, SearchTask, best_first
from lookboth.training.classifier import prepare_classifier
from lookboth.training.trainer import fit

_DRAWN_PER_LAYER = 4096


class DrawnPlans:
    """Puts a plan drawn at random in force before each training batch; a context manager.

    Which plan a batch gets follows from its tokens and the seed, so a resumed training draws as it would have.

    Args:
        model: a LabelerModel.
        plans: drawn from with equal chances.
        seed: of the draws.
    """

    def __init__(self, model: nn.Module, plans: Sequence[MaskPlan], seed: int) -> None:
        self.model, self.plans, self.seed = model, list(plans), seed
        self.hook: Any = None

    def __enter__(self) -> "DrawnPlans":
        self.hook = self.model.register_forward_pre_hook(self._draw, with_kwargs=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.hook.remove()

    def _draw(self, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if model.training:
            tokens: torch.Tensor = kwargs["input_ids"]
            rng = random.Random(f"{self.seed} {tuple(tokens.shape)} {int(tokens.sum())}")
            apply_plan(model.backbone, rng.choice(self.plans))


def search_shared(task: SearchTask) -> Found:
    """Return every candidate's dev score with the weights of one training under drawn plans, best first."""
    labeler = _train(task, task.plans)
    return Found(best_first(task.score(labeler, plan) for plan in task.plans))


def search_layers(task: SearchTask) -> Found:
    """Return the scores met while climbing from the best candidate, one layer at a time, best first.

    The shared training draws from all plans that are causal or bidirectional in each layer. Climbing takes the first
    change of one layer that scores better, from the output down, and stops when a whole round changes nothing.
    """
    drawn = random_plans(task.plans[0].num_layers, _DRAWN_PER_LAYER, task.seed)
    labeler = _train(task, drawn)
    met = {plan: task.score(labeler, plan) for plan in task.plans}
    best = max(met, key=lambda plan: met[plan].score)
    improved = True
    while improved:
        improved = False
        for plan in reversed(neighbours(best)):
            if plan not in met:
                met[plan] = task.score(labeler, plan)
            if met[plan].score > met[best].score:
                best, improved = plan, True
                break
    return Found(best_first(met.values()))


def _train(task: SearchTask, plans: Sequence[MaskPlan]) -> Labeler:
    """Return a labeler trained under drawn plans; the epoch is chosen by the mean over a few candidates."""
    prepared = prepare_classifier(task.config, task.splits, task.seed, task.folder / "adaptation", task.say)
    labeler = prepared.labeler
    few = spread(task.plans, 3)
    with DrawnPlans(labeler.model, plans, task.seed):
        fit(
            labeler.model,
            prepared.batches,
            config=task.config.training,
            seed=task.seed,
            folder=task.folder / "shared",
            score_dev=_mean_score(task, labeler, few),
            say=task.say,
        )
    return labeler


def _mean_score(task: SearchTask, labeler: Labeler, plans: Sequence[MaskPlan]) -> Callable[[], float]:
    def score() -> float:
        total = 0.0
        for plan in plans:
            with under_plan(labeler.model.backbone, plan):
                total += evaluate_labeler(labeler, task.splits.dev, interval=False).scores.headline
        return total / len(plans)

    return score


def spread(items: Sequence[MaskPlan], count: int) -> list[MaskPlan]:
    """Return at most `count` of the items, evenly spaced, the first and the last among them.

    >>> from lookboth.masking import group_plans
    >>> [str(plan) for plan in spread(list(group_plans(2, 4)), 2)]
    ['causal', 'full']
    """
    if len(items) <= count:
        return list(items)
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]
