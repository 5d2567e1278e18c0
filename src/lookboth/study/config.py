"""The study file: models, data sets, methods and seeds to compare, and the values to tune on dev data."""

import re
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lookboth.config import overlay
from lookboth.errors import ConfigError, did_you_mean
from lookboth.files import read_toml

Values = Mapping[str, Any]
OWN_TUNING = "tune"  # key of a model or method, next to its recipe keys
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


class TuneConfig(BaseModel):
    """The values to tune on dev data, the same for every method on every data set.

    Args:
        grid: recipe key to the list of values to try, for example {"training.lr": [5e-4, 2e-3]}.
        seeds: seeds of the tuning runs; a combination is ranked by its mean dev score over them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    grid: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)

    @field_validator("grid")
    @classmethod
    def _something_to_choose(cls, grid: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        short = [key for key, values in grid.items() if len(values) < 2]
        if short:
            raise ValueError(f"{short[0]} has fewer than two values; put it into [recipe]")
        return grid

    def choices(self, own: Mapping[str, Sequence[Any]] | None = None) -> list[dict[str, Any]]:
        """Return every combination of values; one empty combination if nothing is tuned.

        Args:
            own: values specific to a model or method; they replace `grid`.
        """
        grid = self.grid if own is None else own
        return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


class StudyConfig(BaseModel):
    """A grid of runs: model x data set x method x seed.

    Args:
        name: name of the study.
        recipe: recipe keys shared by all runs.
        models: name to recipe keys; if empty, the recipe's model is the only one. The key `tune` of a model replaces
            the shared values to try with it; it must have as many combinations as the shared ones.
        datasets: name to recipe keys.
        methods: name to recipe keys. A method that names its own model runs once, not once per model. Its key
            `tune` replaces the values to try, also those of the model; the same rule holds for their number.
        plans: number of layer groups; if set, every plan of these groups is also a method, named by its bits.
        seeds: seeds of the reported runs.
        tune: values to choose on dev data before the reported runs.
        keep_labelers: whether to keep the trained weights of every run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    recipe: dict[str, Any] = Field(default_factory=dict)
    models: dict[str, dict[str, Any]] = Field(default_factory=dict)
    datasets: dict[str, dict[str, Any]] = Field(min_length=1)
    methods: dict[str, dict[str, Any]] = Field(default_factory=dict)
    plans: int | None = Field(default=None, ge=1, le=8)
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)
    tune: TuneConfig = Field(default_factory=TuneConfig)
    keep_labelers: bool = False

    @model_validator(mode="after")
    def _names_make_folders(self) -> "StudyConfig":
        for name in [*self.models, *self.datasets, *self.methods]:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot name a folder; use letters, digits and . _ + -")
        shared = len(self.tune.choices())
        for table, entries in (("models", self.models), ("methods", self.methods)):
            for name, keys in entries.items():
                count = len(self.tune.choices(keys.get(OWN_TUNING)))
                if count != shared:
                    raise ValueError(
                        f"{table}.{name}.tune has {count} combinations, [tune] has {shared}; every model and method "
                        "gets the same number, or the comparison is not fair"
                    )
        if not self.all_methods():
            raise ValueError("nothing to compare; add [methods.NAME] tables, or plans = 4")
        return self

    def all_methods(self) -> dict[str, dict[str, Any]]:
        """Return the methods by name, including the plans of the layer groups."""
        bits = ["".join(plan) for plan in product("01", repeat=self.plans)] if self.plans else []
        return self.methods | {plan: {"plan": plan} for plan in bits if plan not in self.methods}

    def choices(self, model: str, method: str) -> list[dict[str, Any]]:
        """Return the combinations of values to try for a method with a model."""
        of_model = self.models.get(model, {}).get(OWN_TUNING)
        return self.tune.choices(self.methods.get(method, {}).get(OWN_TUNING, of_model))

    def combinations(self) -> list[tuple[str, str, str, Values]]:
        """Return (model, data set, method, recipe keys) of every setting, in the order of the file."""
        rows: list[tuple[str, str, str, Values]] = []
        for number, (model, model_keys) in enumerate((self.models or {"": {}}).items()):
            for dataset, data_keys in self.datasets.items():
                for method, method_keys in self.all_methods().items():
                    own = "model" in method_keys
                    # A method with its own model ignores `models`, so it runs for the first one only.
                    if own and number:
                        continue
                    keys = overlay(self.recipe, model_keys, data_keys, method_keys)
                    keys.pop(OWN_TUNING, None)
                    rows.append(("" if own else model, dataset, method, keys))
        return rows


def load_study(path: str | Path) -> StudyConfig:
    """Read a study file (TOML).

    Raises:
        ConfigError: not TOML, unknown keys, or invalid values; all of them in one message.
    """
    path = Path(path)
    values = read_toml(path, "no such study. The shipped ones are in the folder recipes/studies/.")
    try:
        return StudyConfig.model_validate({"name": path.stem, **values})
    except ValidationError as error:
        raise ConfigError(f"{path}: " + "\n  ".join(map(_explain, error.errors()))) from None


def _explain(detail: Any) -> str:
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        allowed = _keys(TuneConfig if key.startswith("tune.") else StudyConfig)
        hint = did_you_mean(key.rpartition(".")[2], allowed)
        return f"unknown key {key!r}.{hint} Allowed are {', '.join(allowed)}; recipe keys go into [recipe]."
    if detail["type"] in {"missing", "too_short"} and key == "datasets":
        return "no data sets; for example [datasets.ner] with data.train = 'wnut17'."
    return f"{key}: {detail['msg'].removeprefix('Value error, ')}." if key else f"{detail['ctx']['error']}."


def _keys(section: type[BaseModel]) -> Sequence[str]:
    return list(section.model_fields)
