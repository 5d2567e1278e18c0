"""One-shot search: train once with a randomly drawn plan per batch, then score every plan on dev data.

Weight sharing between candidates is from architecture search (Guo et al. 2020, "Single Path One-Shot Neural
Architecture Search with Uniform Sampling", arXiv 1904.00420). Here the candidates differ only in their masks,
so all of them share every weight.
"""

import random
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from lookboth.config import RunConfig
from lookboth.masking import MaskPlan, apply_plan
from lookboth.run_folder import TrainingFolder
from lookboth.search.candidates import Candidate, limit_look_ahead, neighbours, random_plans
from lookboth.search.evidence import PlanScore
from lookboth.search.search_task import SearchResult, SearchTask, best_first
from lookboth.search.trials import train_short
from lookboth.training import Prepared, fit, prepare_classifier, share_lower_states

# Plans; more than the batches of a usual training.
_DRAWN_PER_LAYER = 4096
# Share of the search budget for dev passes in a search layer by layer.
_CLIMBING = 0.5
_STAGE = "shared"


class DrawnPlans:
    """Context manager that applies a randomly drawn plan before each training batch.

    The draw depends only on the tokens of the batch and the seed, so a resumed training draws the same plans.

    Args:
        model: a LabelerModel.
        plans: plans to draw from, uniformly.
        seed: seed of the draws.
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
            # From the batch itself: there is no step counter here that survives a resume.
            rng = random.Random(f"{self.seed} {tuple(tokens.shape)} {int(tokens.sum())}")
            apply_plan(model.backbone, rng.choice(self.plans))


def search_shared(task: SearchTask) -> SearchResult:
    """Return the dev score of every candidate with the weights of one shared training, best first.

    With `search.tune_best` the best candidates then get a short training each from the shared weights and
    come first.
    """
    plans = [candidate.plan for candidate in task.candidates]
    search = task.config.search
    count, share = search.tune_best if search.tune_best > 1 else 0, search.tune_share
    scored = passes([plan.reach for plan in plans]) + count
    prepared = _train(task, plans, task.shortened(scored, other_costs=count * share))
    dev_scores = score_all(task, prepared, task.candidates)
    ranked = sorted(dev_scores, key=lambda candidate: -dev_scores[candidate].score)
    if not count:
        return SearchResult([dev_scores[candidate] for candidate in ranked])
    weights = TrainingFolder(task.folder / _STAGE).best
    tuned = [train_short(task, one, share, stage="tuned", start=weights) for one in ranked[:count]]
    return SearchResult(
        best_first(tuned) + [dev_scores[candidate] for candidate in ranked[count:]], compared=len(tuned)
    )


def search_layers(task: SearchTask) -> SearchResult:
    """Return the scores of a hill climb from the best candidate, one layer at a time, best first.

    The shared training draws from all plans whose layers are causal or bidirectional. With
    `search.max_look_ahead` the look-ahead is distributed over the open layers. The training takes half of the
    search budget. Climbing applies the first change of one layer that improves the score, from the output
    down. It stops after a round without a change, or when the dev passes have used the other half of the
    budget.
    """
    most = int(_CLIMBING * (task.config.search.budget - 1) / task.scoring_cost)
    limit = task.config.search.max_look_ahead
    drawn = random_plans(task.candidates[0].plan.num_layers, _DRAWN_PER_LAYER, task.seed)
    if limit is not None:
        drawn = [limit_look_ahead(plan, limit) for plan in drawn]
    prepared = _train(task, drawn, task.shortened(most))
    labeler = prepared.labeler
    dev_scores = score_all(task, prepared, task.candidates)
    best = max(dev_scores, key=lambda candidate: dev_scores[candidate].score)
    improved = True
    while improved:
        improved = False
        for near in reversed(neighbours(best, limit)):
            if near not in dev_scores and len(dev_scores) < most:
                dev_scores[near] = task.score(labeler, near)
            if near in dev_scores and dev_scores[near].score > dev_scores[best].score:
                best, improved = near, True
                break
    return SearchResult(best_first(dev_scores.values()))


def score_all(
    task: SearchTask, prepared: Prepared, candidates: Iterable[Candidate], *, stage: str = _STAGE
) -> dict[Candidate, PlanScore]:
    """Return the dev score of each candidate with the same weights; lower layers on which plans agree run only
    once.

    Args:
        task: the search.
        prepared: the labeler with its current weights.
        candidates: the candidates to score.
        stage: as in `SearchTask.score`.
    """
    labeler, candidates = prepared.labeler, list(candidates)
    depth = best_cut([one.plan.reach for one in candidates if task.known(one, stage) is None])
    cache_gb = task.config.training.cache_gb
    with share_lower_states(labeler.model, prepared.batches, depth, cache_gb) as states:
        # With shared lower layers the first plan pays for the others, so times are not comparable.
        alone = states is None
        return {one: task.score(labeler, one, stage=stage, timed=alone) for one in candidates}


def best_cut(reaches: Sequence[Sequence[object]]) -> int:
    """Return the layer up to which to share states so that the fewest layers run in total; 0: do not share.

    >>> best_cut([(0, 0, 0), (0, 0, None), (0, None, 0), (0, None, None)])
    2
    >>> best_cut([(0, 0), (None, None)])
    0
    """
    return min(range(len(reaches[0])), key=lambda cut: _layers_run(reaches, cut)) if reaches else 0


def passes(reaches: Sequence[Sequence[object]]) -> float:
    """Return how many passes through the whole model it takes to score all plans, if shared layers run once.

    >>> passes([(0, 0, 0), (0, 0, None), (0, None, 0), (0, None, None)])
    2.6666666666666665
    """
    return _layers_run(reaches, best_cut(reaches)) / len(reaches[0]) if reaches else 0.0


def _layers_run(reaches: Sequence[Sequence[object]], cut: int) -> int:
    """Return the number of layer passes if plans that agree up to layer `cut` share these layers."""
    return cut * len({tuple(reach[:cut]) for reach in reaches}) + (len(reaches[0]) - cut) * len(reaches)


def _train(task: SearchTask, plans: Sequence[MaskPlan], config: RunConfig) -> Prepared:
    """Train a labeler under drawn plans to the end, without dev scores: these would favor some of the plans."""
    training = config.training.model_copy(update={"evals_per_epoch": 0})
    config = config.model_copy(update={"training": training})
    prepared = prepare_classifier(config, task.splits, task.seed, TrainingFolder(task.folder).adaptation.path)
    model = prepared.labeler.model
    with DrawnPlans(model, plans, task.seed):
        fit(
            model,
            prepared.batches,
            config=training,
            adapter=config.adapter,
            seed=task.seed,
            folder=task.folder / _STAGE,
            score_dev=lambda: 0.0,
        )
    return prepared
