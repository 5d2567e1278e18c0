"""Time of one text at a time in the forms that a user can choose: python experiments/bench/latency.py OUT.json

Sides are the shipped labelers in torch, plain and in the fast form, and outputs of `lookboth export`:
`--models shipped turbo --exported turbo-int8 turbo-fp32 --threads 1`.
"""

import argparse
import os
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from alternate import write_result

from lookboth.data.sources import read_source
from lookboth.labelers.labeler import Labeler
from lookboth.onnx import OnnxLabeler
from lookboth.quiet import quiet_libraries

WORDS = 20
SENTENCES = 40


def main() -> None:
    """Time every side on the same sentences in turns, print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rounds", type=int, default=5, help=f"rounds of {SENTENCES} sentences")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--models", nargs="+", default=["shipped"], help="shipped labelers, in torch")
    parser.add_argument("--precisions", nargs="+", default=["bf16", "fp32"], help="of the shipped labelers")
    parser.add_argument("--exported", nargs="*", type=Path, default=[], help="outputs of lookboth export")
    options = parser.parse_args()
    quiet_libraries()
    if options.threads:
        torch.set_num_threads(options.threads)
    texts = sentences()
    one_by_one: dict[str, Callable[[Any], Any]] = {}
    for model in options.models:
        for precision in options.precisions:
            one_by_one |= sides_of(model, precision)
    for folder in options.exported:
        one_by_one[f"{folder.name}, onnxruntime"] = exported_side(folder, options.threads)
    batched = {name: side for name, side in one_by_one.items() if not name.endswith("read once")}
    tables = {
        "one by one": time_each(one_by_one, texts, rounds=options.rounds),
        "at once": time_each(batched, [texts], rounds=options.rounds),
    }
    for name, rows in tables.items():
        print(name, *rows, sep="\n")
    work = (
        f"{', '.join(options.models)}: {SENTENCES} sentences of {WORDS} words, one at a time and at once, "
        f"{torch.get_num_threads()} threads, load average {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores"
    )
    write_result(options.out, work=work, tables=tables)


def sentences() -> list[str]:
    """Return sentences of 20 words of raw text."""
    examples = read_source("wnut17", "dev").examples
    words = [word for example in examples for word in example.words]
    return [" ".join(words[start : start + WORDS]) for start in range(0, WORDS * SENTENCES, WORDS)]


def sides_of(model: str, precision: str) -> dict[str, Callable[[Any], Any]]:
    """Return the ways to label a text: the plain form, the fast form, and reading the weights without computing."""
    name = None if model == "shipped" else model
    plain, fast = (Labeler.from_pretrained(name, device="cpu", precision=precision) for _ in range(2))
    plain.model.fast_form = None
    weights = [m.weight for m in fast.model.backbone.modules() if isinstance(m, torch.nn.Linear)]
    return {
        f"{model} {precision}, plain form": plain.predict,
        f"{model} {precision}, fast form": fast.predict,
        f"{model} {precision}, all weights read once": lambda _: _read(weights),
    }


def exported_side(folder: Path, threads: int | None) -> Callable[[Any], Any]:
    """Return the way to label a text with onnxruntime."""
    return OnnxLabeler.from_pretrained(folder, threads=threads).predict


def time_each(
    sides: dict[str, Callable[[Any], Any]], inputs: Sequence[Any], *, rounds: int
) -> list[dict[str, Any]]:
    """Return the milliseconds of each side per input; the sides alternate input by input.

    The time of the processor does not count other programs, the time on the clock does.
    """
    clock: dict[str, list[float]] = {name: [] for name in sides}
    processor: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(rounds + 1):
        for given in inputs:
            random.shuffle(names)
            for name in names:
                start = time.perf_counter(), time.process_time()
                sides[name](given)
                # The first round warms up.
                if number:
                    clock[name].append(1000 * (time.perf_counter() - start[0]))
                    processor[name].append(1000 * (time.process_time() - start[1]))
    base = median(processor[next(iter(sides))])
    return [
        {
            "side": name,
            "p50_ms": _percentile(clock[name], 50),
            "p99_ms": _percentile(clock[name], 99),
            "processor_ms": round(median(processor[name]), 1),
            "ratio": round(base / median(processor[name]), 2),
        }
        for name in sides
    ]


def _percentile(values: Sequence[float], percent: int) -> float:
    return round(sorted(values)[min(len(values) - 1, len(values) * percent // 100)], 1)


def _read(weights: Sequence[torch.Tensor]) -> None:
    with torch.inference_mode():
        for weight in weights:
            weight.view(torch.int64).sum()


if __name__ == "__main__":
    random.seed(0)
    main()
