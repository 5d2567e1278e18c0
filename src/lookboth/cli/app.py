"""The command line's application, its shared options, and how an error ends."""

import gc
import io
import os
import sys
from enum import StrEnum
from typing import Annotated

import typer

from lookboth.errors import LookbothError
from lookboth.memory import out_of_memory
from lookboth.training import Team, require_alone

_TOGETHER = {"train", "adapt"}  # commands that several processes may be started with

_INTERRUPTED = 130
# Python looks for garbage whenever there are 700 new objects; imports make a million that stay, a fifth of the start.
_COLLECT = (50_000, 5, 5)

app = typer.Typer(
    name="lookboth",
    help="Sequence labeling with decoder language models that look both ways.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class Format(StrEnum):
    """How predictions are printed."""

    text = "text"
    jsonl = "jsonl"
    conll = "conll"
    html = "html"
    label_studio = "label-studio"
    doccano = "doccano"
    prodigy = "prodigy"
    brat = "brat"


class TaskName(StrEnum):
    """What the labels of data belong to."""

    labeling = "labeling"
    classification = "classification"


PlanOption = Annotated[
    str | None,
    typer.Option(
        help="Mask plan: causal, full, middle, 0011, top:8, 8-31, 0,0,4,* ... Default: as the model was made."
    ),
]
ModelArgument = Annotated[
    str, typer.Argument(help="Hub id, folder, or built-in name (smollm2-135m, qwen2.5-0.5b, minilm-l6).")
]
LabelerOption = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Saved labeler: folder, hub id, or 'fast'. Default: the shipped one."),
]
DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda, ... Default: a GPU where there is one.")]
PrecisionOption = Annotated[str, typer.Option(help="auto, bf16, fp16 or fp32.")]
ThresholdsOption = Annotated[
    bool, typer.Option("--thresholds", help="Leave out what is below the labeler's thresholds (calibrate).")
]
TrustOption = Annotated[bool, typer.Option("--trust-remote-code", help="Let the model's own code run.")]


@app.callback()
def _check_processes(context: typer.Context) -> None:
    if context.invoked_subcommand not in _TOGETHER:
        require_alone(f"lookboth {context.invoked_subcommand}")


def main() -> None:
    """Run the command line; an error is one message on standard error and exit status 1."""
    gc.set_threshold(*_COLLECT)
    os.environ.setdefault(
        "TORCH_CPP_LOG_LEVEL", "ERROR"
    )  # read when torch is imported; DDP warns of its own caution
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files and texts need not be UTF-8
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except LookbothError as error:
        _fail(str(error), 1)
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # typer makes this of Ctrl-C, and says nothing
            _fail("interrupted; training and bulk runs go on when you type the same command again.", end.code)
        raise
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output left; nothing more to say
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
    team = Team.here()
    who = "" if team.size == 1 else f"[process {team.rank} of {team.size}] "
    typer.echo(f"{who}error: {message}", err=True)
    raise SystemExit(status)
