"""Training seconds to the same dev F1, usual method and less work: python experiments/equal_f1.py OUT.json

All sides train SmolLM2-135M with LoRA (rank 16 on q and v) and the plan causal, on the same sentences and with the same
untuned learning rate. They are scored on the same dev sentences twice per epoch; scoring time is not counted. The usual
method has padded batches of 16 in random order, in fp32. The others have lookboth's batches of 512 tokens, about 16
sentences, or of fewer tokens; their names have the number. A cheaper side may train for more epochs; its name
has the factor. Seconds are those of the clock; the seconds of the processor do not count other programs. A run that was
stopped resumes with the next side.
"""

import argparse
import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from lookboth.config.recipe import RunConfig
from lookboth.config.recipe_files import parse_config
from lookboth.evaluation.evaluate import evaluate_labeler
from lookboth.labelers.labeler import Labeler
from lookboth.models.products import use_stock_products
from lookboth.progress import progress_to
from lookboth.quiet import quiet_libraries
from lookboth.training.batches import RunBatches
from lookboth.training.classifier import prepare_classifier
from lookboth.training.frozen_states import keep_frozen_states
from lookboth.training.splits import Splits, read_splits
from lookboth.training.trainer import fit

# Seconds and dev F1 at each evaluation, by side.
Curves = dict[str, list[dict[str, float]]]


@dataclass(frozen=True)
class Way:
    """Training settings of a side.

    Args:
        precision: precision of the computation.
        times: number of epochs relative to the usual method.
        upper_half: whether only the upper half of the layers has an adapter and the states of the lower half are
            cached.
        batch_tokens: number of tokens per batch, except for the usual method.
    """

    precision: str
    times: int = 1
    upper_half: bool = False
    batch_tokens: int = 512


SIDES = {
    "usual": Way("fp32"),
    "lookboth fp32": Way("fp32"),
    "lookboth": Way("bf16"),
    "lookboth, 256 tokens": Way("bf16", batch_tokens=256),
    "lookboth, 128 tokens": Way("bf16", batch_tokens=128),
    "lookboth, twice the epochs": Way("bf16", times=2),
    "lookboth, upper half cached": Way("bf16", upper_half=True),
    "lookboth, upper half cached, four times the epochs": Way("bf16", times=4, upper_half=True),
}


def main() -> None:
    """Train each side, print its curve and write all curves."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", default="uner_en_ewt")
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument(
        "--seeds", default="0,1,2", help="separated by commas; the sides alternate, seed by seed"
    )
    parser.add_argument("--sides", default=";".join(SIDES), help="names of sides, separated by semicolons")
    options = parser.parse_args()
    quiet_libraries()
    curves: dict[str, Curves] = _written(options.out)
    for seed in options.seeds.split(","):
        own = curves.setdefault(seed, {})
        for name in options.sides.split(";"):
            if name not in own:
                with progress_to(print):
                    own[name] = curve(recipe(options, name), usual=name == "usual", seed=int(seed))
                _write(options, curves)


def _written(out: Path) -> dict[str, Curves]:
    """Return the curves in a result that was written before, by seed."""
    return json.loads(out.read_text(encoding="utf-8"))["tables"]["curves"] if out.exists() else {}


def _write(options: argparse.Namespace, curves: dict[str, Curves]) -> None:
    """Write all curves, and the comparison of the seeds that have the usual method."""
    from bench.alternate import write_result

    rows = [
        {"seed": int(seed), **row} for seed, own in curves.items() if "usual" in own for row in compared(own)
    ]
    work = f"{options.data}, {options.sentences} sentences, {options.epochs} epochs, plan causal"
    write_result(options.out, work=work, tables={"curves": curves, "compared": rows})


def recipe(options: argparse.Namespace, side: str) -> RunConfig:
    """Return the recipe of a side."""
    way = SIDES[side]
    return parse_config(
        {
            "model": "smollm2-135m",
            "plan": "causal",
            "data": {
                "train": options.data,
                "max_train_sentences": options.sentences,
                "max_dev_sentences": 250,
            },
            "adapter": {
                "rank": 16,
                "alpha": 32,
                "target_modules": ["q_proj", "v_proj"],
                "layers": "top:15" if way.upper_half else None,
            },
            "training": {
                "epochs": options.epochs * way.times,
                "evals_per_epoch": 2,
                "batch_tokens": way.batch_tokens,
                "lr": 1e-3,
                "precision": way.precision,
                "cache_frozen": way.upper_half,
            },
        }
    )


def curve(config: RunConfig, *, usual: bool, seed: int) -> list[dict[str, float]]:
    """Train one side and return the seconds of training and the dev F1 at each evaluation."""
    splits = read_splits(config)
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare_classifier(config, splits, seed, Path(folder) / "adaptation")
        if usual:
            use_stock_products(prepared.labeler.model)
        batches = _sixteens(prepared.batches, seed) if usual else prepared.batches
        clock = Clock(prepared.labeler, splits)
        with keep_frozen_states(prepared.labeler.model, batches, config.training):
            clock.start()
            fit(
                prepared.labeler.model,
                batches,
                config=config.training,
                seed=seed,
                folder=Path(folder) / "training",
                score_dev=clock.score,
            )
    return clock.points


class Clock:
    """Stopwatch of training that pauses while dev data is scored.

    Args:
        labeler: the labeler in training.
        splits: splits with the dev data.
    """

    def __init__(self, labeler: Labeler, splits: Splits) -> None:
        self.labeler, self.splits = labeler, splits
        self.points: list[dict[str, float]] = []
        self._spent = {"seconds": 0.0, "processor_seconds": 0.0}
        self._began = _now()

    def start(self) -> None:
        """Start the stopwatch."""
        self._began = _now()

    def score(self) -> float:
        """Return the dev F1 and record it with the seconds of training so far."""
        now = _now()
        self._spent = {key: spent + now[key] - self._began[key] for key, spent in self._spent.items()}
        found = evaluate_labeler(self.labeler, self.splits.dev, interval=False).scores.headline
        seconds = {key: round(spent, 1) for key, spent in self._spent.items()}
        self.points.append({**seconds, "dev_f1": round(found, 4)})
        print(self.points[-1], flush=True)
        self.start()
        return found


def _now() -> dict[str, float]:
    return {"seconds": time.monotonic(), "processor_seconds": time.process_time()}


def _sixteens(batches: RunBatches, seed: int) -> RunBatches:
    """Return the same epochs in batches of 16 in random order."""
    schedule: list[list[int]] = []
    ends = []
    for epoch in range(len(batches.epoch_ends)):
        order = list(range(len(batches.pieces)))
        Random(f"{seed} {epoch}").shuffle(order)
        schedule += [order[i : i + 16] for i in range(0, len(order), 16)]
        ends.append(len(schedule))
    return replace(batches, schedule=schedule, epoch_ends=tuple(ends))


def compared(curves: Curves) -> list[dict[str, Any]]:
    """Return for each side the seconds to the best dev F1 of the usual method, and the speedup by either clock."""
    best = max(point["dev_f1"] for point in curves["usual"])
    base = _reached(curves["usual"], best)
    rows = []
    for name, points in curves.items():
        found = _reached(points, best)
        rows.append(
            {
                "side": name,
                "best_dev_f1": max(point["dev_f1"] for point in points),
                "seconds_to_usual": found.get("seconds"),
                "times_as_fast": _ratio(base, found, "seconds"),
                "processor_times_as_fast": _ratio(base, found, "processor_seconds"),
                "seconds": points[-1]["seconds"],
            }
        )
        print(rows[-1])
    return rows


def _reached(points: list[dict[str, float]], score: float) -> dict[str, float]:
    """Return the first point with this score; empty if there is none."""
    return next((point for point in points if point["dev_f1"] >= score), {})


def _ratio(base: dict[str, float], found: dict[str, float], clock: str) -> float | None:
    return round(base[clock] / found[clock], 2) if clock in base and found else None


if __name__ == "__main__":
    main()
