"""Commands that label and print: predict, suggest."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookboth.cli.app import (
    DemonstrationsOption,
    DeviceOption,
    Format,
    LabelerOption,
    LabelsOption,
    PrecisionOption,
    ThresholdsOption,
    app,
)
from lookboth.cli.reading_options import DocumentsOption, EncodingOption
from lookboth.errors import ConfigError
from lookboth.quiet import quiet_libraries
from lookboth.types import Example, Prediction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lookboth.inference import StreamUpdate, TextLabeler

OutOption = Annotated[
    Path | None, typer.Option("--out", help="File to write instead of printing; brat: a folder.")
]


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
    demonstrations: DemonstrationsOption = None,
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
    labeler = open_labeler(
        model, device=device, precision=precision, labels=labels, demonstrations=demonstrations
    )
    _note_labels(labeler)
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
    _note_labels(opened)
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


def _note_labels(labeler: "TextLabeler") -> None:
    """Say which labels an open labeler finds if none were named."""
    if labeler.is_open:
        count = len(labeler.config.labels)
        typer.echo(
            f'note: the {count} labels of its training; name others: --labels "company, product"', err=True
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
