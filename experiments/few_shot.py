"""F1 after training on few sentences: python experiments/few_shot.py OPEN_LABELER --data DATA --out runs/few_shot

For each data set, number of sentences and draw, a labeler is trained in several ways with the same settings:

open      an ordinary labeler that begins at the label vectors of the open labeler
head      a new linear head on the backbone and adapter of the open labeler
fresh     a new linear head and a new adapter on the open labeler's base model, under the same plan
sift      supervised in-context fine-tuning with the same sentences, also as demonstrations (--ways sift)

Sentences are drawn from the training split; dev data are not used. With --folds, cross-validation chooses the number of
epochs, as `lookboth train` does for few sentences; without, all trainings have --epochs. Row 0 is the open labeler with
labels that are only named. Finished runs are skipped when the command is repeated. `--table FOLDER` prints the table of
the runs in a folder.
"""

import argparse
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lookboth.config.recipe_files import overlay, parse_config
from lookboth.data.label_texts import LabelText, describe_labels
from lookboth.data.sources import read_source
from lookboth.data.split_finding import source_path
from lookboth.errors import LookbothError
from lookboth.evaluation.command import evaluate_on
from lookboth.evaluation.runfile import read_run
from lookboth.evaluation.seeds import mean_and_sd
from lookboth.labelers.folders import find_folder
from lookboth.labelers.labeler_config import read_config
from lookboth.labelers.saving import ADAPTER_FOLDER
from lookboth.progress import progress_to
from lookboth.quiet import quiet_libraries
from lookboth.run_folder import RunFolder
from lookboth.training.training_runs import train

WAYS = ("open", "head", "fresh", "sift")
# Settings of a recipe that make a labeler; those of the open labeler's training are used for all ways.
_SHARED = (
    "model",
    "revision",
    "plan",
    "train_plan",
    "exit_layer",
    "repetition",
    "prefix_each_copy",
    "leading_space",
    "scheme",
    "label_on",
    "max_tokens",
    "overlap",
)
_NAMED = "named"  # way of the open labeler without training


class Trial(NamedTuple):
    """One training: data set, way, number of sentences and draw."""

    data: str
    way: str
    sentences: int
    draw: int

    @property
    def place(self) -> Path:
        """Path of its run below the folder of the experiment."""
        return Path(Path(self.data).name) / self.way / f"{self.sentences}-{self.draw}"


def trials(data: Sequence[str], ways: Sequence[str], sizes: Sequence[int], draws: int) -> Iterator[Trial]:
    """Yield all trainings; every way of a draw before the next draw, so that an interrupted run can be compared."""
    for name in data:
        yield Trial(name, _NAMED, 0, 0)
        for draw in range(draws):
            for size in sizes:
                for way in ways:
                    yield Trial(name, way, size, draw)


def settings_of(trial: Trial, labeler: Path, test: str, training: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe of a training.

    Args:
        trial: the training.
        labeler: folder of the open labeler.
        test: part of the test split.
        training: settings of the section [training].
    """
    recipe = read_config(labeler).scores["recipe"]
    own = {"data": _data(trial, test), "training": {"seeds": [trial.draw], **training}}
    if trial.way == "sift" or not training.get("folds"):
        # The sentences of the training replace dev data: scored once, they choose nothing.
        aside = {"dev": f"{trial.data}:train", "max_dev_sentences": trial.sentences}
        own = overlay(own, {"data": aside, "training": {"folds": None, "evals_per_epoch": 0}})
    if trial.way == "open":
        return {
            "start": {"labeler": str(labeler)},
            "head": {"kind": "linear"},
            "labels": _labels(trial.data),
            **own,
        }
    shared = {key: recipe[key] for key in _SHARED if recipe.get(key) is not None}
    shared["adapter"] = recipe["adapter"]
    if trial.way == "head":
        shared["adapter"] = {**shared["adapter"], "start_from": str(labeler / ADAPTER_FOLDER)}
    return _sift(shared, own, trial) if trial.way == "sift" else overlay(shared, own)


def _data(trial: Trial, test: str) -> dict[str, Any]:
    # Smaller draws are parts of larger ones.
    drawn = {"max_train_sentences": trial.sentences, "sample_seed": trial.draw}
    return {"train": trial.data, "test": [f"{trial.data}:{test}"], **drawn}


def _labels(data: str) -> dict[str, str]:
    """Return all labels of a data set with their descriptions: some may be in no drawn sentence."""
    names = sorted({label for example in read_source(data, "train").examples for label in example.labels()})
    return dict(LabelText.parse(text) for text in describe_labels(data, names))


def _sift(shared: Mapping[str, Any], own: Mapping[str, Any], trial: Trial) -> dict[str, Any]:
    """Return a recipe without a plan, because a generating model is causal."""
    kept = {key: shared[key] for key in ("model", "revision", "adapter") if key in shared}
    # A sentence is not its own demonstration.
    shown = {"k": max(1, min(5, trial.sentences - 1)), "instruction": False}
    return overlay(kept, own, {"method": "sift", "generative": shown})


def run_trial(
    trial: Trial,
    labeler: Path,
    out: Path,
    *,
    test: str,
    training: Mapping[str, Any],
    overrides: Sequence[str],
) -> None:
    """Train and score, or score the open labeler with named labels; a finished run is skipped."""
    folder = out / trial.place
    if RunFolder(folder).run.is_file():
        return
    if trial.way == _NAMED:
        evaluate_on(f"{trial.data}:{test}", str(labeler), out=folder)
        return
    work = out.with_name(f"{out.name}-work") / trial.place
    config = parse_config(settings_of(trial, labeler, test, training), overrides)
    (run,) = train(config, work)
    folder.mkdir(parents=True, exist_ok=True)
    # The last step, and the only file that is kept: weights would fill the disk.
    shutil.copy(RunFolder(run.folder).run, RunFolder(folder).run)
    shutil.rmtree(work)


class Row(NamedTuple):
    """The result of one training, F1 in %."""

    trial: Trial
    f1: float
    dev: float | None
    epochs: float | None


def read_rows(folder: Path) -> list[Row]:
    """Return the results of all finished trainings in the folder of an experiment."""
    rows = []
    for run in RunFolder.below(folder):
        name, way, place = run.path.relative_to(folder).parts
        size, draw = map(int, place.split("-"))
        scores = read_run(run.path).scores
        (test,) = (value for key, value in scores.items() if key.startswith("test"))
        folds = scores.get("cross_validation")
        dev = None if folds is None else 100 * scores["dev"]["headline"]
        rows.append(
            Row(
                Trial(name, way, size, draw),
                100 * test["headline"],
                dev,
                None if folds is None else folds["chosen"],
            )
        )
    return rows


def table(rows: Sequence[Row]) -> str:
    """Return mean and standard deviation over draws as a Markdown table, one row per number of sentences."""
    found: dict[tuple[str, int], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        found[row.trial.data, row.trial.sentences][row.trial.way].append(row.f1)
    ways = [way for way in (_NAMED, *WAYS) if any(way in cell for cell in found.values())]
    lines = [f"| data | sentences | {' | '.join(ways)} |", f"|---|--:|{'--:|' * len(ways)}"]
    for (data, size), cell in sorted(found.items()):
        shown = [_shown(cell[way]) if way in cell else "" for way in ways]
        lines.append(f"| {data} | {size} | {' | '.join(shown)} |")
    return "\n".join(lines)


def _shown(scores: Sequence[float]) -> str:
    mean, sd = mean_and_sd(scores)
    return f"{mean:.1f}" if sd is None else f"{mean:.1f} ± {sd:.1f}"


def main() -> None:
    """Run all trainings that are not finished and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("labeler", type=find_folder, nargs="?", help="folder, or a shipped one: open")
    parser.add_argument("--data", action="append", default=[])
    parser.add_argument("--out", type=Path, default=Path("runs/few_shot"))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["open", "fresh"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[5, 10, 20, 50, 100])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--folds", type=int, help="cross-validation; without, --epochs")
    parser.add_argument("--epochs", type=float, default=20)
    parser.add_argument("--test", default="test", help="part of the test split, for example 'test[:120]'")
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument("--table", type=Path, help="only print the table of the runs in this folder")
    options = parser.parse_args()
    if options.table is not None:
        print(table(read_rows(options.table)))
        return
    if options.labeler is None or not options.data:
        parser.error("name an open labeler and --data")
    if min(*options.sizes, options.draws) < 1:
        parser.error("--sizes and --draws are at least 1")
    quiet_libraries()
    training = {"epochs": options.epochs, "schedule": "constant", "batch_sentences": 4, "lr": 5e-4}
    training["folds"] = options.folds
    if not read_config(options.labeler).is_open:
        parser.error(f"{options.labeler} is not an open labeler")
    for name in options.data:
        if not source_path(name).exists():
            parser.error(f"--data {name}: not a folder or a built-in name")
    with progress_to(print):
        for trial in trials(options.data, options.ways, options.sizes, options.draws):
            run_trial(
                trial,
                options.labeler,
                options.out,
                test=options.test,
                training=training,
                overrides=options.settings,
            )
    print(table(read_rows(options.out)))


if __name__ == "__main__":
    try:
        main()
    except LookbothError as error:
        raise SystemExit(f"error: {error}") from None
