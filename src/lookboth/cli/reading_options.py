"""Options for reading labeled data, collected into one `ReadOptions` argument."""

import inspect
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import wraps
from typing import Annotated, Any

import typer


class DocumentBorders(StrEnum):
    """Borders of documents that a user names."""

    file = "file"
    blank_lines = "blank_lines"


EncodingOption = Annotated[
    str | None,
    typer.Option(help="Encoding of files: cp1252, gb18030, ... Default: by the byte order mark, else UTF-8."),
]
DocumentsOption = Annotated[
    DocumentBorders | None,
    typer.Option(
        help="Documents, for labelers with context: file (a file is one document) or blank_lines (several blank lines "
        "end a document). Default: the borders that the format has."
    ),
]
RepairOption = Annotated[
    bool,
    typer.Option("--repair", help="Repair ill-formed tags and lines, or leave them out; each is reported."),
]

# Fields of ReadOptions: annotation and default.
_OPTIONS: dict[str, tuple[Any, Any]] = {
    "repair": (RepairOption, False),
    "scheme": (
        Annotated[
            str | None,
            typer.Option(
                help="Tag scheme: IOB1, IOB2, IOBES, BILOU, IO (adjacent words of one label are one "
                "span) or plain (one label per word). Default: detected, except IO and plain."
            ),
        ],
        None,
    ),
    "word_column": (
        Annotated[
            int, typer.Option(help="CoNLL: column of the word, counted from 0, negative from the right.")
        ],
        0,
    ),
    "tag_column": (Annotated[int, typer.Option(help="CoNLL: column of the tag.")], -1),
    "text_field": (
        Annotated[
            str | None,
            typer.Option(help="CSV, JSON, hub: column of texts (hub: or words). Default: the usual names."),
        ],
        None,
    ),
    "label_field": (
        Annotated[
            str | None,
            typer.Option(help="CSV, JSON, hub: column of labels (hub: or tags). Default: the usual names."),
        ],
        None,
    ),
    "class_names": (
        Annotated[
            str | None,
            typer.Option(
                help="JSON, Parquet, hub: names of class numbers, counted from 0 and separated by commas: O,B-PER. "
                "Of whole texts in any format. Default: the names that the data have."
            ),
        ],
        None,
    ),
    "splitter": (
        Annotated[
            str | None,
            typer.Option(
                help="Splitter of raw text into words: char, jieba (Chinese), pythainlp (Thai), fugashi (Japanese) or "
                "spacy:LANGUAGE. Default: that of the labeler, else rules for languages with blanks between words."
            ),
        ],
        None,
    ),
    "cut_words": (
        Annotated[
            bool,
            typer.Option(
                "--cut-words",
                help="Cut a word where a span begins or ends inside it (anti-|IL10), instead of reporting the span.",
            ),
        ],
        False,
    ),
    "nested": (
        Annotated[
            bool,
            typer.Option(
                "--nested",
                help="Keep spans that overlap and several tags of a word, as a labeler with a nested head reads them.",
            ),
        ],
        False,
    ),
    "encoding": (EncodingOption, None),
    "documents": (DocumentsOption, None),
}


def reads_labeled_data(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameter `reading`, a ReadOptions, of a command by one option per field.

    An option that the command declares itself is passed to the command.
    """
    own = inspect.signature(command).parameters
    names = [name for name in _OPTIONS if name not in own]

    @wraps(command)
    def run(**given: Any) -> None:
        from lookboth.data import ReadOptions

        options = {name: given.pop(name) for name in names}
        if options["class_names"] is not None:
            options["class_names"] = tuple(name.strip() for name in options["class_names"].split(","))
        if options.get("documents") is not None:
            options["documents"] = options["documents"].value
        command(reading=ReadOptions(**options), **given)

    parameters: list[inspect.Parameter] = []
    for parameter in own.values():
        parameters += _options(names) if parameter.name == "reading" else [parameter]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _options(names: Sequence[str]) -> list[inspect.Parameter]:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [
        inspect.Parameter(name, kind, annotation=_OPTIONS[name][0], default=_OPTIONS[name][1])
        for name in names
    ]
