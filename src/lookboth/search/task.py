"""What every way of searching works with: the data, the candidates, trainings, and dev scores that are kept."""

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
from lookboth.training import Say, Splits
from lookboth.types import Span

_FORWARD = 1 / 3  # what scoring a text costs, measured in training on it once
_AT_LEAST = 0.5  # of what a search may cost is for training, however large the dev data is
NOISE = 0.05  # a difference with a larger p-value is not told from chance


class Found(NamedTuple):
    """What a strategy comes back with.

    Args:
        scores: of the plans that were judged, best first.
        strengths: how much each layer should see on its right, in [0, 1], where the strategy says so.
        compared: so many of the first scores are of equally long trainings; None: all are.
    """

    scores: Sequence[PlanScore]
    strengths: tuple[float, ...] = ()
    compared: int | None = None


def affordable_training(budget: float, scoring: float) -> float:
    """Return how much training a search can pay for beside its scoring and the last training, in ordinary trainings.

    At least half of what the search may cost goes into training, however large the dev data is.

    Args:
        budget: in ordinary trainings, the last one included.
        scoring: what all dev passes cost, in the same unit.

    >>> affordable_training(2.0, 0.2), affordable_training(2.0, 0.9)
    (0.8, 0.5)
    """
    return max(budget - 1 - scoring, _AT_LEAST * (budget - 1))


def file_name(candidate: Candidate) -> str:
    """Return a candidate as part of a file's name."""
    repeated = f"+sr{candidate.repetition}" if candidate.repetition else ""
    return candidate.plan.spelled_out().replace("*", "a") + repeated


def best_first(scores: Iterable[PlanScore]) -> list[PlanScore]:
    """Return the scores with the best first; of equal ones, those given first."""
    return sorted(scores, key=lambda score: -score.score)


@dataclass
class SearchTask:
    """One search.

    Args:
        config: the recipe; its plan is not used.
        splits: train and dev are used, test never.
        candidates: what is chosen from.
        seed: of trainings and draws.
        folder: for checkpoints and scores; a killed search goes on from there.
        say: told of progress.
    """

    config: RunConfig
    splits: Splits
    candidates: Sequence[Candidate]
    seed: int
    folder: Path
    say: Say

    @property
    def scoring_cost(self) -> float:
        """What scoring one candidate on dev costs in ordinary trainings, reckoned from the number of words."""
        training = self.config.training
        dev = _FORWARD * sum(len(example.words) for example in self.splits.dev)
        train = sum(len(example.words) for example in self.splits.train)
        times = max(1.0, training.epochs * training.evals_per_epoch)
        return dev / (training.epochs * train + times * dev)

    def shortened(self, scored: float, besides: float = 0.0) -> RunConfig:
        """Return the recipe of the one training that a search can pay for; no longer than an ordinary one.

        Args:
            scored: how many candidates are scored on dev after it.
            besides: what else is paid for, in ordinary trainings.
        """
        share = affordable_training(self.config.search.budget, scored * self.scoring_cost + besides)
        training = self.config.training
        shorter = training.model_copy(update={"epochs": training.epochs * min(1.0, share)})
        return self.config.model_copy(update={"training": shorter})

    def score(
        self, labeler: Labeler, candidate: Candidate, *, stage: str = "shared", timed: bool = True
    ) -> PlanScore:
        """Return how `labeler` does on dev under a candidate's plan; read from the folder where it is known already.

        Args:
            labeler: with the weights of this stage, and the candidate's repetition.
            candidate: its plan is put in force while dev data is labeled.
            stage: part of the file's name; scores of other weights are other scores.
            timed: whether the seconds this takes are those of the plan.
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
        self.say(f"{stage}: plan {candidate}: dev {100 * result.score:.2f}")
        return result

    def known(self, candidate: Candidate, stage: str) -> PlanScore | None:
        """Return the score of a candidate if it is in the folder already, None if not or if it is damaged."""
        return read_state(self._file(candidate, stage), lambda stored: PlanScore(**stored))

    def scorer(self, labeler: Labeler, candidate: Candidate) -> Callable[[], float]:
        """Return what scores `labeler` on dev under a candidate's plan as it stands whenever it is called."""
        return lambda: self._evaluate(labeler, candidate.plan).scores.headline

    def compare(self, one: PlanScore, other: PlanScore) -> float:
        """Return the p-value of the difference between two plans, resampling dev sentences."""
        return paired_bootstrap(self._gold(), _spans(one), _spans(other), seed=self.seed).p_value

    def _evaluate(self, labeler: Labeler, plan: MaskPlan) -> Evaluation:
        # Applied once for all batches: a plan that is applied again loses the kept states of frozen layers.
        with under_plan(labeler.model.backbone, plan):
            return evaluate_labeler(labeler.with_plan(plan), self.splits.dev, interval=False)

    def _file(self, candidate: Candidate, stage: str) -> Path:
        return self.folder / "scores" / stage / f"{file_name(candidate)}.json"

    def _gold(self) -> list[Sequence[Span]]:
        return [example.labeled_spans() for example in self.splits.dev]


def judge(task: SearchTask, found: Found, *, seconds: float) -> Evidence:
    """Return the evidence: the first plan is chosen, and which of the others are within noise of it.

    Noise is that of the dev sentences; the noise of training is shared by the plans where weights are shared.

    Args:
        task: gives the dev data.
        found: what the strategy came back with.
        seconds: what the search took.
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
