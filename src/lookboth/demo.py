"""The demo: labels text with the shipped labeler, scores it, and trains with and without the causal mask."""

import io
import sys
import time
from pathlib import Path

from lookboth.config import RunConfig, parse_config
from lookboth.progress import progress_to
from lookboth.quiet import quiet_libraries
from lookboth.types import Prediction

SENTENCES = (
    "Marie Curie left Warsaw in 1891 and taught at the University of Paris.",
    "After the match in Zagreb, Luka Modrić thanked Real Madrid's doctors.",
    "The will to win is not the same as Will Smith winning in Los Angeles.",
    "Shares of Ericsson fell in Stockholm, while Nokia 📈 gained in Helsinki.",
)
TEXT_FILE = Path(__file__).parent / "data" / "builtin" / "demo.txt"
TEST_SET = "uner_en_pud"
TRAIN_SET = "mams_absa"  # the opinion about a dish often follows it, so right context helps early in training
PLANS = ("causal", "0011")


def run_demo(out: str | Path, *, train: bool = True) -> None:
    """Run the demo and print its output: on real text, a real test split and a short training.

    Args:
        out: folder for the runs; an interrupted demo resumes from there.
        train: also train; without training the demo takes about a minute.
    """
    quiet_libraries()
    # The first heading appears before the labeler is loaded also where the output is a pipe.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    started = time.monotonic()
    show_shipped_labeler()
    if train:
        compare_plans(Path(out))
    print(f"\nDone in {(time.monotonic() - started) / 60:.1f} minutes.")


def show_shipped_labeler() -> None:
    """Label sentences and a file with the shipped labeler and score it on a test set it was not trained on."""
    from lookboth.evaluation import evaluate_on
    from lookboth.inference import render
    from lookboth.labelers import Labeler

    print("== 1. Labels of the shipped labeler (PER, LOC, ORG), as text ==\n")
    labeler = Labeler.from_pretrained()
    print("".join(render(labeler.predict(SENTENCES), "text")))
    print(f"== 2. A file ({TEXT_FILE.name}), as JSONL with character offsets ==\n")
    predictions: list[Prediction] = labeler.predict(TEXT_FILE.read_text(encoding="utf-8").splitlines())
    print("".join(render(predictions, "jsonl")))
    print(f"== 3. Its score on {TEST_SET} (news and Wikipedia, not part of its training data) ==\n")
    clock = time.monotonic()
    evaluation = evaluate_on(TEST_SET)
    seconds = time.monotonic() - clock
    print(evaluation.describe())
    words = sum(len(example.words) for example in evaluation.examples)
    print(f"{words:,} words in {seconds:.0f} s, loading included ({words / seconds:,.0f} words per second)\n")


def compare_plans(out: Path) -> None:
    """Train the same labeler with the causal mask and with the upper half of the layers unmasked."""
    from lookboth.training import train

    print("== 4. A short training on aspect terms with polarity (MAMS restaurant reviews): the causal mask")
    print("      compared with bidirectional attention in the upper half of the layers ==\n")
    rows = []
    for plan in PLANS:
        print(f"-- plan {plan}")
        clock = time.monotonic()
        with progress_to(_print_steps):
            run = train(demo_config(plan), out / plan)[0]
        test = next(iter(run.tests.values()))
        low, high = test.interval or (0.0, 0.0)
        rows.append(
            f"{plan:<8} {100 * run.dev.scores.headline:>7.1f} {100 * test.scores.headline:>8.1f}   "
            f"{100 * low:.1f} to {100 * high:.1f}   {(time.monotonic() - clock) / 60:>5.1f} min"
        )
    print("\nplan      dev F1  test F1   95 % interval  time")
    print("\n".join(rows))
    print(
        "\nOne seed and 1,500 of 4,297 sentences: a demonstration, not a result. On other tasks and budgets the\n"
        "causal mask can be better (README). Recipes for real runs: recipes/."
    )


def _print_steps(line: str) -> None:
    """Print the progress of the steps; the other messages of a training would hide the comparison."""
    if line.startswith("step"):
        print(line)


def demo_config(plan: str) -> RunConfig:
    """Return the recipe of the demo's training; only the plan differs between the two runs."""
    return parse_config(
        {
            "model": "smollm2-135m",
            "plan": plan,
            "data": {"train": TRAIN_SET, "max_train_sentences": 1500},
            # The states of the lower half are computed once.
            "adapter": {"layers": "top:15"},
            "training": {"epochs": 2, "evals_per_epoch": 0, "batch_tokens": 512},
        }
    )
