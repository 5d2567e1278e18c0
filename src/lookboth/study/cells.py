"""The runs of a study: their recipes and folders, which are finished, and which values dev data chose."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cached_property, lru_cache
from pathlib import Path
from statistics import mean
from typing import Any

from lookboth.config import RunConfig, as_compared, nest, overlay, parse_config
from lookboth.errors import ConfigError, DataError
from lookboth.evaluation import fingerprint, read_run
from lookboth.files import read_state
from lookboth.run_folder import RunFolder
from lookboth.search import SEARCHED_KEYS
from lookboth.study.config import StudyConfig, Values
from lookboth.training import continued

# Settings listed where a pattern matches none.
_NAMES_SHOWN = 10
# Folder of the runs that only choose values. They read no test data.
TUNING = "tuning"


@dataclass(frozen=True)
class Cell:
    """One training run of a study.

    Args:
        setting: "data set/method", with the model in front if the study has several models.
        seed: random seed of the run.
        folder: output folder.
        config: recipe of the run.
        start_from: folder of a tuning run with the same training; its weights are reused if the folder
            exists.
        keep_labeler: whether to keep the trained weights in the folder.
    """

    setting: str
    seed: int
    folder: Path
    config: RunConfig
    start_from: Path | None = None
    keep_labeler: bool = False

    def __str__(self) -> str:
        return f"{self.setting}/seed-{self.seed}"

    @property
    def run_folder(self) -> RunFolder:
        """Return the run folder, which knows the names of its files."""
        return RunFolder(self.folder)

    def outcome(self) -> tuple[float, float] | None:
        """Return the headline dev score and the duration in seconds; None if the run is not finished.

        A tuning run that diverged has the score -1, below every other score.

        Raises:
            DataError: the folder holds a run of another recipe, finished or not.
        """
        folder = self.run_folder
        # run.json is written last, so its presence means that the run is finished.
        if folder.run.is_file():
            run = read_run(self.folder)
            # A search writes the plan it chose into run.json; the recipe of the cell has the requested one.
            found = SEARCHED_KEYS if self.config.method == "search" else ()
            self._require_same(run.config, ignored=found)
            _require_unchanged(self.folder, run.data)
            return float(run.scores["dev"]["headline"]), float(run.wall_seconds)
        if (end := read_state(folder.diverged, _read_end)) is not None:
            self._require_same(end[0])
            return -1.0, end[1]
        # Without weights there is nothing to resume, so any recipe may use the folder.
        if folder.training.path.exists() and folder.recipe.is_file():
            self._require_same(read_state(folder.recipe, dict) or {})
        return None

    def _require_same(self, config: Mapping[str, Any], ignored: Sequence[str] = ()) -> None:
        stored, wanted = as_compared(config), as_compared(self.config.to_dict())
        keys = ", ".join(_differences(stored | {key: wanted[key] for key in ignored}, wanted))
        if keys:
            raise DataError(
                f"{self.folder}: holds a run of another recipe (it differs in {keys}). "
                "Give another --out, or move that folder away."
            )


@dataclass(frozen=True)
class Setting:
    """One method on one data set with one model: its tuning runs and its reported runs.

    Args:
        name: same as `Cell.setting`.
        keys: recipe keys of the setting.
        study: position of the setting in the study, as written to run.json.
        folder: folder of the reported runs, with one subfolder per seed; tuning: folder of the tuning runs.
        choices: combinations of values to try, each with every seed of `tune_seeds`.
        keep_labelers: whether to keep the trained weights of reported runs.
    """

    name: str
    keys: Values
    study: Mapping[str, str]
    folder: Path
    tuning: Path
    choices: Sequence[Mapping[str, Any]] = field(default=({},))
    tune_seeds: Sequence[int] = (0,)
    keep_labelers: bool = False

    @cached_property
    def tuning_cells(self) -> list[Cell]:
        """Return the runs that choose values; empty if nothing is tuned."""
        return [cell for choice in self.choices if choice for cell in self._trials(choice)]

    def chosen(self, scores: Mapping[str, float]) -> Mapping[str, Any] | None:
        """Return the values with the best mean dev score; None while a tuning run is missing.

        Ties go to the combination that comes first in the study file.

        Args:
            scores: dev scores of finished runs, by run name.
        """
        if len(self.choices) == 1:
            return self.choices[0]
        means = []
        for choice in self.choices:
            names = [str(cell) for cell in self._trials(choice)]
            if any(name not in scores for name in names):
                return None
            means.append(mean(scores[name] for name in names))
        return self.choices[means.index(max(means))]

    def final_cell(self, seed: int, choice: Mapping[str, Any]) -> Cell:
        """Return the reported run with this seed and these values."""
        study = dict(self.study)
        if choice:
            study["tuned"] = _slug(choice)
        keys = overlay(self.keys, nest(choice), {"study": study, "training": {"seeds": [seed]}})
        twin = self._trial_folder(choice, seed) if choice and seed in self.tune_seeds else None
        folder = RunFolder.of_seed(self.folder, seed).path
        return Cell(self.name, seed, folder, self._parse(keys), twin, self.keep_labelers)

    def _trials(self, choice: Mapping[str, Any]) -> Iterator[Cell]:
        for seed in self.tune_seeds:
            study = {**self.study, "stage": TUNING}
            own = {"study": study, "training": {"seeds": [seed]}, "data": {"test": []}}
            keys = overlay(self.keys, nest(choice), own)
            name = f"{TUNING}/{self.name}/{_slug(choice)}"
            yield Cell(name, seed, self._trial_folder(choice, seed), self._parse(keys))

    def _trial_folder(self, choice: Mapping[str, Any], seed: int) -> Path:
        return RunFolder.of_seed(self.tuning / _slug(choice), seed).path

    def _parse(self, keys: Values) -> RunConfig:
        return continued(parse_config(keys, where=self.name))


def study_settings(study: StudyConfig, out: Path, *, only: str = "*") -> list[Setting]:
    """Return the settings whose name matches one of the comma-separated patterns in `only`, all validated.

    Raises:
        ConfigError: a recipe key is unknown or has an invalid value, or a pattern in `only` matches nothing.
    """
    settings, patterns = [], [pattern.strip() for pattern in only.split(",")]
    _require_matches(study, patterns)
    for model, dataset, method, keys in study.combinations():
        name = _name_of(model, dataset, method)
        if not any(fnmatch(name, pattern) for pattern in patterns):
            continue
        place = {"name": study.name, "data": dataset, "method": method} | ({"model": model} if model else {})
        setting = Setting(
            name,
            keys,
            place,
            folder=out / name,
            tuning=out / TUNING / name,
            choices=_that_matter(study.choices(model, method), keys),
            tune_seeds=study.tune.seeds,
            keep_labelers=study.keep_labelers,
        )
        for choice in setting.choices:
            # Parse every recipe now, so that mistakes are reported before the first run.
            setting.final_cell(study.seeds[0], choice)
        settings.append(setting)
    return settings


def _that_matter(choices: Sequence[Values], keys: Values) -> list[Values]:
    """Return the distinct choices, without keys that a method without training ignores."""
    if keys.get("method") != "icl":
        return list(choices)
    kept = [
        {key: value for key, value in choice.items() if not key.startswith(("training.", "adapter."))}
        for choice in choices
    ]
    return [choice for number, choice in enumerate(kept) if choice not in kept[:number]]


def _read_end(stored: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
    return dict(stored["config"]), float(stored["seconds"])


def _require_unchanged(folder: Path, data: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse the results of a run whose data files have changed since; files that are not here are not compared."""
    for role, stored in data.items():
        path = Path(stored["path"])
        if path.is_file() and _digest(path, path.stat().st_mtime_ns) != stored["sha256"]:
            raise DataError(
                f"{folder}: holds a run on other data ({role}: {path} has changed since). Give another --out, or move "
                "that folder away."
            )


@lru_cache(maxsize=256)
def _digest(path: Path, changed: int) -> str:
    """Return the hash of a file; kept, because the runs of a study share their data."""
    return str(fingerprint(path)["sha256"])


def _require_matches(study: StudyConfig, patterns: Sequence[str]) -> None:
    """Refuse a pattern of --only that matches no setting, probably because of a typing error."""
    names = [_name_of(*found[:3]) for found in study.combinations()]
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in names):
            shown = ", ".join(names[:_NAMES_SHOWN])
            more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
            raise ConfigError(f"--only {pattern!r}: matches none of the settings: {shown}{more}.")


def _name_of(model: str, dataset: str, method: str) -> str:
    return "/".join(filter(None, (model, dataset, method)))


def _slug(choice: Mapping[str, Any]) -> str:
    return ",".join(f"{key.rpartition('.')[2]}={value}" for key, value in choice.items())


def _differences(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> list[str]:
    keys = []
    for key in dict.fromkeys([*one, *other]):
        left, right = one.get(key), other.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            keys += _differences(left, right, f"{prefix}{key}.")
        elif left != right:
            keys.append(prefix + key)
    return keys
