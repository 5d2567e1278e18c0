"""The parts shared by all strategies: data, candidates, stored dev scores and the comparison of plans."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from lookboth.config import RunConfig
from lookboth.evaluation import Evaluation, bootstrap_interval, evaluate_labeler, paired_bootstrap
from lookboth.files import read_state, write_json
from lookboth.labelers import Labeler
from lookboth.masking import MaskPlan, under_plan
from lookboth.search.candidates import Candidate
from lookboth.search.evidence import Evidence, PlanScore
from lookboth.training import Splits
from lookboth.types import Span

LOGGER = logging.getLogger(__name__)
# Cost of a forward pass relative to a training step: the backward pass costs twice as much.
_FORWARD = 1 / 3
# Minimum share of the search budget for training, even with large dev data.
_AT_LEAST = 0.5
NOISE = 0.05  # significance level of the comparison with the best plan


class SearchResult(NamedTuple):
    """Scores found by a strategy.

    Args:
        scores: scores of the candidates, best first.
        strengths: gate strength per layer in [0, 1], for strategies that learn gates.
        compared: the first `compared` scores come from trainings of equal length; None: all do.
    """

    scores: Sequence[PlanScore]
    strengths: tuple[float, ...] = ()
    compared: int | None = None


def affordable_training(budget: float, scoring: float) -> float:
    """Return the share of the budget left for training after scoring and the final training, in ordinary
    trainings.

    At least half of the search budget goes into training, even with large dev data.

    Args:
        budget: in ordinary trainings, including the final one.
        scoring: cost of all dev passes, in the same unit.

    >>> affordable_training(2.0, 0.2), affordable_training(2.0, 0.9)
    (0.8, 0.5)
    """
    return max(budget - 1 - scoring, _AT_LEAST * (budget - 1))


def file_name(candidate: Candidate) -> str:
    """Return the name of a candidate for use in file names."""
    repeated = f"+sr{candidate.repetition}" if candidate.repetition else ""
    return candidate.plan.spelled_out().replace("*", "a") + repeated


def best_first(scores: Iterable[PlanScore]) -> list[PlanScore]:
    """Return the scores with the best first; ties keep their order."""
    return sorted(scores, key=lambda score: -score.score)


@dataclass
class SearchTask:
    """One search.

    Args:
        config: the recipe; its plan is ignored.
        splits: the data; train and dev are used, test never.
        candidates: the candidates to choose from.
        seed: seed of trainings and draws.
        folder: folder for checkpoints and scores; an interrupted search resumes from it.
    """

    config: RunConfig
    splits: Splits
    candidates: Sequence[Candidate]
    seed: int
    folder: Path

    @property
    def scoring_cost(self) -> float:
        """Return the cost of scoring one candidate on dev data, in ordinary trainings, estimated from word
        counts.
        """
        training = self.config.training
        dev = _FORWARD * sum(len(example.words) for example in self.splits.dev)
        train = sum(len(example.words) for example in self.splits.train)
        # An ordinary training also scores dev data at every evaluation.
        times = max(1.0, training.epochs * training.evals_per_epoch)
        return dev / (training.epochs * train + times * dev)

    def shortened(self, scored: float, other_costs: float = 0.0) -> RunConfig:
        """Return the recipe of the one training that the search budget allows; at most as long as an ordinary
        training.

        Args:
            scored: number of candidates to score on dev data afterwards.
            other_costs: other costs, in ordinary trainings.
        """
        share = affordable_training(self.config.search.budget, scored * self.scoring_cost + other_costs)
        training = self.config.training
        shorter = training.model_copy(update={"epochs": training.epochs * min(1.0, share)})
        return self.config.model_copy(update={"training": shorter})

    def score(
        self, labeler: Labeler, candidate: Candidate, *, stage: str = "shared", timed: bool = True
    ) -> PlanScore:
        """Return the dev score of `labeler` under a candidate's plan, from the search folder if it is stored
        there.

        Args:
            labeler: the labeler with the weights of this stage and the candidate's repetition.
            candidate: its plan is applied while the dev data is labeled.
            stage: part of the file name; each stage has its own weights and scores.
            timed: whether the measured seconds belong to this plan alone.
        """
        if (known := self.known(candidate, stage)) is not None:
            return known
        start = time.monotonic()
        evaluation = self._evaluate(labeler, candidate.plan)
        seconds = round(time.monotonic() - start, 3)
        found = [prediction.labeled_spans() for prediction in evaluation.predictions]
        result = PlanScore(
            candidate.plan.spelled_out(),
            str(candidate),
            evaluation.scores.headline,
            [[(span.start, span.end, span.label) for span in spans] for spans in found],
            None if self.config.scheme == "plain" else tuple(bootstrap_interval(self._gold(), found)),
            seconds if timed else None,
            candidate.repetition,
        )
        write_json(self._file(candidate, stage), asdict(result))
        LOGGER.info(f"{stage}: plan {candidate}: dev {100 * result.score:.2f}")
        return result

    def known(self, candidate: Candidate, stage: str) -> PlanScore | None:
        """Return the stored score of a candidate; None if it is missing or damaged."""
        return read_state(self._file(candidate, stage), lambda stored: PlanScore(**stored))

    def scorer(self, labeler: Labeler, candidate: Candidate) -> Callable[[], float]:
        """Return a function that scores `labeler` on dev data under a candidate's plan, with the weights at call
        time.
        """
        return lambda: self._evaluate(labeler, candidate.plan).scores.headline

    def compare(self, one: PlanScore, other: PlanScore) -> float:
        """Return the p-value of the difference between two plans, from a paired bootstrap over dev sentences."""
        return paired_bootstrap(self._gold(), _spans(one), _spans(other), seed=self.seed).p_value

    def _evaluate(self, labeler: Labeler, plan: MaskPlan) -> Evaluation:
        # Apply the plan once for all batches: applying it again would discard the cached states of frozen layers.
        with under_plan(labeler.model.backbone, plan):
            return evaluate_labeler(labeler.with_plan(plan), self.splits.dev, interval=False)

    def _file(self, candidate: Candidate, stage: str) -> Path:
        return self.folder / "scores" / stage / f"{file_name(candidate)}.json"

    def _gold(self) -> list[Sequence[Span]]:
        return [example.labeled_spans() for example in self.splits.dev]


def build_evidence(task: SearchTask, found: SearchResult, *, seconds: float) -> Evidence:
    """Return the evidence: the first plan is chosen, with the plans that are within noise of it.

    The test covers the noise of the dev sentences. It does not cover the noise of training, which plans with
    shared weights have in common.

    Args:
        task: the search, with its dev data.
        found: result of the strategy.
        seconds: duration of the search.
    """
    best = found.scores[0]
    compared = found.scores[: found.compared]
    near = [other.name for other in compared if other is best or task.compare(best, other) > NOISE]
    return Evidence(
        task.config.search.strategy,
        found.scores,
        near,
        best.plan,
        best.name,
        seconds,
        strengths=found.strengths,
        compared=found.compared,
        repetition=best.repetition,
    )


def _spans(score: PlanScore) -> list[list[Span]]:
    return [[Span(start, end, label) for start, end, label in sentence] for sentence in score.spans]
