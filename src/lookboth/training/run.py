"""One command's worth of training: data in, labelers with their scores out, one folder a seed."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from lookboth.config import RunConfig
from lookboth.data.alignment import WordEncoder
from lookboth.errors import DataError
from lookboth.evaluation.evaluate import Evaluation, evaluate_labeler
from lookboth.evaluation.runfile import write_predictions, write_run
from lookboth.evaluation.significance import mean_and_sd
from lookboth.models.labeler import Labeler
from lookboth.models.saving import save_labeler
from lookboth.training.adapters import num_trainable
from lookboth.training.batches import RunBatches, tokenize_examples
from lookboth.training.build import build_labeler
from lookboth.training.splits import Splits, read_splits
from lookboth.training.trainer import History, fit, read_config_lines
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
    """

    seed: int
    folder: Path
    labeler: Labeler
    history: History
    dev: Evaluation
    tests: dict[str, Evaluation]


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
    runs = [train_seed(config, splits, seed, out / f"seed-{seed}", say=say) for seed in config.training.seeds]
    if len(runs) > 1:
        for name in runs[0].tests:
            mean, sd = mean_and_sd([run.tests[name].scores.headline for run in runs])
            say(f"{name}: F1 {100 * mean:.2f} ± {100 * (sd or 0):.2f} over {len(runs)} seeds")
    return runs


def train_seed(config: RunConfig, splits: Splits, seed: int, folder: Path, *, say: Say = print) -> TrainedRun:
    """Train one labeler; see `train`."""
    from transformers import set_seed

    started, clock = datetime.now(UTC), time.monotonic()
    set_seed(seed)
    labeler = build_labeler(config, labels=_labels([*splits.train, *splits.dev]))
    encoder, model = labeler.encoder, labeler.model
    pieces = tokenize_examples(splits.train, encoder, tags=labeler.config.tags, config=config)
    batches = RunBatches.build(pieces, config=config, seed=seed, pad_id=_pad_id(labeler.tokenizer))
    total = sum(parameter.numel() for parameter in model.parameters())
    for line in read_config_lines(config, batches, num_trainable(model), total):
        say(line)
    _report_odd_words(encoder, say)
    history = fit(
        model,
        batches,
        config=config.training,
        seed=seed,
        folder=folder / "training",
        score_dev=lambda: evaluate_labeler(labeler, splits.dev, interval=False).scores.headline,
    )
    if history.best_score == 0:
        say(
            "Nothing was learned: dev F1 is 0. Train longer, raise training.lr, or look at the data (check-data)."
        )
    dev = evaluate_labeler(labeler, splits.dev)
    tests = {name: evaluate_labeler(labeler, examples) for name, examples in splits.tests.items()}
    labeler = _with_scores(labeler, config, seed, history, dev, tests)
    save_labeler(labeler, folder / LABELER_FOLDER)
    write_run(
        folder,
        config=config.to_dict(),
        scores=_all_scores(history, dev, tests),
        plan=labeler.config.plan,
        seed=seed,
        started=started,
        wall_seconds=time.monotonic() - clock,
        data_files=splits.files,
    )
    scored = [dev, *tests.values()]
    write_predictions(
        folder,
        [example for evaluation in scored for example in evaluation.examples],
        [prediction.spans for evaluation in scored for prediction in evaluation.predictions],
    )
    for name, evaluation in {"dev": dev, **tests}.items():
        say(f"\n{name}\n{evaluation.describe()}")
    return TrainedRun(seed, folder, labeler, history, dev, tests)


def _labels(examples: Sequence[Example]) -> list[str]:
    return sorted({span.label for example in examples for span in example.spans})


def _pad_id(tokenizer: Any) -> int:
    return next((i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id) if i is not None), 0)


def _report_odd_words(encoder: WordEncoder, say: Say) -> None:
    if encoder.words_without_token:
        some = ", ".join(map(repr, sorted(encoder.words_without_token)[:5]))
        say(
            f"{len(encoder.words_without_token)} words have no token of their own ({some}); they are still labeled."
        )


def _claim(out: Path, config: RunConfig) -> None:
    """Refuse to mix two settings in one folder."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / "recipe.json"
    text = json.dumps(config.to_dict(), indent=2) + "\n"
    begun = file.is_file() and any(out.glob("seed-*"))  # else the run stopped before it trained anything
    if begun and file.read_text(encoding="utf-8") != text:
        raise DataError(f"{out}: holds a run of another recipe. Give another --out, or remove the folder.")
    file.write_text(text, encoding="utf-8")


def _all_scores(history: History, dev: Evaluation, tests: dict[str, Evaluation]) -> dict[str, Any]:
    return {
        "dev": dev.to_dict(),
        **{f"test:{name}": evaluation.to_dict() for name, evaluation in tests.items()},
        "history": {"steps": history.steps, "dev_f1": history.scores, "best": history.best_step},
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
        "dev": round(dev.scores.headline, 5),
        "test": {name: round(evaluation.scores.headline, 5) for name, evaluation in tests.items()},
        "seed": seed,
        "best_step": history.best_step,
        "recipe": config.to_dict(),
    }
    return Labeler(replace(labeler.config, scores=scores), labeler.model, labeler.tokenizer)
