"""What a search found: the plans that were judged, which are within noise, what it cost, and that in words."""

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
    """How a plan did in a search.

    Args:
        plan: spelled out, one reach a layer.
        name: its shortest usual notation.
        score: the headline score on dev, in [0, 1].
        spans: what was predicted, for each dev sentence (start, end, label).
        interval: 95 % bootstrap interval of the score over dev sentences; None for plain tags.
        seconds: what labeling the dev data took; None where plans shared some of the work.
        repetition: how many more times the words were put in.
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
    """What a search found.

    Args:
        strategy: how it searched.
        scores: of the plans that were judged together, best first.
        within_noise: names of the plans that dev data does not tell from the best, the best among them.
        chosen: the plan taken, spelled out; name: its shortest notation; repetition: what goes with it.
        seconds: what the search took; training_seconds: what the training after it took, without scoring test data;
            None before it ran.
        continued_seconds: what of `seconds` went into the training that was then gone on with.
        strengths: how much each layer should see on its right, in [0, 1], where the strategy says so.
        compared: so many of the first scores are of equally long trainings and were compared; None: all.
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
        """Return the JSON form, without the predicted spans."""
        plain = {key: value for key, value in vars(self).items() if key != "scores"}
        rows: list[dict[str, Any]] = [
            {key: value for key, value in vars(score).items() if key != "spans"} for score in self.scores
        ]
        return {**plain, "strengths": list(self.strengths), "cost_in_trainings": self.cost(), "scores": rows}

    @property
    def together(self) -> Sequence[PlanScore]:
        """The scores of equally long trainings, which were compared, best first."""
        return self.scores[: self.compared]

    @property
    def less_trained(self) -> Sequence[PlanScore]:
        """The other scores, each after a shorter training of its own length."""
        return () if self.compared is None else self.scores[self.compared :]

    def cost(self) -> float | None:
        """Return the whole cost in units of one ordinary training, the last training included."""
        if not self.training_seconds:
            return None
        return (self.seconds + self.training_seconds) / (self.continued_seconds + self.training_seconds)

    def in_words(self) -> str:
        """Return the recommendation."""
        best, compared = self.scores[0], self.together
        which = f"the {len(compared)} plans"
        if len(compared) < len(self.scores):
            which += f" that were left of {len(self.scores)}"
        if len(self.within_noise) == len(compared):
            return f"The dev data does not tell any of {which} from the best; the choice of {self.name} means little."
        others = [name for name in self.within_noise if name != best.name]
        if not others:
            return f"{best.name} is ahead of the others of {which} on dev; take it."
        worst = min(compared, key=lambda score: score.score)
        return (
            f"{', '.join([best.name, *others])} are within noise of each other; take {self.name}. "
            f"The worst, {worst.name}, is {100 * (best.score - worst.score):.1f} points behind."
        )

    def layers(self) -> list[float] | None:
        """Return how much right context each layer seems to carry, one number a layer.

        The strength of its gate; without gates the mean score of the plans in which it looks right minus that of the
        others, among those that were trained equally long and have the chosen repetition. None where some layer looks
        right in all of them, or in none.
        """
        if self.strengths:
            return list(self.strengths)
        scores = [score for score in self.together if score.repetition == self.repetition]
        plans = [MaskPlan.parse(score.plan, _num_layers(score)) for score in scores]
        effects = [
            _effect(scores, [plan.reach[layer] != 0 for plan in plans])
            for layer in range(plans[0].num_layers)
        ]
        known = [effect for effect in effects if effect is not None]
        return known if len(known) == len(effects) else None


def read_evidence(file: Path) -> Evidence:
    """Read `search.json` of a run folder.

    Raises:
        DataError: it is damaged.
    """
    try:
        data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        data.pop("cost_in_trainings", None)
        scores = [PlanScore(**{"spans": (), **row}) for row in data.pop("scores")]
        return Evidence(scores=scores, **{**data, "strengths": tuple(data.get("strengths", ()))})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{file}: not what a search writes: {error}. Search again to have it written."
        ) from error


def _effect(scores: Sequence[PlanScore], looks_right: Sequence[bool]) -> float | None:
    there = [s.score for s, right in zip(scores, looks_right, strict=True) if right]
    without = [s.score for s, right in zip(scores, looks_right, strict=True) if not right]
    return fmean(there) - fmean(without) if there and without else None


def _num_layers(score: PlanScore) -> int:
    return score.plan.removesuffix(",").count(",") + 1
