"""How labeled data is read: options of the commands that read it."""

from typing import Annotated

import typer

RepairOption = Annotated[bool, typer.Option("--repair", help="Repair ill-formed tags and lines.")]
SchemeOption = Annotated[
    str | None, typer.Option(help="Tag scheme: IOB1, IOB2, IOBES, BILOU or plain. Default: detected.")
]
WordColumnOption = Annotated[
    int, typer.Option(help="CoNLL: column of the word, counted from 0, negative from the right.")
]
TagColumnOption = Annotated[int, typer.Option(help="CoNLL: column of the tag.")]
TextFieldOption = Annotated[
    str | None,
    typer.Option(help="CSV, JSON, hub: column of texts (hub: or words). Default: the usual names."),
]
LabelFieldOption = Annotated[
    str | None,
    typer.Option(help="CSV, JSON, hub: column of labels (hub: or tags). Default: the usual names."),
]
