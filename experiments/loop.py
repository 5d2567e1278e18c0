"""From label names to training data, in rounds: python experiments/loop.py OPEN_LABELER --data DATA --out runs/loop

Each round
1. selects texts with `suggest`, by the labeler of the round before (first the open labeler), or at random,
2. annotates them: the held gold labels, with an error in a share of the spans (--errors),
3. audits the annotated sentences with the open labeler, which was not trained on them, and corrects the first findings
   that are errors, as a reviewer would,
4. trains an ordinary labeler from the label vectors of the open labeler on all annotated sentences,
5. scores it on test data.

The result is OUT/loop.json and a plot of F1 against annotated sentences, beside random choice.
"""

import argparse
import importlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random

from lookboth.audit.auditing import audit_data
from lookboth.audit.findings import Finding
from lookboth.audit.rendering import replace_spans
from lookboth.config.recipe_files import parse_config
from lookboth.data.conversion.writing import write_data
from lookboth.data.label_texts import LabelText, describe_labels
from lookboth.data.sources import read_source
from lookboth.errors import LookbothError
from lookboth.evaluation.evaluate import evaluate_labeler
from lookboth.files import write_json
from lookboth.inference.suggestions import suggest
from lookboth.labelers.folders import find_folder
from lookboth.labelers.labeler import Labeler
from lookboth.progress import progress_to
from lookboth.quiet import quiet_libraries
from lookboth.run_folder import RunFolder
from lookboth.training.training_runs import train
from lookboth.types import Dataset, Example, Span

CHOICES = ("suggest", "random")


@dataclass(frozen=True)
class Round:
    """The state after a round: number of annotated sentences, errors found by the audit, F1 on test data."""

    choice: str
    sentences: int
    errors: int
    corrected: int
    f1: float


@dataclass(frozen=True)
class Task:
    """What a loop is run on.

    Args:
        labeler: folder of the open labeler.
        labels: the labels, each as "name" or "name: description".
        pool: sentences with their gold labels, which are held back until they are annotated.
        test: sentences for the score.
        errors: share of the sentences with spans that get an annotation error.
        size: sentences per round.
        settings: recipe keys of the trainings, as key=value.
    """

    labeler: Path
    labels: Sequence[str]
    pool: Sequence[Example]
    test: Sequence[Example]
    errors: float
    size: int
    settings: Sequence[str] = ()


def run_loop(task: Task, choice: str, rounds: int, out: Path, seed: int = 0) -> list[Round]:
    """Return the state after each round; repeated with the same `out`, finished trainings are not repeated.

    Args:
        task: what the loop is run on.
        choice: one of CHOICES.
        rounds: number of rounds.
        out: folder for the data and runs of each round.
        seed: seed of the random choice and of the annotation errors.
    """
    named = Labeler.from_pretrained(task.labeler).with_labels(task.labels)
    f1 = 100 * evaluate_labeler(named, task.test, interval=False).scores.headline
    done, annotated, labeler = [Round(choice, 0, 0, 0, f1)], dict[int, Example](), named
    for number in range(1, rounds + 1):
        folder = out / choice / f"round-{number}"
        chosen = choose(task, labeler, annotated, choice, seed + number)
        annotated |= {index: annotate(task, index, seed) for index in chosen}
        corrected = review(task, annotated, folder)
        labeler = train_round(task, annotated, folder, seed)
        f1 = 100 * evaluate_labeler(labeler, task.test, interval=False).scores.headline
        wrong = sum(example.spans != task.pool[index].spans for index, example in annotated.items())
        done.append(Round(choice, len(annotated), wrong, corrected, f1))
        print(done[-1], flush=True)
    return done


def choose(task: Task, labeler: Labeler, annotated: dict[int, Example], choice: str, seed: int) -> list[int]:
    """Return the indices of the sentences to annotate next."""
    left = [index for index in range(len(task.pool)) if index not in annotated]
    if choice == "random":
        return Random(seed).sample(left, min(task.size, len(left)))
    places = {task.pool[index].words: index for index in reversed(left)}
    texts = [Example(task.pool[index].words) for index in left]
    found = suggest(labeler, texts, num_texts=task.size)
    return [places[suggestion.prediction.words] for suggestion in found]


def annotate(task: Task, index: int, seed: int) -> Example:
    """Return a sentence with its gold labels, one of them wrong in a share of the sentences."""
    example, rng = task.pool[index], Random(f"{seed} {index}")
    if not example.spans or rng.random() >= task.errors:
        return example
    wrong = rng.choice(example.spans)
    kept = [span for span in example.spans if span != wrong]
    names = sorted({LabelText.parse(text).name for text in task.labels} - {wrong.label})
    # Half of the errors are missed spans, the others wrong labels.
    if names and rng.random() < 0.5:
        kept.append(wrong._replace(label=rng.choice(names)))
    return replace(example, spans=tuple(sorted(kept)))


def review(task: Task, annotated: dict[int, Example], folder: Path, most: int = 10) -> int:
    """Audit the annotated sentences and correct the first findings that are errors; return the number of corrections.

    A finding is corrected to the gold labels, as a reviewer who looks at it would.
    """
    if not any(example.spans for example in annotated.values()):
        return 0
    data, order = write_annotated(annotated, folder), list(annotated)
    config = parse_config({"data": {"train": str(data)}})
    result = audit_data(config, folder / "audit", labeler=str(task.labeler))
    corrected = 0
    for finding in result.findings[:most]:
        index = order[finding.sentence]
        after = _reviewed(annotated[index], task.pool[index], finding)
        corrected += after != annotated[index].spans
        annotated[index] = replace(annotated[index], spans=after)
    return corrected


def _reviewed(example: Example, gold: Example, finding: Finding) -> tuple[Span, ...]:
    """Return the spans of a sentence with the gold spans in the words of a finding."""
    first, end = finding.words_range
    right = [span for span in gold.spans if span.start < end and first < span.end]
    others = [
        span for span in example.spans if all(span.end <= r.start or r.end <= span.start for r in right)
    ]
    found = replace_spans(others, [replace(finding, suggested=())])
    return tuple(sorted({*found, *right}))


def write_annotated(annotated: dict[int, Example], folder: Path) -> Path:
    """Write the annotated sentences to a file and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "annotated.jsonl"
    write_data(Dataset(list(annotated.values())), file)
    return file


def train_round(task: Task, annotated: dict[int, Example], folder: Path, seed: int) -> Labeler:
    """Train an ordinary labeler that begins at the label vectors of the open one, on all annotated sentences."""
    names = dict(map(LabelText.parse, task.labels))
    recipe = {
        "start": {"labeler": str(task.labeler)},
        "head": {"kind": "linear"},
        "labels": names,
        "data": {"train": str(write_annotated(annotated, folder)), "test": []},
        "training": {"seeds": [seed]},
    }
    (run,) = train(parse_config(recipe, task.settings), folder / "run")
    return Labeler.from_pretrained(RunFolder(run.folder).labeler)


def load_task(
    labeler: Path, data: str, *, test: str, errors: float, size: int, settings: Sequence[str]
) -> Task:
    """Return the task of a loop on a data set with gold labels."""
    pool, held = read_source(data, "train").examples, read_source(f"{data}:{test}").examples
    names = sorted({label for example in pool for label in example.labels()})
    return Task(labeler, describe_labels(data, names), pool, held, errors, size, settings)


def plot(rounds: Sequence[Round], file: Path) -> None:
    """Draw F1 against annotated sentences."""
    pyplot = importlib.import_module("matplotlib.pyplot")
    for choice in CHOICES:
        own = [one for one in rounds if one.choice == choice]
        pyplot.plot([one.sentences for one in own], [one.f1 for one in own], marker="o", label=choice)
    pyplot.xlabel("annotated sentences")
    pyplot.ylabel("test F1")
    pyplot.legend()
    pyplot.savefig(file)
    pyplot.close()


def main() -> None:
    """Run the loop with both choices and write the curve."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("labeler", type=find_folder, help="folder, or a shipped one: open")
    parser.add_argument("--data", default="crossner_ai")
    parser.add_argument("--out", type=Path, default=Path("runs/loop"))
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--size", type=int, default=10, help="sentences per round")
    parser.add_argument("--errors", type=float, default=0.1, help="share of the sentences with an error")
    parser.add_argument("--test", default="test", help="part of the test split, for example 'test[:120]'")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", dest="settings", action="append", default=[])
    options = parser.parse_args()
    if min(options.rounds, options.size) < 1 or not 0 <= options.errors <= 1:
        parser.error("--rounds and --size are at least 1, --errors is between 0 and 1")
    quiet_libraries()
    task = load_task(
        options.labeler,
        options.data,
        test=options.test,
        errors=options.errors,
        size=options.size,
        settings=options.settings,
    )
    file = options.out / "loop.json"
    found: dict[str, list[Round]] = {}
    for choice in CHOICES:
        with progress_to(print):
            found[choice] = run_loop(task, choice, options.rounds, options.out, options.seed)
        # After each choice, so that an interrupted run leaves one curve.
        write_json(file, [asdict(one) for rounds in found.values() for one in rounds])
    plot([one for rounds in found.values() for one in rounds], file.with_suffix(".svg"))


if __name__ == "__main__":
    try:
        main()
    except LookbothError as error:
        raise SystemExit(f"error: {error}") from None
