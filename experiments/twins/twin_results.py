"""Results of twins: copies of run.json, comparisons of both plans over the test sentences, and the report."""

import shutil
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from twin_report import report, sentences_file
from variants import PLANS, TWINS, slug, stage_folder

from lookboth.evaluation.predictions import ScoredSentence, predictions_by_split
from lookboth.evaluation.runfile import read_run
from lookboth.evaluation.significance import paired_bootstrap
from lookboth.files import write_json
from lookboth.run_folder import RunFolder


def write_results(settings: Mapping[str, Any], out: Path, results: Path) -> None:
    """Copy what is finished to the results folder, and write the report.

    Args:
        settings: the recipe.
        out: folder with the runs of all seeds.
        results: folder for the results.
    """
    for seed, twin in product(settings["seeds"], TWINS):
        folder, place = out / f"seed-{seed}" / slug(twin), results / slug(twin)
        for number, stage in enumerate(TWINS[twin]):
            name = stage_folder(number, stage)
            _keep(RunFolder(folder / name), place / name / f"seed-{seed}")
        for task in settings["tasks"]:
            runs = [RunFolder.of_seed(folder / task / plan, seed) for plan in PLANS]
            for plan, run in zip(PLANS, runs, strict=True):
                _keep(run, place / task / plan / f"seed-{seed}")
            _keep_comparison(runs, sentences_file(place / task, seed))
    results.mkdir(parents=True, exist_ok=True)
    (results / "table.md").write_text(report(settings, results), encoding="utf-8")


def _keep(run: RunFolder, target: Path) -> None:
    """Copy the run.json of a finished run."""
    if run.run.is_file():
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(run.run, target)


def _keep_comparison(runs: Sequence[RunFolder], target: Path) -> None:
    """Write the difference of the second run to the first, with its interval over sentences, if both are finished."""
    if target.is_file() or not all(run.run.is_file() for run in runs):
        return
    causal, full = (_test_sentences(run) for run in runs)
    gold = [sentence.gold for sentence in full]
    found = paired_bootstrap(gold, [one.predicted for one in full], [one.predicted for one in causal])
    points = {key: round(100 * getattr(found, key), 3) for key in ("difference", "low", "high")}
    write_json(target, points)


def _test_sentences(run: RunFolder) -> list[ScoredSentence]:
    splits = predictions_by_split(read_run(run.path))
    return next(sentences for name, sentences in splits.items() if name.startswith("test:"))
