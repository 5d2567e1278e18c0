"""Result of a search: plan scores, plans within noise of the best, cost and a recommendation."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from lookboth.errors import DataError
from lookboth.masking import MaskPlan


@dataclass(frozen=True)
class PlanScore:
    """Dev score of one candidate.

    Args:
        plan: the plan with one reach per layer.
        name: its shortest common notation.
        score: headline dev score in [0, 1].
        spans: predicted (start, end, label) of each dev sentence.
        interval: 95 % bootstrap interval of the score over dev sentences; None for plain tags.
        seconds: time to label the dev data; None if plans shared some of the computation.
        repetition: number of sequence repetitions.
    """

    plan: str
    name: str
    score: float
    spans: Sequence[Sequence[tuple[int, int, str]]] = field(repr=False)
    interval: Sequence[float] | None = None
    seconds: float | None = None
    repetition: int = 0


@dataclass(frozen=True)
class Evidence:
    """Result of a search with all scores.

    Args:
        strategy: name of the search strategy.
        scores: scores of the candidates, best first.
        within_noise: names of the plans, including the best, that do not differ significantly from the best
            on dev data.
        chosen: the chosen plan with one reach per layer; name: its shortest notation; repetition: its
            sequence repetitions.
        seconds: duration of the search; training_seconds: duration of the final training without scoring test
            data, None before it has run.
        continued_seconds: the part of `seconds` spent on the training that the final training then resumed.
        strengths: gate strength per layer in [0, 1], for strategies that learn gates.
        compared: the first `compared` scores come from trainings of equal length and were compared; None:
            all.
    """

    strategy: str
    scores: Sequence[PlanScore]
    within_noise: Sequence[str]
    chosen: str
    name: str
    seconds: float
    training_seconds: float | None = None
    continued_seconds: float = 0.0
    strengths: tuple[float, ...] = ()
    compared: int | None = None
    repetition: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values, without the predicted spans."""
        plain = {key: value for key, value in vars(self).items() if key != "scores"}
        rows: list[dict[str, Any]] = [
            {key: value for key, value in vars(score).items() if key != "spans"} for score in self.scores
        ]
        return {**plain, "strengths": list(self.strengths), "cost_in_trainings": self.cost(), "scores": rows}

    @property
    def comparable(self) -> Sequence[PlanScore]:
        """Return the scores of trainings of equal length, which were compared, best first."""
        return self.scores[: self.compared]

    @property
    def less_trained(self) -> Sequence[PlanScore]:
        """Return the remaining scores, from shorter trainings of different lengths."""
        return () if self.compared is None else self.scores[self.compared :]

    def cost(self) -> float | None:
        """Return the total cost, including the final training, in units of one ordinary training."""
        if not self.training_seconds:
            return None
        return (self.seconds + self.training_seconds) / (self.continued_seconds + self.training_seconds)

    def summary(self) -> str:
        """Return the recommendation as a sentence."""
        best, compared = self.scores[0], self.comparable
        which = f"the {len(compared)} plans"
        if len(compared) < len(self.scores):
            which += f" that remained of {len(self.scores)}"
        if len(self.within_noise) == len(compared):
            return f"None of {which} differs significantly from the best on dev; choosing {self.name} means little."
        others = [name for name in self.within_noise if name != best.name]
        if not others:
            return f"{best.name} is significantly better on dev than the others of {which}; use it."
        worst = min(compared, key=lambda score: score.score)
        return (
            f"{', '.join([best.name, *others])} are within noise of each other; use {self.name}. "
            f"The worst, {worst.name}, is {100 * (best.score - worst.score):.1f} points behind."
        )

    def layers(self) -> list[float] | None:
        """Return an estimate of the benefit of right context in each layer, one number per layer.

        With gates it is the gate strength. Otherwise it is the mean score of the plans in which the layer
        attends to the right minus the mean score of the others. Only scores of equally long trainings with
        the chosen repetition count. Return None if some layer attends to the right in all of these plans or
        in none.
        """
        if self.strengths:
            return list(self.strengths)
        scores = [score for score in self.comparable if score.repetition == self.repetition]
        plans = [MaskPlan.parse(score.plan, _num_layers(score)) for score in scores]
        effects = [
            _effect(scores, [plan.reach[layer] != 0 for plan in plans])
            for layer in range(plans[0].num_layers)
        ]
        known = [effect for effect in effects if effect is not None]
        return known if len(known) == len(effects) else None


def read_evidence(file: Path) -> Evidence:
    """Read the `search.json` of a run folder.

    Raises:
        DataError: the file is damaged.
    """
    try:
        data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        data.pop("cost_in_trainings", None)
        scores = [PlanScore(**{"spans": (), **row}) for row in data.pop("scores")]
        return Evidence(scores=scores, **{**data, "strengths": tuple(data.get("strengths", ()))})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{file}: not a valid search result: {error}. Run the search again to write it."
        ) from error


def _effect(scores: Sequence[PlanScore], looks_right: Sequence[bool]) -> float | None:
    there = [s.score for s, right in zip(scores, looks_right, strict=True) if right]
    without = [s.score for s, right in zip(scores, looks_right, strict=True) if not right]
    return fmean(there) - fmean(without) if there and without else None


def _num_layers(score: PlanScore) -> int:
    return score.plan.removesuffix(",").count(",") + 1
