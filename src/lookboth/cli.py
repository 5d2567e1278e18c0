"""The command line: each command parses, calls one function of the library, and prints."""

import json
import sys
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lookboth.errors import ConfigError, LookbothError
from lookboth.quiet import quiet_libraries
from lookboth.types import Prediction

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
    str, typer.Argument(help="Hub id, folder, or built-in name (smollm2-135m, minilm-l6).")
]
LabelerOption = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Saved labeler: folder or hub id. Default: the shipped one."),
]
DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda, ... Default: a GPU where there is one.")]
PrecisionOption = Annotated[str, typer.Option(help="auto, bf16 or fp32.")]
ThresholdsOption = Annotated[
    bool, typer.Option("--thresholds", help="Leave out what is below the labeler's thresholds (calibrate).")
]
TrustOption = Annotated[bool, typer.Option("--trust-remote-code", help="Let the model's own code run.")]


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the runs.")] = Path("runs/demo"),
    quick: Annotated[bool, typer.Option("--quick", help="Label only; no training.")] = False,
) -> None:
    """Label real text with the shipped labeler, score it, and train causal against both-ways."""
    from lookboth.demo import run_demo

    run_demo(out, train=not quick)


@app.command()
def inspect(
    model: ModelArgument,
    plan: PlanOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Show a model's layers under a mask plan, without loading weights."""
    from lookboth.models.inspect import inspect_model

    typer.echo(inspect_model(model, plan, trust_remote_code=trust_remote_code))


@app.command()
def prove(
    model: ModelArgument,
    plan: PlanOption = None,
    attn_implementation: Annotated[
        str | None, typer.Option("--backend", help="Attention backend: sdpa, eager, flex_attention ...")
    ] = None,
    length: Annotated[int, typer.Option(min=4, help="Tokens in the probe text.")] = 12,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="Take only the configuration; no weights are needed.")
    ] = False,
    trust_remote_code: TrustOption = False,
) -> None:
    """Show which positions each layer really sees, and hold that against the plan."""
    from lookboth.models.inspect import prove_model

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


@app.command("check-data")
def check_data(
    files: Annotated[
        list[str], typer.Argument(help="Files, a folder with train/dev/test, or a built-in name.")
    ],
    task: Annotated[
        TaskName | None,
        typer.Option(help="What has labels, words or whole texts. Default: words, but for built-in data."),
    ] = None,
) -> None:
    """Report everything odd in data files, with file and line."""
    from lookboth.data.checks import check_data as check
    from lookboth.data.readers import ReadOptions

    report = check(files, ReadOptions(task=task.value) if task else None)
    typer.echo(report.describe())
    if not report.ok:
        raise typer.Exit(1)


@app.command()
def convert(
    kind: Annotated[
        str,
        typer.Argument(
            help="ace05, conll2003, nlupp, semeval-absa; of annotation tools: brat, doccano, label-studio, prodigy."
        ),
    ],
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="File as published or exported; brat: or a folder.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File to write: .conll or .jsonl.")],
    column: Annotated[str | None, typer.Option(help="conll2003: ner, chunk or pos. Default: ner.")] = None,
    documents: Annotated[
        bool, typer.Option("--documents", help="conll2003: keep the borders of documents.")
    ] = False,
    polarities: Annotated[
        int | None, typer.Option(help="semeval-absa: 3, or 4 to keep 'conflict'. Default: 3.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="ace05: full event type, type or subtype. Default: full.")
    ] = None,
    offsets: Annotated[
        str | None, typer.Option(help="doccano: what offsets count, utf16 or codepoints. Default: utf16.")
    ] = None,
    export: Annotated[
        bool, typer.Option("--export", help="The other way: a data file IN for the annotation tool KIND.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Leave out or repair what cannot be taken over; all is named.")
    ] = False,
) -> None:
    """Convert data from the form in which papers publish or annotation tools keep them, or for such a tool."""
    from lookboth.data.conversion.convert import convert as convert_file
    from lookboth.data.conversion.export import export as export_file
    from lookboth.data.conversion.options import ConvertOptions

    options = ConvertOptions(
        column=column, documents=documents or None, polarities=polarities, label=label, offsets=offsets
    )
    if export:
        if options != ConvertOptions():
            raise ConfigError("--export takes no other option but --repair. Leave the others out.")
        typer.echo(f"written: {out}, {export_file(kind, source, out, repair=repair)} texts")
        return
    typer.echo(convert_file(kind, source, out, options, repair=repair).describe())
    typer.echo(f"written: {out}")


@app.command()
def train(
    recipe: Annotated[Path | None, typer.Argument(help="Recipe file (TOML).")] = None,
    data: Annotated[
        str | None, typer.Option(help="File, folder, built-in name or hub id to train on.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Decoder or encoder: hub id, folder, or built-in name.")
    ] = None,
    plan: Annotated[str | None, typer.Option(help="Mask plan.")] = None,
    task: Annotated[
        TaskName | None, typer.Option(help="What has labels: words (labeling) or whole texts.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the run.")] = Path("runs/train"),
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any recipe key, as key=value; may be repeated.")
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Repair ill-formed tags.")] = False,
) -> None:
    """Train a labeler from a recipe, from options, or from a recipe with options over it."""
    from lookboth.config import load_recipe, parse_config
    from lookboth.training.run import train as run_training

    given = (("model", model), ("plan", plan), ("task", task), ("data.train", data))
    # A JSON string is a TOML string, whatever quotes and backslashes it holds.
    overrides = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in given if value]
    overrides += ["data.repair=true"] if repair else []
    overrides += settings or []
    if recipe is None and data is None:
        raise ConfigError(
            "nothing to train on. Type: lookboth train RECIPE.toml, or lookboth train --data FOLDER"
        )
    config = load_recipe(recipe, overrides) if recipe else parse_config({}, overrides, where="options")
    quiet_libraries()
    runs = run_training(config, out, say=typer.echo)
    for run in runs:
        typer.echo(f"labeler: {run.folder / 'labeler'}")


@app.command()
def search(
    recipe: Annotated[Path | None, typer.Argument(help="Recipe file (TOML).")] = None,
    data: Annotated[
        str | None, typer.Option(help="File, folder, built-in name or hub id to train on.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Decoder or encoder: hub id, folder, or built-in name.")
    ] = None,
    strategy: Annotated[str | None, typer.Option(help="shared, layers or halving.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the run.")] = Path("runs/search"),
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any recipe key, as key=value; may be repeated.")
    ] = None,
) -> None:
    """Find the best mask plan on dev data, with the evidence, and train a labeler under it."""
    from lookboth.config import load_recipe, parse_config
    from lookboth.training.run import train as run_training

    given = (("method", "search"), ("model", model), ("data.train", data), ("search.strategy", strategy))
    overrides = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in given if value]
    if recipe is None and data is None:
        raise ConfigError(
            "nothing to train on. Type: lookboth search RECIPE.toml, or lookboth search --data FOLDER"
        )
    overrides += settings or []
    config = load_recipe(recipe, overrides) if recipe else parse_config({}, overrides, where="options")
    quiet_libraries()
    for run in run_training(config, out, say=typer.echo):
        typer.echo(f"labeler: {run.folder / 'labeler'}; evidence: {run.folder / 'search.json'}")


@app.command()
def study(
    file: Annotated[Path, typer.Argument(help="Study file (TOML).")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the runs. Default: runs/ and the name of the study.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Runs at once. Default: by cores and memory.")
    ] = None,
    only: Annotated[str, typer.Option(help="Patterns of the settings to run: 'ner/*,*/full'.")] = "*",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run.")] = False,
) -> None:
    """Run a grid of trainings that can be stopped and resumed: methods, plans, data sets, seeds."""
    from lookboth.study.config import load_study
    from lookboth.study.runner import describe_study, run_study

    config = load_study(file)
    folder = out or Path("runs") / config.name
    if dry_run:
        typer.echo(describe_study(config, folder, only=only))
        return
    state = run_study(config, folder, workers=workers, only=only, say=typer.echo)
    for name, error in state.failed.items():
        typer.echo(f"{name} failed: {error}", err=True)
    if state.failed:
        raise typer.Exit(1)
    typer.echo(f"{len(state.scores)} runs are done. Next: lookboth report {folder}")


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder that holds run folders, at any depth.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the report. Default: report/ in that folder.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Method to compare with. Default: the causal one.")
    ] = None,
) -> None:
    """Write tables, plots and an error page of all runs below a folder."""
    from lookboth.reporting.report import write_report

    typer.echo(f"report: {write_report(folder, out, baseline=baseline) / 'index.html'}")


@app.command()
def adapt(
    recipe: Annotated[Path, typer.Argument(help="Recipe file (TOML) with a section [adaptation].")],
    out: Annotated[Path, typer.Option(help="Folder for the adapter.")] = Path("runs/adapt"),
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any recipe key, as key=value; may be repeated.")
    ] = None,
) -> None:
    """Train only the adapter of a recipe on its raw text; for adapter.start_from of other recipes."""
    from lookboth.config import load_recipe
    from lookboth.training.run import adapt as run_adaptation

    config = load_recipe(recipe, settings or [])
    quiet_libraries()
    run_adaptation(config, out, say=typer.echo)
    typer.echo(f"{'model' if config.adapter.kind == 'full' else 'adapter'}: {out}")


@app.command()
def evaluate(
    data: Annotated[
        str, typer.Argument(help="File, folder, built-in name or hub id; 'name:split' for a split.")
    ],
    model: LabelerOption = None,
    out: Annotated[Path | None, typer.Option(help="Folder for run.json and predictions.jsonl.")] = None,
    label_map: Annotated[
        list[str] | None,
        typer.Option("--map", help="Rename gold labels, OLD=NEW; NEW empty drops; * = the rest."),
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Repair ill-formed tags.")] = False,
    thresholds: ThresholdsOption = False,
    device: DeviceOption = None,
    precision: PrecisionOption = "auto",
) -> None:
    """Score a labeler on labeled data, every word counted."""
    from lookboth.evaluation.command import evaluate_on

    quiet_libraries()
    evaluation = evaluate_on(
        data,
        model,
        out=out,
        label_map=_pairs(label_map or []),
        repair=repair,
        thresholds=thresholds,
        device=device,
        precision=precision,
    )
    typer.echo(evaluation.describe())
    typer.echo(evaluation.describe_confidence())


@app.command()
def calibrate(
    model: Annotated[Path, typer.Argument(help="Folder of a saved labeler; its config.json is written.")],
    data: Annotated[str, typer.Argument(help="Labeled data that training has not seen; default split: dev.")],
    precision: Annotated[
        float | None, typer.Option(help="Also choose a threshold for each label that gives this precision.")
    ] = None,
    coverage: Annotated[
        float | None, typer.Option(help="Also give words sets of tags that hold the right one so often.")
    ] = None,
    label_map: Annotated[
        list[str] | None,
        typer.Option("--map", help="Rename gold labels, OLD=NEW; NEW empty drops; * = the rest."),
    ] = None,
    device: DeviceOption = None,
) -> None:
    """Make a labeler's scores mean how often it is right."""
    from lookboth.evaluation.confidence import calibrate_folder

    quiet_libraries()
    result = calibrate_folder(
        model, data, precision=precision, coverage=coverage, label_map=_pairs(label_map or []), device=device
    )
    typer.echo(result.describe())


@app.command()
def predict(
    source: Annotated[
        str, typer.Argument(metavar="TEXT|FILE|-", help="A text, a file (a text a line), or -.")
    ],
    model: LabelerOption = None,
    output: Annotated[Format, typer.Option("--format", "-f", help="How to print.")] = Format.text,
    out: Annotated[
        Path | None, typer.Option(help="File to write instead of printing; for brat a folder.")
    ] = None,
    min_score: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Leave out spans and labels below this score.")
    ] = 0.0,
    thresholds: ThresholdsOption = False,
    device: DeviceOption = None,
    precision: PrecisionOption = "auto",
) -> None:
    """Label a text, a file or standard input."""
    from lookboth.inference.formats import require_place
    from lookboth.inference.inputs import read_inputs
    from lookboth.inference.pipeline import label_examples
    from lookboth.models.confidence import saved_thresholds
    from lookboth.models.labeler import Labeler

    require_place(output.value, out)
    examples = read_inputs(source, sys.stdin.buffer)
    quiet_libraries()
    labeler = Labeler.from_pretrained(model, device=device, precision=precision)
    least = saved_thresholds(labeler.config) if thresholds else {}
    found = label_examples(labeler, examples)
    kept = (prediction.above(min_score).above(least) for prediction in found)
    _give(kept, output, out)


@app.command()
def serve(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL", help="FOLDER, hub id or NAME=FOLDER. Default: the shipped labeler."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any limit, as key=value; may be repeated.")
    ] = None,
    log_texts: Annotated[bool, typer.Option("--log-texts", help="Write texts to the log.")] = False,
    device: DeviceOption = None,
    precision: PrecisionOption = "auto",
) -> None:
    """Serve labelers over HTTP, with a web page. A key in LOOKBOTH_API_KEY is asked of clients."""
    try:
        from lookboth.serving.server import serve as run_server
        from lookboth.serving.settings import parse_settings
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
        log_texts=log_texts,
    )


@app.command()
def suggest(
    source: Annotated[
        str, typer.Argument(metavar="FILE|-", help="Unlabeled texts: a file, a text a line, or -.")
    ],
    model: LabelerOption = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many texts.")] = 100,
    by: Annotated[str, typer.Option(help="entropy, least-confidence or margin.")] = "entropy",
    pool: Annotated[
        int,
        typer.Option(
            min=1, help="Choose unlike texts among so many times as many unsure ones; 1: unsure ones only."
        ),
    ] = 5,
    output: Annotated[Format, typer.Option("--format", "-f", help="How to print.")] = Format.jsonl,
    out: Annotated[
        Path | None, typer.Option(help="File to write instead of printing; for brat a folder.")
    ] = None,
    device: DeviceOption = None,
    precision: PrecisionOption = "auto",
) -> None:
    """Order unlabeled texts by what annotating them would teach, with pre-annotations."""
    from lookboth.inference.formats import require_place, write_pieces
    from lookboth.inference.inputs import read_inputs
    from lookboth.inference.suggest import render_suggestions
    from lookboth.inference.suggest import suggest as choose
    from lookboth.models.labeler import Labeler, require_head

    require_place(output.value, out)
    examples = read_inputs(source, sys.stdin.buffer)
    quiet_libraries()
    labeler = require_head(
        Labeler.from_pretrained(model, device=device, precision=precision), "asked for this"
    )
    chosen = choose(labeler, examples, num_texts=count, measure=by, pool=pool)
    if output is not Format.jsonl:
        _give((suggestion.prediction for suggestion in chosen), output, out)
    elif out is not None:
        write_pieces(render_suggestions(chosen), out)
    else:
        _print_pieces(render_suggestions(chosen))


@app.command()
def merge(
    labeler: Annotated[str, typer.Argument(help="Saved labeler: folder or hub id.")],
    out: Annotated[Path, typer.Argument(help="Folder for the merged labeler.")],
    precision: PrecisionOption = "fp32",
) -> None:
    """Fold the adapter into the backbone and check that predictions stay the same."""
    from lookboth.models.merging import merge_to_folder

    quiet_libraries()
    typer.echo(merge_to_folder(labeler, out, precision=precision))


def main() -> None:
    """Run the command line; an error is one message on standard error and exit status 1."""
    try:
        app()
    except LookbothError as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        _fail("interrupted; a training run goes on where it was when you type the same command again.", 130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output left; nothing more to say
        raise SystemExit(0) from None


def _fail(message: str, status: int) -> None:
    typer.echo(f"error: {message}", err=True)
    raise SystemExit(status)


def _pairs(items: list[str]) -> dict[str, str]:
    pairs = {}
    for item in items:
        old, sign, new = item.partition("=")
        if not sign or not old:
            raise ConfigError(f"--map {item!r}: expected OLD=NEW, for example --map MISC= to drop MISC")
        pairs[old] = new
    return pairs


def _give(predictions: Iterable[Prediction], output: Format, out: Path | None) -> None:
    """Write predictions to a place, or print them where none is named."""
    from lookboth.inference.formats import render, write_predictions

    if out is not None:
        write_predictions(predictions, output.value, out)
    else:
        _print_pieces(render(predictions, output.value))


def _print_pieces(pieces: Iterable[str]) -> None:
    """Print text that may hold lone surrogates, each piece when it is there."""
    for piece in pieces:
        sys.stdout.buffer.write(piece.encode("utf-8", "backslashreplace"))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
