"""Commands about data: check-data, convert."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookboth.cli.app import TaskName, app
from lookboth.cli.reading_options import reads_labeled_data
from lookboth.errors import ConfigError

if TYPE_CHECKING:
    from lookboth.data import ReadOptions


@app.command("check-data")
@reads_labeled_data
def check_data(
    files: Annotated[
        list[str],
        typer.Argument(help="Files, a folder, a built-in name or hub id; 'name:split' for a split."),
    ],
    task: Annotated[
        TaskName | None,
        typer.Option(
            help="What is labeled: words or whole texts. Default: words; built-in data have their own."
        ),
    ] = None,
    reading: "ReadOptions | None" = None,
) -> None:
    """Check data files and report each problem with file and line."""
    from lookboth.data import ReadOptions, check_data as check

    report = check(files, replace(reading or ReadOptions(), task=task.value if task else None))
    typer.echo(report.describe())
    if not report.ok:
        raise typer.Exit(1)


@app.command()
@reads_labeled_data
def convert(
    kind: Annotated[
        str,
        typer.Argument(
            help="Published data: ace05, aste, atis, bioc, bioc-json, cluener, conll2003, conll2012, conllu, massive, "
            "nlupp, pubtator, semeval-absa, seq-in, snips, wikiner; annotation tools: brat, doccano, gliner, "
            "label-studio, label-studio-conll, opennlp, prodigy, rasa, rasa-text, row-table, spacy, spacy-json, "
            "webanno; json: JSON that lookboth reads directly."
        ),
    ],
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="File as published or exported; brat, seq-in: also a folder.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File to write: .conll or .jsonl.")],
    column: Annotated[str | None, typer.Option(help="conll2003: ner, chunk or pos. Default: ner.")] = None,
    documents: Annotated[
        bool,
        typer.Option(
            "--documents",
            help="bioc, bioc-json, brat, conll2003, conll2012, conllu, json, pubtator, webanno: keep document borders.",
        ),
    ] = False,
    polarities: Annotated[
        int | None,
        typer.Option(help="semeval-absa: 3; 4: keep 'conflict'; 0: label all terms 'aspect'. Default: 3."),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="ace05: full event type, type or subtype. Default: full.")
    ] = None,
    offsets: Annotated[
        str | None,
        typer.Option(
            help="Texts with spans: unit of the offsets, utf16 or codepoints. Default: detected from the spans."
        ),
    ] = None,
    several: Annotated[
        str | None,
        typer.Option(
            help="Texts with spans that have several labels for one range: first (keep the first) or joined (join all)."
        ),
    ] = None,
    export: Annotated[
        bool,
        typer.Option("--export", help="Write the data file IN in the format of the annotation tool KIND."),
    ] = False,
    reading: "ReadOptions | None" = None,
) -> None:
    """Convert published data and files of annotation tools to lookboth's formats, or export for such a tool."""
    from lookboth.data import ReadOptions
    from lookboth.data.conversion import ConvertOptions, convert as convert_file, export as export_file

    reading = reading or ReadOptions()
    options = ConvertOptions(
        column=column,
        documents=documents or None,
        polarities=polarities,
        label=label,
        offsets=offsets,
        several=several,
    )
    if export:
        if options != ConvertOptions():
            raise ConfigError(
                "--export allows only --repair and options for reading IN. Remove the other options."
            )
        typer.echo(f"written: {out}, {export_file(kind, source, out, reading)} texts")
        return
    asked = {name: getattr(reading, name) for name in ("text_field", "label_field", "scheme", "class_names")}
    if reading != ReadOptions(
        encoding=reading.encoding,
        repair=reading.repair,
        splitter=reading.splitter,
        cut_words=reading.cut_words,
        nested=reading.nested,
        **asked,
    ):
        raise ConfigError(
            "column options are only for --export; `convert KIND` knows the columns. Remove them."
        )
    options = replace(options, **asked)
    report = convert_file(
        kind,
        source,
        out,
        options,
        repair=reading.repair,
        encoding=reading.encoding,
        splitter=reading.splitter,
        cut_words=reading.cut_words,
        nested=reading.nested,
    )
    typer.echo(report.describe())
    typer.echo(f"written: {out}")
