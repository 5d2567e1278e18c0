"""Results of each method on each data set, read from run folders, with baselines and dev choices."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from lookboth.errors import ConfigError, DataError
from lookboth.evaluation import MeanAndSd, Run, SeedGroup, collect_runs, mean_and_sd, seed_table
from lookboth.reporting.naming import data_name, data_settings, differences, is_bits, method_name, model_name
from lookboth.study import TUNING

Seed: TypeAlias = int | None
DEV, TEST = "dev", "test"
# Marks the method chosen on dev data.
CHOSEN = "†"


# Compared by identity, so that results can be keys of mappings.
@dataclass(frozen=True, eq=False)
class Result:
    """The scores of one method on one data set, by seed.

    Args:
        model, method: their names.
        group: the runs, one per seed.
        test: name of the test scores in run.json ("test:wnut17"); None if only dev was scored.
    """

    model: str
    method: str
    group: SeedGroup
    test: str | None

    @cached_property
    def dev(self) -> dict[Seed, float]:
        """Return the dev scores by seed."""
        return self._scores(DEV)

    @cached_property
    def tests(self) -> dict[Seed, float]:
        """Return the test scores by seed."""
        return self._scores(self.test) if self.test else {}

    @property
    def dev_mean(self) -> MeanAndSd | None:
        """Return mean and sd of the dev scores; None without dev scores."""
        return mean_and_sd(list(self.dev.values())) if self.dev else None

    @property
    def test_mean(self) -> MeanAndSd | None:
        """Return mean and sd of the test scores; None without test scores."""
        return mean_and_sd(list(self.tests.values())) if self.tests else None

    @property
    def runs(self) -> dict[Seed, Run]:
        """Return the runs by seed."""
        return dict(zip(self.group.seeds, self.group.runs, strict=True))

    @property
    def plan(self) -> str | None:
        """Return the mask plan as written in the recipe."""
        return self.group.config.get("plan") or self.group.plan

    def _scores(self, name: str) -> dict[Seed, float]:
        found = {seed: _headline(run.scores.get(name)) for seed, run in self.runs.items()}
        return {seed: score for seed, score in found.items() if score is not None}


# Compared by identity, so that they can be keys of mappings.
@dataclass(frozen=True, eq=False)
class DataResults:
    """The results of all methods on one data set with one of its test sets.

    Args:
        name: name of the data set.
        metric: name of the metric.
        results: results in table order: models with a baseline first; within a model the baseline, then plans by their
            bits, then other methods by name.
        wanted_baseline: method to compare with; None: the causal one.
    """

    name: str
    metric: str
    results: tuple[Result, ...]
    wanted_baseline: str | None = None

    @cached_property
    def baselines(self) -> dict[str, Result]:
        """Return the baseline of each model that has one."""
        by_model = {model: self._baseline(of_model) for model, of_model in self.by_model().items()}
        return {model: result for model, result in by_model.items() if result is not None}

    @cached_property
    def chosen(self) -> dict[str, Result]:
        """Return the result with the best mean dev score, for each model with more than one method."""
        best = {model: best_on_dev(r) for model, r in self.by_model().items() if len(r) > 1}
        return {model: result for model, result in best.items() if result is not None}

    def by_model(self) -> dict[str, list[Result]]:
        """Return the results grouped by model."""
        models: dict[str, list[Result]] = {}
        for result in self.results:
            models.setdefault(result.model, []).append(result)
        return models

    def baseline_of(self, result: Result) -> Result | None:
        """Return the baseline of a result's model, or the only baseline if there is just one."""
        only = next(iter(self.baselines.values())) if len(self.baselines) == 1 else None
        baseline = self.baselines.get(result.model, only)
        return None if baseline is result else baseline

    def is_chosen(self, result: Result) -> bool:
        """Return whether this result has the best mean dev score of its model."""
        return self.chosen.get(result.model) is result

    def label(self, result: Result) -> str:
        """Return the label of a result in plots: its method, with the model if ambiguous, and the dev choice mark."""
        twins = [other for other in self.results if other.method == result.method]
        name = result.method if len(twins) == 1 else f"{result.model} {result.method}"
        return f"{name} {CHOSEN}" if self.is_chosen(result) else name

    def featured(self, limit: int = 6) -> list[Result]:
        """Return the results shown in detail: baselines and dev choices, then the best on dev."""
        first = [r for r in self.results if r in self.baselines.values() or self.is_chosen(r)]
        rest = [r for r in self.results if r not in first]
        rest.sort(key=lambda r: -(r.dev_mean or MeanAndSd(0.0, None)).mean)
        return (first + rest)[:limit]

    def _baseline(self, results: Sequence[Result]) -> Result | None:
        if self.wanted_baseline is not None:
            return next((r for r in results if r.method == self.wanted_baseline), None)
        exact = (r for r in results if r.method == "causal" or (is_bits(r.method) and "1" not in r.method))
        alike = [r for r in results if r.method.startswith("causal")]
        return next(exact, None) or best_on_dev(alike) or next(iter(alike), None)


@dataclass(frozen=True)
class Collection:
    """All results below a folder.

    Args:
        data: results per data set and test set.
        num_runs: number of reported runs.
        num_tuning: number of runs that only tuned values on dev data.
    """

    data: tuple[DataResults, ...]
    num_runs: int
    num_tuning: int


def read_results(folder: str | Path, *, baseline: str | None = None) -> Collection:
    """Read every run below a folder, grouped by data set, model, method and seed.

    Names come from the study of a run. Without a study, they consist of its data, model and plan, and of the recipe
    keys in which it differs from others with the same plan.

    Args:
        folder: folder, searched to any depth.
        baseline: method to compare with; default: the causal one.

    Raises:
        DataError: there are no runs, a run is broken, or two settings have the same name.
        ConfigError: there is no method `baseline`.
    """
    runs = collect_runs(folder)
    # Runs of the tuning stage only chose values on dev; their scores are not results.
    reported = [run for run in runs if (run.config.get("study") or {}).get("stage") != TUNING]
    if not reported:
        raise DataError(
            f"{folder}: the folder contains no finished runs; `lookboth train` and `lookboth study` write them."
        )
    groups = seed_table(reported)
    names = [data_name(group.config) for group in groups]
    added = differences(names, [data_settings(group.config) for group in groups])
    columns = [f"{name} ({only})" if only else name for name, only in zip(names, added, strict=True)]
    data: list[DataResults] = []
    for column in dict.fromkeys(columns):
        members = [group for group, name in zip(groups, columns, strict=True) if name == column]
        data += _of_column(column, members, baseline)
    known = dict.fromkeys(r.method for d in data for r in d.results)
    if baseline is not None and baseline not in known:
        raise ConfigError(f"there is no method {baseline!r}; the methods are {', '.join(known)}.")
    return Collection(tuple(data), len(reported), len(runs) - len(reported))


def best_on_dev(results: Iterable[Result]) -> Result | None:
    """Return the result with the best mean dev score, the first if equal; None without dev scores."""
    scored = [(result, result.dev_mean.mean) for result in results if result.dev_mean is not None]
    return max(scored, key=lambda pair: pair[1])[0] if scored else None


def _of_column(name: str, groups: Sequence[SeedGroup], baseline: str | None) -> list[DataResults]:
    """Return the results of one data set, one entry per test set."""
    tests: dict[str | None, list[SeedGroup]] = {}
    for group in groups:
        for test in _tests(group):
            tests.setdefault(test, []).append(group)
    found = []
    for test, members in tests.items():
        title = name if len(tests) == 1 else f"{name} → {test.removeprefix('test:') if test else 'no test'}"
        found.append(_with_names(title, test, members, baseline))
    return found


def _with_names(
    name: str, test: str | None, groups: Sequence[SeedGroup], baseline: str | None
) -> DataResults:
    own = [(model_name(group.config), method_name(group.config, group.plan)) for group in groups]
    added = differences(own, [group.config for group in groups])
    results: dict[tuple[str, str], Result] = {}
    for (model, plain), only, group in zip(own, added, groups, strict=True):
        method = f"{plain}, {only}" if only else plain
        twin = results.setdefault((model, method), Result(model, method, group, test))
        if twin.group is not group:
            raise DataError(
                f"{twin.group.runs[0].folder} and {group.runs[0].folder} have the same setting but different data "
                "files, so they cannot be averaged. Report them separately, or move one of them to another folder."
            )
    unsorted = DataResults(name, _metric(groups, test), tuple(results.values()), baseline)

    def place(result: Result) -> tuple[bool, str, bool, bool, str]:
        baseline = unsorted.baselines.get(result.model)
        return (
            baseline is None,
            result.model,
            result is not baseline,
            not is_bits(result.method),
            result.method,
        )

    order = sorted(unsorted.results, key=place)
    return DataResults(name, unsorted.metric, tuple(order), baseline)


def _tests(group: SeedGroup) -> list[str | None]:
    """Return the names of the test scores that all runs of a group have; [None] if there are none."""
    first, *others = [dict(run.scores) for run in group.runs]
    names: list[str | None] = [
        name
        for name, scores in first.items()
        if name != DEV and _headline(scores) is not None and all(name in other for other in others)
    ]
    return names or [None]


def _metric(groups: Iterable[SeedGroup], test: str | None) -> str:
    """Return the name of the headline metric of these runs."""
    scores = next(iter(groups)).runs[0].scores.get(test or DEV, {})
    if scores.get("scheme") == "plain":
        return "token accuracy"
    return "accuracy" if "accuracy" in scores and scores.get("scheme") != "multi-label" else "micro F1"


def _headline(scores: Any) -> float | None:
    """Return the headline score; in older run.json files, which lack the key, it is derived from the others."""
    if not isinstance(scores, Mapping) or "micro" not in scores:
        return None
    plain = scores.get("token_accuracy") if scores.get("scheme") == "plain" else None
    value = scores.get("headline", plain if plain is not None else scores["micro"].get("f1"))
    return None if value is None else float(value)
