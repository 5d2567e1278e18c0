"""The report on twins: scores with and without the mask, losses, and the effects that could have been found."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from power import detectable_difference, pooled_sd, power_of
from variants import PLANS, TWINS, slug, stage_folder

from lookboth.evaluation.runfile import Run, read_run
from lookboth.evaluation.seeds import mean_and_sd, paired_difference

# True effects, in points of F1, for which the report names the power.
EFFECTS = (1, 3, 10)


def report(settings: Mapping[str, Any], results: Path) -> str:
    """Return the finished runs of a recipe as Markdown tables, with a statement of their power."""
    tasks = [_task_table(settings, results, task) for task in settings["tasks"]]
    return "\n".join(
        [_progress(settings, results), *tasks, _losses(settings, results), _power(settings, results)]
    )


def _progress(settings: Mapping[str, Any], results: Path) -> str:
    seeds, tasks = len(settings["seeds"]), len(settings["tasks"])
    wanted = seeds * tasks * len(TWINS) * len(PLANS)
    finished = sum(
        len(_scores(settings, results, twin, task, plan))
        for twin in TWINS
        for task in settings["tasks"]
        for plan in PLANS
    )
    return f"{finished} of {wanted} fine-tunings are finished ({seeds} seeds, {tasks} tasks).\n"


def _task_table(settings: Mapping[str, Any], results: Path, task: str) -> str:
    rows = [
        f"**{task}**, test F1, mean ± sd over finished seeds\n",
        "| pretraining | causal | full | full - causal (95 % t interval) | over sentences (95 %) | seeds |",
        "|---|---|---|---|---|---|",
    ]
    for twin in TWINS:
        pairs = _paired(settings, results, twin, task)
        if pairs:
            intervals = _sentence_intervals(settings, results / slug(twin) / task)
            rows.append(_row(twin, pairs, list(intervals.values())))
    return "\n".join(rows) + "\n"


def _row(
    twin: str, pairs: Mapping[int, tuple[float, float]], intervals: Sequence[tuple[float, float]]
) -> str:
    """Return the scores under both plans, and their difference over seeds and over sentences."""
    causal, full = zip(*pairs.values(), strict=True)
    change = paired_difference(full, causal)
    cells = []
    for values in (causal, full):
        mean, sd = mean_and_sd(values)
        cells.append(f"{mean:.1f}" + ("" if sd is None else f" ± {sd:.1f}"))
    interval = "" if change.interval is None else " ({:+.1f} to {:+.1f})".format(*change.interval)
    # Bounds are averaged over seeds: the width of one comparison, not that of their mean.
    over = "{:+.1f} to {:+.1f}".format(*np.mean(intervals, axis=0)) if intervals else "not measured"
    return f"| {twin} | {' | '.join(cells)} | {change.difference:+.1f}{interval} | {over} | {len(pairs)} |"


def _losses(settings: Mapping[str, Any], results: Path) -> str:
    rows = [
        "Pretraining, first seed's tokens, mean losses in nats per prediction\n",
        "| pretraining | objective | steps | tokens | held-out loss before | after |",
        "|---|---|---|---|---|---|",
    ]
    for twin, stages in TWINS.items():
        for number, stage in enumerate(stages):
            found = _finished(settings, results / slug(twin) / stage_folder(number, stage))
            runs = [run.scores["adaptation"] for run in found.values()]
            if runs:
                before, after = (
                    mean_and_sd([run[f"loss_{when}"] for run in runs]).mean for when in ("before", "after")
                )
                rows.append(
                    f"| {twin} | {stage.objective} | {runs[0]['steps']} | {runs[0]['tokens']:,} | {before:.2f} | "
                    f"{after:.2f} |"
                )
    return "\n".join(rows) + "\n"


def _power(settings: Mapping[str, Any], results: Path) -> str:
    """Return the statement of power: what the observed spread and the test sentences allow to find."""
    shares = " | ".join(f"power for {effect}" for effect in EFFECTS)
    rows = [
        "**What could have been found.** Over seeds: the spread is the standard deviation of `full - causal` over "
        "seeds, pooled over the pretrainings. The detectable difference is the smallest true mean difference, "
        "in points, that a "
        "two-sided paired t-test at 5 % over these seeds finds with a probability of 80 %, on these test sentences. "
        "Over sentences: the same for one pair of labelers and other test sentences, from the width of the paired "
        "bootstrap intervals. Effects below these differences cannot be excluded.\n",
        f"| task | seeds | spread | detectable over seeds | {shares} | test sentences | detectable over sentences |",
        "|---|---|---|---|" + "---|" * len(EFFECTS) + "---|---|",
    ]
    changes = {task: _changes(settings, results, task) for task in settings["tasks"]}
    for task, by_twin in changes.items():
        if any(by_twin.values()):
            over_sentences = _over_sentences(settings, results, task)
            rows.append(f"| {task} | {_over_seeds(list(by_twin.values()))} | {over_sentences} |")
    rows.append(f"| mean of tasks and pretrainings | {_over_seeds([_mean_changes(changes)])} | | |")
    return "\n".join(rows) + "\n"


def _over_seeds(groups: list[list[float]]) -> str:
    """Return seeds, spread, detectable difference and power as cells; only the seeds if there are fewer than two."""
    seeds, sd = max(map(len, groups)), pooled_sd(groups)
    if sd is None:
        return f"{seeds} | " + " | ".join(["unknown"] * (2 + len(EFFECTS)))
    least = detectable_difference(sd, seeds)
    powers = " | ".join(f"{100 * power_of(effect, sd, seeds):.0f} %" for effect in EFFECTS)
    return f"{seeds} | {sd:.2f} | {least:.1f} | {powers}"


def _changes(settings: Mapping[str, Any], results: Path, task: str) -> dict[str, list[float]]:
    """Return full - causal by pretraining, one value per finished seed."""
    pairs = {twin: _paired(settings, results, twin, task) for twin in TWINS}
    return {twin: [full - causal for causal, full in found.values()] for twin, found in pairs.items()}


def _mean_changes(changes: Mapping[str, Mapping[str, list[float]]]) -> list[float]:
    """Return the mean of full - causal over tasks and pretrainings, for the seeds that finished all of them."""
    cells = [values for by_twin in changes.values() for twin, values in by_twin.items() if TWINS[twin]]
    # Seeds run one after the other, so the first ones are finished in every cell.
    complete = min(map(len, cells), default=0)
    return [float(np.mean([values[seed] for values in cells])) for seed in range(complete)]


def _over_sentences(settings: Mapping[str, Any], results: Path, task: str) -> str:
    """Return the number of test sentences, and the difference that one pair of labelers could have shown on them."""
    widths = [
        high - low
        for twin in TWINS
        for low, high in _sentence_intervals(settings, results / slug(twin) / task).values()
    ]
    runs = _finished(settings, results / slug(next(iter(TWINS))) / task / PLANS[0])
    number = f"{_test(next(iter(runs.values())))['num_sentences']:,}" if runs else ""
    # The bounds of the interval are 2 * 1.96 standard errors apart; a test at 5 % with a power of 80 % needs 2.80.
    least = f"{2.80 * float(np.mean(widths)) / 3.92:.1f}" if widths else "not measured"
    return f"{number} | {least}"


def sentences_file(folder: Path, seed: int) -> Path:
    """Return the file with the difference of both plans over the test sentences, for one seed."""
    return folder / f"sentences-seed-{seed}.json"


def _sentence_intervals(settings: Mapping[str, Any], folder: Path) -> dict[int, tuple[float, float]]:
    """Return the paired bootstrap interval of full - causal, in points, by seed."""
    files = {seed: sentences_file(folder, seed) for seed in settings["seeds"]}
    found = {seed: json.loads(file.read_text()) for seed, file in files.items() if file.is_file()}
    return {seed: (values["low"], values["high"]) for seed, values in found.items()}


def _paired(
    settings: Mapping[str, Any], results: Path, twin: str, task: str
) -> dict[int, tuple[float, float]]:
    """Return the scores under both plans, by seed, for the seeds finished under both."""
    causal, full = (_scores(settings, results, twin, task, plan) for plan in PLANS)
    return {seed: (causal[seed], full[seed]) for seed in causal if seed in full}


def _scores(settings: Mapping[str, Any], results: Path, twin: str, task: str, plan: str) -> dict[int, float]:
    """Return the test F1 in points, by finished seed."""
    runs = _finished(settings, results / slug(twin) / task / plan)
    return {seed: 100 * _test(run)["micro"]["f1"] for seed, run in runs.items()}


def _finished(settings: Mapping[str, Any], folder: Path) -> dict[int, Run]:
    """Return the finished runs of a folder by seed, in the order of the recipe."""
    places = {seed: folder / f"seed-{seed}" for seed in settings["seeds"]}
    return {seed: read_run(place) for seed, place in places.items() if (place / "run.json").is_file()}


def _test(run: Run) -> Mapping[str, Any]:
    """Return the scores on test data."""
    scores: Mapping[str, Any] = next(value for name, value in run.scores.items() if name.startswith("test:"))
    return scores
