"""The last steps of every training method: select the dev score, save the labeler, write run.json and
predictions.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from lookboth.config import RunConfig
from lookboth.data import LabelText, join_label_texts
from lookboth.evaluation import Evaluation, write_predictions, write_run
from lookboth.labelers import read_back
from lookboth.run_folder import RunFolder
from lookboth.training.adaptation import AdaptationReport
from lookboth.training.best_weights import History
from lookboth.training.process_group import on_rank_zero
from lookboth.types import Example

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DistillationReport:
    """Teachers and texts of a distillation, for run.json.

    Args:
        teachers: hash of the files of each teacher, by name.
        labeled, texts: number of training examples with and without gold labels.
        words: number of their words.
        dev: "gold", or "agreement" if dev texts are labeled by the teachers.
    """

    teachers: dict[str, str]
    labeled: int
    texts: int
    words: int
    dev: str


class Start(NamedTuple):
    """Start time of a run.

    Args:
        time: with time zone; clock: seconds of a monotonic clock.
    """

    time: datetime
    clock: float

    @classmethod
    def now(cls) -> "Start":
        """Return the current time."""
        return cls(datetime.now(UTC), time.monotonic())

    def seconds(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self.clock


@dataclass(frozen=True)
class CrossValidation:
    """The number of epochs that cross-validation chose in place of dev data.

    Args:
        start: start time of the first fold.
        folds: number of folds.
        epochs, scores: numbers of epochs and the score of all out-of-fold predictions after each.
        chosen: the chosen number of epochs.
        evaluation: the out-of-fold predictions after that number.
    """

    start: Start
    folds: int
    epochs: Sequence[float]
    scores: Sequence[float]
    chosen: float
    evaluation: Evaluation

    def to_dict(self) -> dict[str, Any]:
        """Return the choice as JSON for run.json."""
        names = ("folds", "epochs", "scores", "chosen")
        return {name: getattr(self, name) for name in names}


class TrainedRun(NamedTuple):
    """One finished training run.

    Args:
        seed: random seed of the run; folder: its output folder.
        labeler: the labeler with the weights of the best dev score.
        history: dev scores during training.
        dev, tests: the final scores.
        adaptation: report of the adaptation, if any.
        training_seconds: duration from the start to the final weights; None if the method does not measure
            it.
        unscored: number of words cut by truncation, by data set.
        distillation: teachers and texts of a distillation, if any.
        cross_validation: the choice of the number of epochs without dev data, if any; `dev` is then out of fold.
    """

    seed: int
    folder: Path
    labeler: Any
    history: History
    dev: Evaluation
    tests: dict[str, Evaluation]
    adaptation: AdaptationReport | None = None
    training_seconds: float | None = None
    unscored: Mapping[str, int] = MappingProxyType({})
    distillation: DistillationReport | None = None
    cross_validation: CrossValidation | None = None


class DevScorer:
    """Scores dev data and stores the best evaluation, which saves another pass at the end.

    Args:
        evaluate: scores the current weights.
    """

    def __init__(self, evaluate: Callable[[], Evaluation]) -> None:
        self.evaluate = evaluate
        self.best: Evaluation | None = None

    def __call__(self) -> float:
        """Return the dev score of the current weights."""
        evaluation = self.evaluate()
        # As in `History`, ties keep the earlier evaluation.
        if self.best is None or evaluation.scores.headline > self.best.scores.headline:
            self.best = evaluation
        return evaluation.scores.headline

    def at(self, score: float) -> Evaluation:
        """Return the evaluation with this score; recomputed if an earlier process measured it."""
        # After a resume the best score may come from an earlier process.
        if self.best is None or self.best.scores.headline != score:
            return self.evaluate()
        return self.best


class LossScorer(DevScorer):
    """Dev scorer with the score exp(-loss), so that the lowest loss has the highest score.

    Args:
        evaluate: scores the current weights, for the report.
        loss: mean dev loss of the current weights, in nats.
    """

    def __init__(self, evaluate: Callable[[], Evaluation], loss: Callable[[], float]) -> None:
        super().__init__(evaluate)
        self.loss = loss

    def __call__(self) -> float:
        """Return exp(-loss); 0 if the loss is NaN."""
        loss = self.loss()
        # NaN fails both comparisons and scores 0.
        return math.exp(-loss) if loss > 0 else float(loss == 0)

    def at(self, score: float) -> Evaluation:
        """Return the evaluation of the current weights, whose loss has this score."""
        return self.evaluate()


def finish_run(run: TrainedRun, config: RunConfig, files: Mapping[str, Path], start: Start) -> TrainedRun:
    """Write the labeler, verify it by reading it back, then write predictions.jsonl and, last, run.json.

    Args:
        run: the run with its scores, which also go on the model card.
        config: the recipe.
        files: data files by role.
        start: start time of the run.

    Raises:
        ModelError: the saved labeler differs from the one in memory (see `read_back`); run.json is not
            written.
    """
    if run.history.steps and run.history.best_score == 0:
        LOGGER.warning(
            "Nothing was learned: the dev score is 0. Train longer, raise training.lr, or look at the data."
        )
    run.labeler.config = replace(run.labeler.config, scores=_card_scores(run, config))
    on_rank_zero(lambda: _write(run, config, files, start))
    for name, evaluation in {"dev": run.dev, **run.tests}.items():
        LOGGER.info(f"\n{name}\n{evaluation.describe()}")
    return run


def labels_of(examples: Sequence[Example]) -> list[str]:
    """Return the sorted labels of the examples, those of their label sets included."""
    sets = {label_set for example in examples for label_set in [example.label_set] if label_set}
    named = {LabelText.parse(text).name for label_set in sets for text in label_set}
    return sorted(named.union(label for example in examples for label in example.labels()))


def label_texts_of(examples: Sequence[Example]) -> tuple[str, ...]:
    """Return the labels of all label sets as "name" or "name: description", one text per name."""
    sets = dict.fromkeys(example.label_set for example in examples)
    return join_label_texts(text for label_set in sets for text in label_set)


def _write(run: TrainedRun, config: RunConfig, files: Mapping[str, Path], start: Start) -> None:
    folder = RunFolder(run.folder).labeler
    run.labeler.save_pretrained(folder)
    read_back(run.labeler, folder, trust_remote_code=config.trust_remote_code)
    # After reading back: a folder with run.json holds a labeler that was verified.
    _write_results(run, config, files, start)


def _write_results(run: TrainedRun, config: RunConfig, files: Mapping[str, Path], start: Start) -> None:
    scored = {"dev": run.dev, **{f"test:{name}": evaluation for name, evaluation in run.tests.items()}}
    write_predictions(
        run.folder,
        [example for evaluation in scored.values() for example in evaluation.examples],
        [
            prediction.labeled_spans()
            for evaluation in scored.values()
            for prediction in evaluation.predictions
        ],
        splits=[name for name, evaluation in scored.items() for _ in evaluation.examples],
    )
    history = run.history
    chosen_by = "dev_f1" if config.training.choose_by == "score" else "dev_exp_minus_loss"
    write_run(
        run.folder,
        config=config.to_dict(),
        scores={
            **{name: evaluation.to_dict() for name, evaluation in scored.items()},
            "history": {"steps": history.steps, chosen_by: history.scores, "best": history.best_step},
            **({"unscored_words": dict(run.unscored)} if run.unscored else {}),
            **({} if run.adaptation is None else {"adaptation": asdict(run.adaptation)}),
            **({} if run.distillation is None else {"distillation": asdict(run.distillation)}),
            **({} if run.cross_validation is None else {"cross_validation": run.cross_validation.to_dict()}),
        },
        plan=run.labeler.config.plan,
        seed=run.seed,
        started=start.time,
        wall_seconds=start.seconds(),
        data_files=files,
    )


def _card_scores(run: TrainedRun, config: RunConfig) -> dict[str, Any]:
    return {
        "metric": run.dev.scores.headline_name,
        "dev": round(run.dev.scores.headline, 5),
        "test": {name: round(evaluation.scores.headline, 5) for name, evaluation in run.tests.items()},
        "seed": run.seed,
        "best_step": run.history.best_step,
        **({} if run.distillation is None else {"dev_labels": run.distillation.dev}),
        **({} if run.cross_validation is None else {"folds": run.cross_validation.folds}),
        "recipe": config.to_dict(),
    }
