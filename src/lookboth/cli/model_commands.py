"""Commands about models: inspect, prove, merge, fix-labels, export, and the demo."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookboth.cli.app import (
    DemonstrationsOption,
    LabelsOption,
    ModelArgument,
    PlanOption,
    PrecisionOption,
    TrustOption,
    app,
)
from lookboth.cli.reading_options import reads_labeled_data
from lookboth.quiet import quiet_libraries

if TYPE_CHECKING:
    from lookboth.data import ReadOptions


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the runs.")] = Path("runs/demo"),
    quick: Annotated[bool, typer.Option("--quick", help="Only label; do not train.")] = False,
) -> None:
    """Label real text with the shipped labeler, score it, and compare causal with bidirectional training."""
    from lookboth.demo import run_demo

    run_demo(out, train=not quick)


@app.command()
def inspect(
    model: ModelArgument,
    plan: PlanOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Show the layers of a model under a mask plan, without loading weights."""
    from lookboth.labelers import inspect_model

    typer.echo(inspect_model(model, plan, trust_remote_code=trust_remote_code))


@app.command()
def prove(
    model: ModelArgument,
    plan: PlanOption = None,
    attn_implementation: Annotated[
        str | None, typer.Option("--backend", help="Attention backend: sdpa, eager, flex_attention ...")
    ] = None,
    length: Annotated[int, typer.Option(min=4, help="Number of tokens in the probe text.")] = 12,
    random_weights: Annotated[
        bool,
        typer.Option(
            "--random-weights", help="Use random weights; only the configuration of the model is needed."
        ),
    ] = False,
    trust_remote_code: TrustOption = False,
) -> None:
    """Measure which positions each layer attends to, and compare them with the plan."""
    from lookboth.labelers import prove_model

    proof = prove_model(
        model,
        plan,
        attn_implementation=attn_implementation,
        length=length,
        random_weights=random_weights,
        trust_remote_code=trust_remote_code,
    )
    typer.echo(proof.describe())
    if not proof.ok:
        raise typer.Exit(1)


@app.command()
def merge(
    labeler: Annotated[str, typer.Argument(help="Saved labeler: folder or hub id.")],
    out: Annotated[Path, typer.Argument(help="Folder for the merged labeler.")],
    precision: PrecisionOption = "fp32",
) -> None:
    """Fold the adapter into the backbone and check that predictions stay the same."""
    from lookboth.labelers import merge_to_folder

    quiet_libraries()
    typer.echo(merge_to_folder(labeler, out, precision=precision))


@app.command()
def fix_labels(
    labeler: Annotated[str, typer.Argument(help="Saved open or generative labeler: folder or hub id.")],
    out: Annotated[Path, typer.Argument(help="Folder for the labeler with fixed labels.")],
    labels: LabelsOption = None,
    demonstrations: DemonstrationsOption = None,
    precision: PrecisionOption = "fp32",
) -> None:
    """Save an open or generative labeler with labels named now, as an ordinary labeler."""
    from lookboth.labelers import fix_labels_to_folder

    quiet_libraries()
    typer.echo(fix_labels_to_folder(labeler, out, labels, demonstrations=demonstrations, precision=precision))


@app.command()
@reads_labeled_data
def export(
    model: Annotated[
        str, typer.Argument(help="Saved labeler: folder, hub id, 'shipped', 'fast' or 'turbo'.")
    ],
    out: Annotated[Path, typer.Argument(help="Folder for the exported labeler.")],
    weights: Annotated[str, typer.Option(help="fp32, or int8: smaller and faster.")] = "fp32",
    data: Annotated[
        str | None,
        typer.Option(
            help="Data for the comparison: file, folder or built-in name. Default: part of a built-in data set."
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="Maximum loss of span F1 compared with torch. Default: 0.001; int8: 0.05."
        ),
    ] = None,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Write the labeler even if the loss exceeds the tolerance.")
    ] = False,
    reading: "ReadOptions | None" = None,
) -> None:
    """Export a labeler to ONNX, which runs without torch, and compare it with torch."""
    from lookboth.onnx import export_labeler

    quiet_libraries()
    parity = export_labeler(
        model,
        out,
        weights=weights,
        data=data,
        tolerance=tolerance,
        accept_loss=accept_loss,
        options=reading,
    )
    typer.echo(parity.describe())
    typer.echo(f"written: {out}, {sum(file.stat().st_size for file in out.iterdir()) / 1e6:,.0f} MB")
