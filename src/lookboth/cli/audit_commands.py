"""The command that finds errors in labeled data: audit."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookboth.cli.app import Format, app
from lookboth.cli.labeling_commands import print_pieces
from lookboth.cli.reading_options import RepairOption
from lookboth.cli.training_commands import DataOption, ModelOption, SettingsOption, Source, read_recipe
from lookboth.errors import ConfigError
from lookboth.progress import progress_to
from lookboth.quiet import quiet_libraries

if TYPE_CHECKING:
    from lookboth.audit import Audit
    from lookboth.config import RunConfig

# The upper quarter of the layers is trained, so that five folds cost about one ordinary training of all layers.
_UPPER_QUARTER = "0001"


@app.command()
def audit(
    source: Source = None,
    data: DataOption = None,
    model: ModelOption = None,
    plan: Annotated[str | None, typer.Option(help="Mask plan: causal, full, 0011, top:8 ...")] = None,
    folds: Annotated[
        int, typer.Option(min=2, help="Number of trainings; each judges the sentences left out of it.")
    ] = 5,
    labeler: Annotated[
        str | None,
        typer.Option(help="Saved labeler that judges instead; it must not have been trained on these data."),
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Number of findings to print.")] = 20,
    output: Annotated[
        Format,
        typer.Option(
            "--format", "-f", help="Printed: text, jsonl, or for a tool: doccano, label-studio, prodigy."
        ),
    ] = Format.text,
    out: Annotated[Path, typer.Option(help="Folder for folds, findings and page.")] = Path("runs/audit"),
    apply: Annotated[
        Path | None,
        typer.Option(help="Decisions downloaded from the page: write the corrected data into --out."),
    ] = None,
    learning_curve: Annotated[
        bool,
        typer.Option("--learning-curve", help="Measure F1 with parts of the data instead, and extrapolate."),
    ] = False,
    settings: SettingsOption = None,
    repair: RepairOption = False,
) -> None:
    """Find probable errors in the labels of a data set, and apply decisions about them."""
    if output in (Format.conll, Format.html, Format.brat):
        raise ConfigError(f"--format {output}: allowed are text, jsonl, doccano, label-studio and prodigy.")
    if apply is not None:
        _apply(apply, out, [source, data, model, plan, labeler, *(settings or [])])
        return
    quiet_libraries()
    from lookboth.audit import audit_data

    config = _audited_recipe(source, data, model, plan, repair, settings or [])
    if learning_curve:
        _measure_curve(config, out, folds, labeler)
        return
    with progress_to(lambda line: typer.echo(line, err=True)):
        result = audit_data(config, out, num_folds=folds, labeler=labeler)
    _write(result, out)
    _print(result, output, count)
    typer.echo(f"{result.describe()}\npage: {out / 'review.html'}", err=True)


def _apply(decisions: Path, out: Path, others: list[str | None]) -> None:
    from lookboth.audit import apply_decisions

    if any(others):
        raise ConfigError("--apply reads the data that the decisions name. Type: lookboth audit --apply FILE")
    with progress_to(lambda line: typer.echo(line, err=True)):
        typer.echo(apply_decisions(decisions, out).describe())


def _measure_curve(config: "RunConfig", out: Path, folds: int, labeler: str | None) -> None:
    from lookboth.audit import measure_learning_curve
    from lookboth.files import write_json

    if labeler is not None:
        raise ConfigError("--learning-curve trains labelers of its own. Leave out --labeler.")
    with progress_to(lambda line: typer.echo(line, err=True)):
        curve = measure_learning_curve(config, out, num_folds=folds)
    write_json(out / "learning_curve.json", curve.to_dict())
    typer.echo(curve.describe())


def _audited_recipe(
    source: str | None,
    data: str | None,
    model: str | None,
    plan: str | None,
    repair: bool,
    settings: list[str],
) -> "RunConfig":
    """Return the recipe; without a recipe file, the upper quarter of the layers is trained."""
    given: dict[str, Any] = {"model": model, "plan": plan, "data.train": data, "data.repair": repair}
    if not (source or "").endswith(".toml"):
        if not any(setting.startswith("adapter.") for setting in settings):
            given["adapter.layers"] = _UPPER_QUARTER
        # The plan of another model is not known to be of use, and encoders attend to both sides already.
        if model is None and not any(setting.startswith("model") for setting in settings):
            given["plan"] = plan or _UPPER_QUARTER
    return read_recipe("audit", source, given, settings)


def _write(result: "Audit", out: Path) -> None:
    from lookboth.audit import render_lines
    from lookboth.inference import write_pieces
    from lookboth.reporting import write_review_page

    write_pieces(render_lines(result.findings), out / "findings.jsonl")
    write_review_page(result, out / "review.html")


def _print(result: "Audit", output: Format, count: int) -> None:
    from lookboth.audit import render_lines, render_table, suggested_predictions
    from lookboth.inference import render

    if output is Format.text:
        print_pieces(render_table(result.findings[:count]))
    elif output is Format.jsonl:
        print_pieces(render_lines(result.findings))
    else:
        print_pieces(render(suggested_predictions(result), output.value))
