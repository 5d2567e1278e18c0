"""Commands for many texts and many clients: bulk, serve."""

from collections.abc import Sequence
from typing import Annotated

import typer

from lookboth.cli.app import DeviceOption, LabelsOption, PrecisionOption, ThresholdsOption, app
from lookboth.errors import ConfigError
from lookboth.memory import BULK_BATCH, LARGE_BATCH, SMALL_BATCH
from lookboth.quiet import quiet_libraries


@app.command()
def bulk(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="File or folder, path or URL: Parquet, JSON lines, text.")
    ],
    out: Annotated[
        str, typer.Argument(help="Folder for the result, path or URL; the same command again resumes.")
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="Saved labeler: folder, hub id, 'fast', 'turbo' or 'open'; default: the shipped one. May be repeated, "
            "also as NAME=FOLDER: each span then has the name of its labeler.",
        ),
    ] = None,
    labels: LabelsOption = None,
    column: Annotated[str, typer.Option(help="Column of the texts.")] = "text",
    keep: Annotated[
        list[str] | None,
        typer.Option(help="Column to copy to the result, for example a key; may be repeated."),
    ] = None,
    input_format: Annotated[
        str | None, typer.Option(help="parquet, jsonl or text. Default: by suffix.")
    ] = None,
    output_format: Annotated[
        str | None, typer.Option("--format", "-f", help="parquet or jsonl. Default: as the input.")
    ] = None,
    min_score: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Drop spans and labels below this score.")
    ] = 0.0,
    thresholds: ThresholdsOption = False,
    max_chars: Annotated[
        int, typer.Option(min=1, help="Characters; a longer text is reported as an invalid row.")
    ] = 1_000_000,
    part_bytes: Annotated[
        int, typer.Option(min=1, help="Bytes of text per part; a part is processed again if its worker dies.")
    ] = 512 * 1024,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of processes, each with its own labeler. Default: one per GPU, or one."
        ),
    ] = None,
    gpus_per_worker: Annotated[
        float | None,
        typer.Option(min=0.0, help="Number of GPUs, or a fraction of one. Default: 1 if there are GPUs."),
    ] = None,
    cpus_per_worker: Annotated[
        float | None,
        typer.Option(min=0.0, help="Number of CPUs. Default: all, divided evenly; 1 on a cluster."),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster: auto or HOST:PORT. Default: this machine only.")
    ] = None,
    batch_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Tokens computed at once. Default: {LARGE_BATCH} (fp32: {SMALL_BATCH}) on a CPU, else {BULK_BATCH}.",
        ),
    ] = None,
    precision: PrecisionOption = "auto",
) -> None:
    """Label files and folders of any size, on one machine or a Ray cluster; resumable."""
    try:
        from lookboth.bulk import BulkOptions, ProgressLine, Workers, run_bulk
        from lookboth.data import parse_labels
    except ModuleNotFoundError as error:
        raise ConfigError(f"bulk needs {error.name}. Type: pip install 'lookboth[bulk]'") from error
    options = BulkOptions(
        column=column,
        keep=tuple(keep or ()),
        input_format=input_format,
        output_format=output_format,
        min_score=min_score,
        thresholds=thresholds,
        precision=precision,
        max_chars=max_chars,
        part_bytes=part_bytes,
        labels=() if labels is None else tuple(map(str, parse_labels(labels))),
    )
    means = Workers(workers, gpus_per_worker, cpus_per_worker, address, batch_tokens)
    result = run_bulk(source, out, options, means, model=_models(model or ()), report=ProgressLine())
    typer.echo(result.describe())


def _models(given: Sequence[str]) -> str | dict[str, str] | None:
    """Return the only labeler, or several by name."""
    from lookboth.labelers import name_labelers, split_name

    if len(given) == 1 and not split_name(given[0])[0]:
        return given[0]
    return name_labelers(given) or None


@app.command()
def serve(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL", help="Labelers: FOLDER, hub id or NAME=FOLDER. Default: the shipped one."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any free port.")] = 8000,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any limit, as key=value; may be repeated.")
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Host name that requests may use, besides those of this machine; may be repeated; '*': any. "
            "Default: any if --host is not a loopback address, else only names of this machine.",
        ),
    ] = None,
    log_texts: Annotated[bool, typer.Option("--log-texts", help="Write texts to the log.")] = False,
    device: DeviceOption = None,
    precision: PrecisionOption = "auto",
) -> None:
    """Serve labelers over HTTP, with a web page. If LOOKBOTH_API_KEY is set, clients must send it as their key."""
    try:
        from lookboth.serving import parse_settings, serve as run_server
    except ModuleNotFoundError as error:
        raise ConfigError(f"the server needs {error.name}. Type: pip install 'lookboth[serve]'") from error
    quiet_libraries()
    run_server(
        models or (),
        parse_settings(settings or []),
        host=host,
        port=port,
        device=device,
        precision=precision,
        allowed_hosts=allowed_host or (),
        log_texts=log_texts,
    )
