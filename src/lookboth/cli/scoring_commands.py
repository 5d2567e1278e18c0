"""Commands that compare a labeler with labeled data: evaluate, calibrate."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookboth.cli.app import (
    DemonstrationsOption,
    DeviceOption,
    LabelerOption,
    LabelsOption,
    PrecisionOption,
    ThresholdsOption,
    app,
)
from lookboth.cli.reading_options import reads_labeled_data
from lookboth.errors import ConfigError
from lookboth.quiet import quiet_libraries

if TYPE_CHECKING:
    from lookboth.data import ReadOptions

MapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        help="Rename gold labels: OLD=NEW; OLD= drops the label; * matches all other labels. May be repeated.",
    ),
]


@app.command()
@reads_labeled_data
def evaluate(
    data: Annotated[
        str, typer.Argument(help="File, folder, built-in name or hub id; 'name:split' for a split.")
    ],
    model: LabelerOption = None,
    labels: LabelsOption = None,
    demonstrations: DemonstrationsOption = None,
    out: Annotated[Path | None, typer.Option(help="Folder for run.json and predictions.jsonl.")] = None,
    label_map: MapOption = None,
    annotated: Annotated[
        list[str] | None,
        typer.Option(
            help="Label that the data annotate, if they do not annotate all of the labeler; may be repeated. Others "
            "that it finds are not counted."
        ),
    ] = None,
    reading: "ReadOptions | None" = None,
    thresholds: ThresholdsOption = False,
    device: DeviceOption = None,
    precision: PrecisionOption = "auto",
) -> None:
    """Score a labeler on labeled data; every word is counted."""
    from lookboth.evaluation import evaluate_on

    quiet_libraries()
    evaluation = evaluate_on(
        data,
        model,
        out=out,
        label_map=_pairs(label_map or []),
        options=reading,
        thresholds=thresholds,
        device=device,
        precision=precision,
        labels=labels,
        demonstrations=demonstrations,
        annotated=annotated or None,
    )
    typer.echo(evaluation.describe())
    typer.echo(evaluation.describe_confidence())


@app.command()
@reads_labeled_data
def calibrate(
    model: Annotated[Path, typer.Argument(help="Folder of a saved labeler; its config.json is updated.")],
    data: Annotated[str, typer.Argument(help="Labeled data not used in training; default split: dev.")],
    precision: Annotated[
        float | None,
        typer.Option(help="Also choose for each label the threshold that reaches this precision."),
    ] = None,
    coverage: Annotated[
        float | None,
        typer.Option(help="Also predict sets of tags that contain the correct tag with this probability."),
    ] = None,
    label_map: MapOption = None,
    reading: "ReadOptions | None" = None,
    device: DeviceOption = None,
) -> None:
    """Calibrate a labeler, so that its scores are probabilities of being correct."""
    from lookboth.evaluation import calibrate_folder

    quiet_libraries()
    result = calibrate_folder(
        model,
        data,
        precision=precision,
        coverage=coverage,
        label_map=_pairs(label_map or []),
        options=reading,
        device=device,
    )
    typer.echo(result.describe())


def _pairs(items: list[str]) -> dict[str, str]:
    pairs = {}
    for item in items:
        old, sign, new = item.partition("=")
        if not sign or not old:
            raise ConfigError(f"--map {item!r}: expected OLD=NEW. For example, --map MISC= drops MISC.")
        pairs[old] = new
    return pairs
