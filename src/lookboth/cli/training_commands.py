"""Commands that train (train, adapt, distill, search, study), and report, which reads their run folders."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookboth.cli.app import TaskName, app
from lookboth.cli.reading_options import RepairOption
from lookboth.errors import ConfigError
from lookboth.progress import progress_to
from lookboth.quiet import quiet_libraries
from lookboth.training import ProcessGroup, leave_process_group

if TYPE_CHECKING:
    from lookboth.config import RunConfig


Source = Annotated[
    str | None, typer.Argument(metavar="RECIPE|DATA", help="Recipe file (TOML), or the data to train on.")
]
DataOption = Annotated[
    str | None, typer.Option("--data", help="File, folder, built-in name or hub id to train on.")
]
ModelOption = Annotated[
    str | None, typer.Option("--model", help="Decoder or encoder: hub id, folder, or built-in name.")
]
SettingsOption = Annotated[
    list[str] | None, typer.Option("--set", help="Any recipe key, as key=value; may be repeated.")
]


@app.command()
def train(
    source: Source = None,
    data: DataOption = None,
    model: ModelOption = None,
    plan: Annotated[str | None, typer.Option(help="Mask plan: causal, full, 0011, top:8 ...")] = None,
    task: Annotated[
        TaskName | None,
        typer.Option(help="What is labeled: words (labeling) or whole texts (classification)."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(help="Saved labeler to train further: its settings, weights and labels are kept."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the run.")] = Path("runs/train"),
    settings: SettingsOption = None,
    repair: RepairOption = False,
    estimate: Annotated[
        bool,
        typer.Option(help="Only estimate the memory, from the model's configuration; no weights are loaded."),
    ] = False,
) -> None:
    """Train a labeler from a recipe, from options, or from a recipe changed by options."""
    # Before the libraries are imported.
    quiet_libraries()
    given = {
        "model": model,
        "plan": plan,
        "task": task,
        "data.train": data,
        "data.repair": repair,
        "start.labeler": start,
    }
    config = read_recipe("train", source, given, settings or [])
    if estimate:
        from lookboth.training import estimate as estimate_memory

        typer.echo(estimate_memory(config).describe())
        return
    _train(config, out)


@app.command()
def adapt(
    recipe: Annotated[Path, typer.Argument(help="Recipe file (TOML) with a section [adaptation].")],
    out: Annotated[Path, typer.Option(help="Folder for the adapter.")] = Path("runs/adapt"),
    settings: SettingsOption = None,
) -> None:
    """Train only the adapter of a recipe on its raw text; for adapter.start_from of other recipes."""
    from lookboth.config import load_recipe
    from lookboth.training import adapt as run_adaptation

    config = load_recipe(recipe, settings or [])
    quiet_libraries()
    with progress_to(typer.echo):
        run_adaptation(config, out)
    _echo(f"{'model' if config.adapter.kind == 'full' else 'adapter'}: {out}")
    leave_process_group()


@app.command()
def distill(
    teachers: Annotated[
        list[str],
        typer.Argument(
            metavar="TEACHER...", help="Saved labelers: folder, hub id, 'shipped', 'fast' or 'turbo'."
        ),
    ],
    texts: Annotated[
        list[str] | None,
        typer.Option("--texts", help="Text to learn from, read without labels; may be repeated."),
    ] = None,
    data: DataOption = None,
    model: ModelOption = None,
    plan: Annotated[str | None, typer.Option(help="Mask plan of the student: causal, full, 0011 ...")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the run.")] = Path("runs/distill"),
    settings: SettingsOption = None,
    repair: RepairOption = False,
) -> None:
    """Train a smaller labeler on the tag probabilities of saved ones, on text and on labeled data."""
    quiet_libraries()
    from lookboth.config import parse_config
    from lookboth.training import describe_teacher

    given = {
        **describe_teacher(teachers[0]),
        "distill.teachers": teachers,
        "distill.texts": texts,
        "data.train": data,
        "model": model,
        "plan": plan,
        "data.repair": repair,
    }
    config = parse_config({}, [*_overrides(given), *(settings or [])], where="options")
    _train(config, out)


@app.command()
def search(
    source: Source = None,
    data: DataOption = None,
    model: ModelOption = None,
    strategy: Annotated[str | None, typer.Option(help="halving, shared, layers, gates or predictor.")] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            help="Maximum cost of halving, in units of one ordinary training, including the final one."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the run.")] = Path("runs/search"),
    settings: SettingsOption = None,
    repair: RepairOption = False,
) -> None:
    """Search the best mask plan on dev data, report the evidence, and train a labeler under it."""
    from lookboth.training import train as run_training

    given: dict[str, Any] = {
        "method": "search",
        "model": model,
        "data.train": data,
        "data.repair": repair,
        "search.strategy": strategy,
        "search.budget": budget,
    }
    config = read_recipe("search", source, given, settings or [])
    quiet_libraries()
    with progress_to(typer.echo):
        runs = run_training(config, out)
    for run in runs:
        typer.echo(f"labeler: {run.folder / 'labeler'}; evidence: {run.folder / 'search.json'}")


@app.command()
def study(
    file: Annotated[Path, typer.Argument(help="Study file (TOML).")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the runs. Default: runs/NAME, with the name of the study.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of parallel runs. Default: by cores and memory.")
    ] = None,
    only: Annotated[
        str, typer.Option(help="Patterns of the settings to run, for example 'ner/*,*/full'.")
    ] = "*",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the runs.")] = False,
) -> None:
    """Run a grid of trainings that can be stopped and resumed: methods, plans, data sets, seeds."""
    from lookboth.study import describe_study, load_study, run_study

    config = load_study(file)
    folder = out or Path("runs") / config.name
    if dry_run:
        typer.echo(describe_study(config, folder, only=only))
        return
    with progress_to(typer.echo):
        state = run_study(config, folder, workers=workers, only=only)
    for name, error in state.failed.items():
        typer.echo(f"{name} failed: {error}", err=True)
    if state.failed:
        raise typer.Exit(1)
    typer.echo(f"{len(state.scores)} runs are done. Next: lookboth report {folder}")


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder that contains run folders, at any depth.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the report. Default: FOLDER/report.")] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Method to compare with. Default: the causal baseline.")
    ] = None,
) -> None:
    """Write tables, plots and an error page for all runs in a folder."""
    from lookboth.reporting import write_report

    typer.echo(f"report: {write_report(folder, out, baseline=baseline) / 'index.html'}")


def _train(config: "RunConfig", out: Path) -> None:
    """Train and name the folders of the labelers."""
    from lookboth.compat import import_training

    import_training()
    from lookboth.training import train as run_training

    with progress_to(typer.echo):
        runs = run_training(config, out)
    for run in runs:
        _echo(f"labeler: {run.folder / 'labeler'}")
    leave_process_group()


def _echo(line: str) -> None:
    """Print a line from rank 0 only, if several processes train together."""
    if ProcessGroup.current().is_rank_zero:
        typer.echo(line)


def read_recipe(
    command: str, source: str | None, given: dict[str, Any], settings: Sequence[str]
) -> "RunConfig":
    """Return the recipe, changed first by the given options, then by --set.

    Args:
        command: for the error message.
        source: a recipe if it ends in .toml, otherwise the training data.
        given: recipe keys with their values; empty values are ignored.
        settings: values of --set.
    """
    from lookboth.config import load_recipe, parse_config

    recipe = Path(source) if source and source.endswith(".toml") else None
    if source and recipe is None:
        if given["data.train"]:
            raise ConfigError(
                f"two sources of training data: {source} and --data {given['data.train']}. Remove one of them."
            )
        given = {**given, "data.train": source}
    if recipe is None and not given["data.train"]:
        raise ConfigError(
            f"nothing to train on. Type: lookboth {command} RECIPE.toml, or lookboth {command} --data FOLDER"
        )
    overrides = [*_overrides(given), *settings]
    return load_recipe(recipe, overrides) if recipe else parse_config({}, overrides, where="options")


def _overrides(given: Mapping[str, Any]) -> list[str]:
    """Return recipe keys with their values as in --set; empty values are left out."""
    # JSON strings are valid TOML strings, with any quotes and backslashes.
    return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in given.items() if value]
