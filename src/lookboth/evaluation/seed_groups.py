"""Groups of runs that differ only in their seed, found below a folder and averaged."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookboth.config import as_compared
from lookboth.errors import DataError
from lookboth.evaluation.runfile import Run, read_run
from lookboth.evaluation.seeds import MeanAndSd, mean_and_sd
from lookboth.run_folder import RunFolder

# Settings that may differ between two seeds of one setting: the seed itself and the output folder.
SEED_KEYS = frozenset({"seed", "seeds", "output", "output_dir", "output_folder", "run_folder"})


@dataclass(frozen=True, slots=True)
class SeedGroup:
    """Runs that differ only in their seed.

    Args:
        config: the configuration without the keys of `SEED_KEYS`.
        plan: the mask plan, or None.
        seeds: the seeds, sorted.
        scores: mean and standard deviation of every number that all runs have, by dotted name
            ("test.micro.f1").
        runs: one run per seed, in the order of `seeds`.
    """

    config: Mapping[str, Any]
    plan: str | None
    seeds: tuple[int | None, ...]
    scores: Mapping[str, MeanAndSd]
    runs: tuple[Run, ...] = ()


def collect_runs(folder: str | Path) -> list[Run]:
    """Return every run below a folder, sorted by path.

    Args:
        folder: searched to any depth for run.json.

    Raises:
        DataError: the folder is missing, or one of its runs cannot be read.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; name the folder that holds the run folders.")
    return [read_run(folder.path) for folder in RunFolder.below(root)]


def seed_table(runs: Iterable[Run]) -> list[SeedGroup]:
    """Group runs that differ only in their seed and average their scores.

    Runs belong to one group if configuration (without `SEED_KEYS`, at any depth), plan and data agree. The plan of a
    plan search is its result, so it is not compared.

    Args:
        runs: for example from `collect_runs`.

    Raises:
        DataError: two runs of a group have the same seed.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        hashes = {role: entry.get("sha256") for role, entry in run.data.items()}
        key = json.dumps(
            [as_compared(_setting(run)), None if _is_search(run) else run.plan, hashes], sort_keys=True
        )
        groups.setdefault(key, []).append(run)
    return [_average(group) for group in groups.values()]


def _average(runs: list[Run]) -> SeedGroup:
    by_seed: dict[int | None, Run] = {}
    for run in runs:
        twin = by_seed.setdefault(run.seed, run)
        if twin is not run:
            raise DataError(
                f"{twin.folder} and {run.folder} have the same setting and the same seed {run.seed}; "
                "a mean over seeds counts each seed once. Move one of the two folders away."
            )
    seeds = tuple(sorted(by_seed, key=lambda seed: (seed is not None, seed)))
    flat = [_flatten(run.scores) for run in runs]
    shared = [name for name in flat[0] if all(name in other for other in flat)]
    return SeedGroup(
        config=_setting(runs[0]),
        plan=runs[0].plan if len({run.plan for run in runs}) == 1 else None,
        seeds=seeds,
        scores={name: mean_and_sd([scores[name] for scores in flat]) for name in shared},
        runs=tuple(by_seed[seed] for seed in seeds),
    )


def _flatten(scores: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return every number in nested scores by its dotted name."""
    flat: dict[str, float] = {}
    for name, value in scores.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            flat[f"{prefix}{name}"] = value
    return flat


def _setting(run: Run) -> dict[str, Any]:
    setting: dict[str, Any] = _without_seed(run.config)
    return {**setting, "plan": None} if _is_search(run) else setting


def _is_search(run: Run) -> bool:
    return run.config.get("method") == "search"


def _without_seed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_seed(inner) for key, inner in value.items() if key not in SEED_KEYS}
    return value
