"""Commands that label: predict, bulk, evaluate, calibrate, suggest, serve."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookboth.cli.app import (
    DeviceOption,
    Format,
    LabelerOption,
    LabelsOption,
    PrecisionOption,
    ThresholdsOption,
    app,
)
from lookboth.cli.reading_options import DocumentsOption, EncodingOption, reads_labeled_data
from lookboth.errors import ConfigError
from lookboth.memory import BULK_BATCH, LARGE_BATCH, SMALL_BATCH
from lookboth.quiet import quiet_libraries
from lookboth.types import Example, Prediction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lookboth.data import ReadOptions
    from lookboth.inference import StreamUpdate, TextLabeler

MapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        help="Rename gold labels: OLD=NEW; OLD= drops the label; * matches all other labels. May be repeated.",
    ),
]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="File to write instead of printing; brat: a folder.")
]


@app.command()
@reads_labeled_data
def evaluate(
    data: Annotated[
        str, typer.Argument(help="File, folder, built-in name or hub id; 'name:split' for a split.")
    ],
    model: LabelerOption = None,
    labels: LabelsOption = None,
    out: Annotated[Path | None, typer.Option(help="Folder for run.json and predictions.jsonl.")] = None,
    label_map: MapOption = None,
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


@app.command()
def predict(
    source: Annotated[
        str,
        typer.Argument(
            metavar="TEXT|FILE|-", help="A text, a file (one text per line), or - for standard input."
        ),
    ],
    model: LabelerOption = None,
    labels: LabelsOption = None,
    output: Annotated[Format, typer.Option("--format", "-f", help="Output format.")] = Format.text,
    out: OutOption = None,
    min_score: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Drop spans and labels below this score.")
    ] = 0.0,
    thresholds: ThresholdsOption = False,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="Label standard input as one text while it arrives (docs/streaming.md); formats: text, conll, jsonl.",
        ),
    ] = False,
    lag: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="With --stream: words after which a tag is final; 0: at once. Default: when it is sure.",
        ),
    ] = None,
    encoding: EncodingOption = None,
    documents: DocumentsOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = "auto",
) -> None:
    """Label a text, a file or standard input."""
    from lookboth.inference import (
        keep_above,
        label_examples,
        read_inputs,
        render_updates,
        saved_thresholds,
    )
    from lookboth.labelers import open_labeler

    _require_place(source, output, out)
    _require_stream(source, output, out, stream, lag)
    if stream and documents is not None:
        raise ConfigError("--documents: a stream is one text, without texts around it. Leave the option out.")
    # Refuses a missing file before the labeler is loaded.
    read_inputs(source, sys.stdin.buffer, encoding)
    quiet_libraries()
    labeler = open_labeler(model, device=device, precision=precision, labels=labels)
    least = saved_thresholds(labeler.config) if thresholds else {}
    if stream:
        updates = _label_stream(labeler, lag, encoding)
        print_pieces(render_updates((one.above(min_score).above(least) for one in updates), output.value))
        return
    found = label_examples(labeler, _examples(labeler, source, encoding, documents))
    scheme = labeler.config.scheme
    kept = (keep_above(keep_above(each, min_score, scheme), least, scheme) for each in found)
    _give(kept, output, out)


@app.command()
def suggest(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|-", help="Unlabeled texts: a file with one text per line, or - for standard input."
        ),
    ],
    model: LabelerOption = None,
    labels: LabelsOption = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Number of texts.")] = 100,
    by: Annotated[
        str, typer.Option(help="Measure of uncertainty: entropy, least-confidence or margin.")
    ] = "entropy",
    pool: Annotated[
        int,
        typer.Option(
            min=1,
            help="Pick diverse texts from the N x --count most uncertain ones; 1: the most uncertain ones.",
        ),
    ] = 5,
    output: Annotated[Format, typer.Option("--format", "-f", help="Output format.")] = Format.jsonl,
    out: OutOption = None,
    encoding: EncodingOption = None,
    documents: DocumentsOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = "auto",
) -> None:
    """Select the unlabeled texts that are most useful to annotate, with pre-annotations (active learning)."""
    from lookboth.inference import (
        read_inputs,
        render_suggestions,
        require_scores,
        suggest as choose,
        write_pieces,
    )
    from lookboth.labelers import open_labeler

    _require_place(source, output, out)
    # Refuses a missing file before the labeler is loaded.
    read_inputs(source, sys.stdin.buffer, encoding)
    quiet_libraries()
    opened = open_labeler(model, device=device, precision=precision, labels=labels)
    labeler = require_scores(opened, "asked for this")
    chosen = choose(
        labeler, _examples(labeler, source, encoding, documents), num_texts=count, measure=by, pool=pool
    )
    if output is not Format.jsonl:
        _give((suggestion.prediction for suggestion in chosen), output, out)
    elif out is not None:
        write_pieces(render_suggestions(chosen), out)
    else:
        print_pieces(render_suggestions(chosen))


@app.command()
def bulk(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="File or folder, path or URL: Parquet, JSON lines, text.")
    ],
    out: Annotated[
        str, typer.Argument(help="Folder for the result, path or URL; the same command again resumes.")
    ],
    model: LabelerOption = None,
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
    result = run_bulk(source, out, options, means, model=model, report=ProgressLine())
    typer.echo(result.describe())


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


def _require_stream(source: str, output: Format, out: Path | None, stream: bool, lag: int | None) -> None:
    """Refuse options that do not fit together with --stream."""
    from lookboth.inference import require_stream_format

    if stream:
        require_stream_format(output.value)
    if stream and (source != "-" or out is not None):
        raise ConfigError("--stream labels standard input and prints. Type: lookboth predict - --stream")
    if lag is not None and not stream:
        raise ConfigError("--lag is for texts that arrive. Type: lookboth predict - --stream --lag 0")


def _examples(
    labeler: "TextLabeler", source: str, encoding: str | None, documents: DocumentsOption
) -> "Iterable[Example]":
    """Return the texts of an input, joined to documents if the labeler reads them."""
    from lookboth.data import join_documents
    from lookboth.inference import read_documents, read_inputs

    if labeler.reads_documents:
        found, names = read_documents(source, sys.stdin.buffer, encoding, documents=documents)
        return join_documents(list(labeler.split_again(found)), names)
    if documents is not None:
        raise ConfigError(
            f"--documents {documents.value}: this labeler reads each text alone, because it was trained with "
            "context = 0. Leave the option out."
        )
    return labeler.split_again(read_inputs(source, sys.stdin.buffer, encoding))


def _label_stream(labeler: "TextLabeler", lag: int | None, encoding: str | None) -> "Iterator[StreamUpdate]":
    """Return what becomes final while standard input arrives."""
    from lookboth.inference import label_pieces, read_pieces

    return label_pieces(labeler.open_stream(lag=lag), read_pieces(sys.stdin.buffer, encoding))


def _pairs(items: list[str]) -> dict[str, str]:
    pairs = {}
    for item in items:
        old, sign, new = item.partition("=")
        if not sign or not old:
            raise ConfigError(f"--map {item!r}: expected OLD=NEW. For example, --map MISC= drops MISC.")
        pairs[old] = new
    return pairs


def _require_place(source: str, output: Format, out: Path | None) -> None:
    """Refuse an output path that the format cannot use, or that is the input."""
    from lookboth.files import require_other_file
    from lookboth.inference import require_place

    require_place(output.value, out)
    if out is not None:
        require_other_file("/dev/stdin" if source == "-" else source, out)


def _give(predictions: Iterable[Prediction], output: Format, out: Path | None) -> None:
    """Write predictions to `out`, or print them if it is None."""
    from lookboth.inference import render, write_predictions

    if out is not None:
        write_predictions(predictions, output.value, out)
    else:
        print_pieces(render(predictions, output.value))


def print_pieces(pieces: Iterable[str]) -> None:
    """Print text that may contain lone surrogates, each piece as soon as it is ready."""
    for piece in pieces:
        sys.stdout.buffer.write(piece.encode("utf-8", "backslashreplace"))
        sys.stdout.buffer.flush()
