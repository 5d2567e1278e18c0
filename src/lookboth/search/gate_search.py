"""Learned gates: one training in which the strength of right context in each layer is itself a weight.

The continuous relaxation of a discrete choice is from differentiable architecture search (Liu et al. 2019,
"DARTS: Differentiable Architecture Search", arXiv 1806.09055).
"""

import logging
from typing import Any

import torch
from torch import nn

from lookboth.evaluation import evaluate_labeler
from lookboth.masking import MaskPlan, apply_plan, set_gates, under_plan
from lookboth.run_folder import TrainingFolder
from lookboth.search.candidates import Candidate, limit_look_ahead
from lookboth.search.one_shot import passes, score_all
from lookboth.search.search_task import SearchResult, SearchTask, best_first
from lookboth.training import fit, prepare_classifier

LOGGER = logging.getLogger(__name__)

# Maximum change of a gate's logit in a whole training at the recipe's learning rate: enough to saturate a sigmoid.
_CROSSING = 12.0
_DECIDE = 0.1  # weight of the penalty on half-open gates


class Gates(nn.Module):
    """One trainable gate strength per layer, initially 0.5.

    Args:
        num_layers: number of layers of the model.
        speed: logit per unit of the weight. Adam changes a weight by about the learning rate per step.
    """

    def __init__(self, num_layers: int, speed: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_layers))
        self.speed = speed

    def forward(self) -> torch.Tensor:
        """Return the strengths, shape (num_layers,)."""
        return torch.sigmoid(self.speed * self.weight)

    def plan(self) -> MaskPlan:
        """Return the plan of the gates: a layer is bidirectional if its strength is above 0.5."""
        return MaskPlan(tuple(None if strength > 0.5 else 0 for strength in self().tolist()))


class Gated:
    """Context manager that trains gates with a model; the gates are active in training passes only.

    Args:
        model: a LabelerModel under the plan "full".
        gates: the gates; inside the context a submodule of the model, and so part of its checkpoints.
    """

    def __init__(self, model: nn.Module, gates: Gates) -> None:
        self.model, self.gates = model, gates

    def __enter__(self) -> "Gated":
        # As a submodule, the gates are in the optimizer and in checkpoints.
        self.model.add_module("gates", self.gates)
        self.hooks = (
            self.model.register_forward_pre_hook(self._open),
            self.model.register_forward_hook(self._penalize),
        )
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self.hooks:
            hook.remove()
        del self.model.gates
        set_gates(self.model, None)

    def _open(self, model: nn.Module, args: tuple[Any, ...]) -> None:
        # Dev data is scored under the discrete plan, not under gates.
        set_gates(model, self.gates() if model.training else None)

    def _penalize(self, model: nn.Module, args: tuple[Any, ...], output: dict[str, torch.Tensor]) -> None:
        if model.training and "loss" in output:
            strengths = self.gates()
            output["loss"] = output["loss"] + _DECIDE * (strengths * (1 - strengths)).mean()


def search_gates(task: SearchTask) -> SearchResult:
    """Train gates; return the dev scores of the gates' plan and of every candidate with the same weights."""
    # Gates weaken attention to the right, so every layer must be open.
    relaxed = {"plan": "full", "train_plan": None, "attn_implementation": "eager"}
    scored = passes([candidate.plan.reach for candidate in task.candidates]) + 1
    config = task.shortened(scored).model_copy(update=relaxed)
    prepared = prepare_classifier(config, task.splits, task.seed, TrainingFolder(task.folder).adaptation.path)
    labeler = prepared.labeler
    model = labeler.model
    num_layers = task.candidates[0].plan.num_layers
    steps = -(-len(prepared.batches) // config.training.accumulation)
    gates = Gates(num_layers, _CROSSING / (config.training.lr * max(1, steps)))

    def score_dev() -> float:
        with under_plan(model.backbone, gates.plan()):
            view = labeler.with_plan(gates.plan())
            return evaluate_labeler(view, task.splits.dev, interval=False).scores.headline

    apply_plan(model.backbone, MaskPlan((None,) * num_layers))
    with Gated(model, gates):
        fit(
            model,
            prepared.batches,
            config=config.training,
            adapter=config.adapter,
            seed=task.seed,
            folder=task.folder / "gates",
            score_dev=score_dev,
        )
    strengths = tuple(round(strength, 4) for strength in gates().tolist())
    plan = gates.plan()
    if task.config.search.max_look_ahead is not None:
        plan = limit_look_ahead(plan, task.config.search.max_look_ahead)
    LOGGER.info(f"gates: {' '.join(f'{strength:.2f}' for strength in strengths)}; their plan is {plan}")
    candidates = dict.fromkeys([Candidate(plan, config.repetition), *task.candidates])
    return SearchResult(best_first(score_all(task, prepared, candidates, stage="gates").values()), strengths)
