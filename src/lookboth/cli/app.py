"""The command-line application: shared options, and error messages in place of tracebacks."""

import atexit
import gc
import io
import os
import sys
from enum import StrEnum
from typing import Annotated

import typer

from lookboth.compat import keep_few_products, own_process
from lookboth.errors import LookbothError
from lookboth.memory import out_of_memory
from lookboth.training import ProcessGroup, require_single_process

# Commands that torchrun or accelerate may start as several processes.
_TOGETHER = {"train", "adapt", "distill"}
# Commands that label or train on one device, for which `lookboth.compat.light_start` shortens the imports.
_SHORT_START = {"predict", "suggest", "evaluate", "calibrate", "serve", "train"}
# Commands that train, for which memory must not grow with the number of different batch shapes.
_TRAINING = {"train", "distill", "adapt", "search", "study", "audit"}

# Exit status that typer sets for Ctrl-C.
_INTERRUPTED = 130
# Thresholds of the garbage collector. With the default (700 new objects) it takes a fifth of the start-up time: imports
# create a million objects, all of which stay alive.
_COLLECT = (50_000, 5, 5)

app = typer.Typer(
    name="lookboth",
    help="Sequence labeling with decoder language models that attend in both directions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class Format(StrEnum):
    """Output formats of predictions."""

    text = "text"
    jsonl = "jsonl"
    conll = "conll"
    html = "html"
    label_studio = "label-studio"
    doccano = "doccano"
    prodigy = "prodigy"
    brat = "brat"


class TaskName(StrEnum):
    """What is labeled: words or whole texts."""

    labeling = "labeling"
    classification = "classification"


PlanOption = Annotated[
    str | None,
    typer.Option(
        help="Mask plan: causal, full, middle, 0011, top:8, 8-31, 0,0,4,* ... Default: the mask the model was "
        "trained with."
    ),
]
ModelArgument = Annotated[
    str, typer.Argument(help="Hub id, folder, or built-in name (smollm2-135m, qwen2.5-0.5b, minilm-l6).")
]
LabelerOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="Saved labeler: folder, hub id, 'fast', 'turbo' or 'open' (for --labels). Default: the shipped one.",
    ),
]
DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda, ... Default: a GPU if there is one.")]
PrecisionOption = Annotated[str, typer.Option(help="Precision of computation: auto, bf16, fp16 or fp32.")]
ThresholdsOption = Annotated[
    bool,
    typer.Option("--thresholds", help="Drop predictions below the labeler's thresholds (see calibrate)."),
]


def _split_labels(given: list[str] | None) -> list[str] | None:
    """Return the labels of all --labels, one per entry; None without the option."""
    from lookboth.data import parse_labels, split_labels

    if not given:
        return None
    found = [label for text in given for label in split_labels(text)]
    # Also refuses no label, which typer would return as None.
    parse_labels(found)
    return found


LabelsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--labels",
        callback=_split_labels,
        help="Labels for an open or generative labeler: NAME or NAME: DESCRIPTION, separated by commas, in quotes if "
        "they contain one; or a .toml or .txt file. May be repeated.",
    ),
]
DemonstrationsOption = Annotated[
    str | None,
    typer.Option(
        "--demonstrations",
        help="Labeled sentences that a generative labeler shows in its prompts: file, folder or built-in name; without "
        "--labels, their labels are found.",
    ),
]
TrustOption = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run Python code that comes with the model.")
]


@app.callback()
def _check_processes(context: typer.Context) -> None:
    if context.invoked_subcommand not in _TOGETHER:
        require_single_process(f"lookboth {context.invoked_subcommand}")


def main() -> None:
    """Run the command line; an error is one message on standard error and exit status 1."""
    gc.set_threshold(*_COLLECT)
    if sys.argv[1:2] and sys.argv[1] in _SHORT_START:
        own_process()
    if sys.argv[1:2] and sys.argv[1] in _TRAINING:
        keep_few_products("training")
    # At its end Python searches all objects for cycles, which takes a second after torch was imported and frees nothing
    # that the end of the process does not free. Frozen objects are not searched.
    atexit.register(gc.freeze)
    # Read when torch is imported. Hides warnings of DDP that users cannot act on.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    # File names and texts may contain bytes that are not UTF-8.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except LookbothError as error:
        _fail(str(error), 1)
    except SystemExit as end:
        # typer turns Ctrl-C into this status without a message.
        if end.code == _INTERRUPTED:
            _fail("interrupted; type the same command again to resume training or a bulk run.", end.code)
        raise
    except BrokenPipeError:
        # The program that reads our output, such as `head`, has ended.
        sys.stderr.close()
        raise SystemExit(0) from None
    except OSError as error:
        _fail(f"{str(error.filename or 'the system')[:200]}: {error.strerror or error}", 1)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in {"", "lookboth"}:
            raise
        _fail(
            f"this command needs the Python package {package}, which is not installed. "
            f"Type: pip install lookboth, or pip install {package}",
            1,
        )
    except Exception as error:
        message = out_of_memory(error)
        if message is None:
            raise
        _fail(message, 1)


def _fail(message: str, status: int) -> None:
    team = ProcessGroup.current()
    who = "" if team.size == 1 else f"[process {team.rank} of {team.size}] "
    typer.echo(f"{who}error: {message}", err=True)
    raise SystemExit(status)
