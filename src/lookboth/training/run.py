"""One command's worth of training: data in, labelers with their scores out, one folder a seed."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from lookboth.config import RunConfig
from lookboth.errors import ConfigError, DataError
from lookboth.evaluation.evaluate import Evaluation, evaluate_labeler
from lookboth.evaluation.runfile import write_run
from lookboth.evaluation.seeds import mean_and_sd
from lookboth.generative.training import GENERATIVE_METHODS, train_generative
from lookboth.masking.attention import apply_plan, under_plan
from lookboth.models.labeler import Labeler
from lookboth.training.adaptation import AdaptationReport, adapt_backbone
from lookboth.training.adapters import num_trainable
from lookboth.training.batches import RunBatches, find_pad_id, tokenize_examples
from lookboth.training.build import build_base, build_labeler
from lookboth.training.outcome import DevScorer, Say, Start, TrainedRun, finish_run, labels_of
from lookboth.training.splits import Splits, read_splits
from lookboth.training.texts import text_section
from lookboth.training.trainer import fit, read_config_lines
from lookboth.training.weights import shape_loss
from lookboth.types import Example


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

    out, seed, start = Path(out), config.training.seeds[0], Start.now()
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
        started=start.time,
        wall_seconds=start.seconds(),
        data_files={},
    )
    return report


def train_one(config: RunConfig, splits: Splits, seed: int, folder: Path, *, say: Say = print) -> TrainedRun:
    """Train one labeler by the recipe's method; see `train`.

    Raises:
        ConfigError: there is no such method, or it cannot adapt to raw text first.
    """
    if config.method not in METHODS:
        raise ConfigError(f"method = {config.method!r}: allowed are {', '.join(sorted(METHODS))}.")
    if config.adaptation is not None and config.method != "classifier":
        raise ConfigError(
            f"method = {config.method!r}: does not adapt by itself. Type lookboth adapt RECIPE --out DIR, and set "
            "adapter.start_from = DIR here."
        )
    return METHODS[config.method](config, splits, seed, folder, say)


def train_classifier(config: RunConfig, splits: Splits, seed: int, folder: Path, say: Say) -> TrainedRun:
    """Train a head over states, and the adapter below it."""
    from transformers import set_seed

    start = Start.now()
    set_seed(seed)
    labeler = build_labeler(config, labels=labels_of([*splits.train, *splits.dev]))
    adaptation = None
    if config.adaptation is not None:
        backbone, work = labeler.model.backbone, folder / "training" / "adaptation"
        adaptation = adapt_backbone(config, backbone, labeler.tokenizer, seed=seed, folder=work, say=say)
    pieces = tokenize_examples(splits.train, labeler.encoder, tags=labeler.config.tags, config=config)
    shape_loss(labeler.model.head, config.training, pieces)
    batches = RunBatches.build(pieces, config=config, seed=seed, pad_id=find_pad_id(labeler.tokenizer))
    _announce(labeler, batches, config, say)
    score_dev = DevScorer(lambda: _evaluate(labeler, splits.dev))
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
    dev = score_dev.at(history.best_score)
    tests = {name: evaluate_labeler(labeler, examples) for name, examples in splits.tests.items()}
    run = TrainedRun(seed, folder, labeler, history, dev, tests, adaptation)
    return finish_run(run, config, splits.files, start, say)


def _evaluate(labeler: Labeler, examples: Sequence[Example]) -> Evaluation:
    with under_plan(labeler.model.backbone, labeler.config.plan):
        return evaluate_labeler(labeler, examples)


def _announce(labeler: Labeler, batches: RunBatches, config: RunConfig, say: Say) -> None:
    total = sum(parameter.numel() for parameter in labeler.model.parameters())
    for line in read_config_lines(config, batches, num_trainable(labeler.model), total):
        say(line)
    odd = sorted(labeler.encoder.words_without_token)
    if odd:
        some = ", ".join(map(repr, odd[:5]))
        say(f"{len(odd)} words have no token of their own ({some}); they are still labeled.")


Method = Callable[[RunConfig, Splits, int, Path, Say], TrainedRun]
METHODS: dict[str, Method] = {
    "classifier": train_classifier,
    **dict.fromkeys(GENERATIVE_METHODS, train_generative),
}


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
