"""One command's worth of training: data in, labelers with their scores out, one folder a seed."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from lookboth.config import RunConfig
from lookboth.errors import ConfigError, DataError
from lookboth.evaluation.evaluate import Evaluation, evaluate_labeler
from lookboth.evaluation.runfile import write_predictions, write_run
from lookboth.evaluation.seeds import mean_and_sd
from lookboth.masking.attention import apply_plan, under_plan
from lookboth.models.labeler import Labeler
from lookboth.models.saving import save_labeler
from lookboth.training.adaptation import AdaptationReport, adapt_backbone
from lookboth.training.adapters import num_trainable
from lookboth.training.batches import RunBatches, find_pad_id, tokenize_examples
from lookboth.training.build import build_base, build_labeler
from lookboth.training.splits import Splits, read_splits
from lookboth.training.texts import text_section
from lookboth.training.trainer import History, fit, read_config_lines
from lookboth.training.weights import shape_loss
from lookboth.types import Example

LABELER_FOLDER = "labeler"
Say = Callable[[str], None]


class TrainedRun(NamedTuple):
    """One finished training run.

    Args:
        seed: its seed; folder: where everything is.
        labeler: with the weights of the best dev score.
        history: dev scores along the way.
        dev, tests: the final scores.
        adaptation: what was done before labeling, if anything.
    """

    seed: int
    folder: Path
    labeler: Labeler
    history: History
    dev: Evaluation
    tests: dict[str, Evaluation]
    adaptation: AdaptationReport | None = None


def train(config: RunConfig, out: str | Path, *, say: Say = print) -> list[TrainedRun]:
    """Train one labeler a seed and write each into its own folder below `out`.

    A run that was killed goes on from its last checkpoint when called again with the same `out`.

    Args:
        config: a recipe (`load_recipe`).
        out: folder; `out/seed-N/` gets run.json, predictions.jsonl and labeler/.
        say: told what is going on, a line at a time.

    Raises:
        LookbothError: bad data, a plan or adapter that does not fit, a model that cannot be loaded; raised
            before any training where it can be known before.
    """
    splits = read_splits(config)
    out = Path(out)
    _claim(out, config)
    runs = [train_one(config, splits, seed, out / f"seed-{seed}", say=say) for seed in config.training.seeds]
    if len(runs) > 1:
        for name in runs[0].tests:
            mean, sd = mean_and_sd([run.tests[name].scores.headline for run in runs])
            say(f"{name}: {100 * mean:.2f} ± {100 * (sd or 0):.2f} (mean and sd over {len(runs)} seeds)")
    return runs


def adapt(config: RunConfig, out: str | Path, *, say: Say = print) -> AdaptationReport:
    """Do only the adaptation of a recipe, with its first seed, and write what was trained into `out`.

    `out/adapter` can be named as adapter.start_from of another recipe; with adapter.kind = "full" it is
    `out/backbone`, which can be named as its model. A killed call goes on when it is made again.

    Args:
        config: a recipe with the section [adaptation].
        out: folder; it also gets run.json.
        say: told what is going on, a line at a time.

    Raises:
        LookbothError: as `train`.
    """
    from transformers import set_seed

    out, seed, started, clock = Path(out), config.training.seeds[0], datetime.now(UTC), time.monotonic()
    text_section(config)
    _claim(out, config)
    set_seed(seed)
    base = build_base(config)
    report = adapt_backbone(config, base.backbone, base.tokenizer, seed=seed, folder=out, say=say)
    write_run(
        out,
        config=config.to_dict(),
        scores={"adaptation": asdict(report)},
        plan=report.plan,
        seed=seed,
        started=started,
        wall_seconds=time.monotonic() - clock,
        data_files={},
    )
    return report


def train_one(config: RunConfig, splits: Splits, seed: int, folder: Path, *, say: Say = print) -> TrainedRun:
    """Train one labeler by the recipe's method; see `train`.

    Raises:
        ConfigError: there is no such method.
    """
    if config.method not in METHODS:
        raise ConfigError(f"method = {config.method!r}: allowed are {', '.join(sorted(METHODS))}.")
    return METHODS[config.method](config, splits, seed, folder, say)


def train_classifier(config: RunConfig, splits: Splits, seed: int, folder: Path, say: Say) -> TrainedRun:
    """Train a head over states, and the adapter below it."""
    from transformers import set_seed

    started, clock = datetime.now(UTC), time.monotonic()
    set_seed(seed)
    labeler = build_labeler(config, labels=_labels([*splits.train, *splits.dev]))
    adaptation = None
    if config.adaptation is not None:
        backbone, work = labeler.model.backbone, folder / "training" / "adaptation"
        adaptation = adapt_backbone(config, backbone, labeler.tokenizer, seed=seed, folder=work, say=say)
    pieces = tokenize_examples(splits.train, labeler.encoder, tags=labeler.config.tags, config=config)
    shape_loss(labeler.model.head, config.training, pieces)
    batches = RunBatches.build(pieces, config=config, seed=seed, pad_id=find_pad_id(labeler.tokenizer))
    _announce(labeler, batches, config, say)
    score_dev = _DevScorer(labeler, splits.dev)
    history = fit(
        labeler.model,
        batches,
        config=config.training,
        seed=seed,
        folder=folder / "training",
        score_dev=score_dev,
        say=say,
    )
    apply_plan(labeler.model.backbone, labeler.config.plan)
    if history.best_score == 0:
        say("Nothing was learned: the dev score is 0. Train longer, raise training.lr, or look at the data.")
    dev = score_dev.at(history.best_score)
    tests = {name: evaluate_labeler(labeler, examples) for name, examples in splits.tests.items()}
    labeler = _with_scores(labeler, config, seed, history, dev, tests)
    run = TrainedRun(seed, folder, labeler, history, dev, tests, adaptation)
    _write(run, config, splits.files, started=started, wall_seconds=time.monotonic() - clock)
    for name, evaluation in {"dev": dev, **tests}.items():
        say(f"\n{name}\n{evaluation.describe()}")
    return run


class _DevScorer:
    """Scores dev data and remembers the best evaluation, so that it need not be made again."""

    def __init__(self, labeler: Labeler, examples: Sequence[Example]) -> None:
        self.labeler, self.examples = labeler, examples
        self.best: Evaluation | None = None

    def __call__(self) -> float:
        with under_plan(self.labeler.model.backbone, self.labeler.config.plan):
            evaluation = evaluate_labeler(self.labeler, self.examples)
        if self.best is None or evaluation.scores.headline > self.best.scores.headline:
            self.best = evaluation
        return evaluation.scores.headline

    def at(self, score: float) -> Evaluation:
        """Return the evaluation that gave `score`; made anew when an earlier process saw it."""
        if self.best is None or self.best.scores.headline != score:
            return evaluate_labeler(self.labeler, self.examples)
        return self.best


def _announce(labeler: Labeler, batches: RunBatches, config: RunConfig, say: Say) -> None:
    total = sum(parameter.numel() for parameter in labeler.model.parameters())
    for line in read_config_lines(config, batches, num_trainable(labeler.model), total):
        say(line)
    odd = sorted(labeler.encoder.words_without_token)
    if odd:
        some = ", ".join(map(repr, odd[:5]))
        say(f"{len(odd)} words have no token of their own ({some}); they are still labeled.")


def _write(
    run: TrainedRun, config: RunConfig, files: dict[str, Path], *, started: datetime, wall_seconds: float
) -> None:
    """Write labeler, predictions.jsonl and, last, run.json of a finished run."""
    save_labeler(run.labeler, run.folder / LABELER_FOLDER)
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
    write_run(
        run.folder,
        config=config.to_dict(),
        scores=_all_scores(run),
        plan=run.labeler.config.plan,
        seed=run.seed,
        started=started,
        wall_seconds=wall_seconds,
        data_files=files,
    )


Method = Callable[[RunConfig, Splits, int, Path, Say], TrainedRun]
METHODS: dict[str, Method] = {"classifier": train_classifier}


def _labels(examples: Sequence[Example]) -> list[str]:
    return sorted({label for example in examples for label in example.labels()})


def _claim(out: Path, config: RunConfig) -> None:
    """Refuse to mix two settings in one folder."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / "recipe.json"
    text = json.dumps(config.to_dict(), indent=2) + "\n"
    # Else the run stopped before it trained anything.
    begun = file.is_file() and any(
        f for name in ("seed-*", "checkpoints", "run.json") for f in out.glob(name)
    )
    if begun and file.read_text(encoding="utf-8") != text:
        raise DataError(f"{out}: holds a run of another recipe. Give another --out, or remove the folder.")
    file.write_text(text, encoding="utf-8")


def _all_scores(run: TrainedRun) -> dict[str, Any]:
    history = run.history
    return {
        "dev": run.dev.to_dict(),
        **{f"test:{name}": evaluation.to_dict() for name, evaluation in run.tests.items()},
        "history": {"steps": history.steps, "dev_f1": history.scores, "best": history.best_step},
        **({} if run.adaptation is None else {"adaptation": asdict(run.adaptation)}),
    }


def _with_scores(
    labeler: Labeler,
    config: RunConfig,
    seed: int,
    history: History,
    dev: Evaluation,
    tests: dict[str, Evaluation],
) -> Labeler:
    scores = {
        "metric": dev.scores.headline_name,
        "dev": round(dev.scores.headline, 5),
        "test": {name: round(evaluation.scores.headline, 5) for name, evaluation in tests.items()},
        "seed": seed,
        "best_step": history.best_step,
        "recipe": config.to_dict(),
    }
    return Labeler(replace(labeler.config, scores=scores), labeler.model, labeler.tokenizer)
