"""Time of one text at a time in the plain and in the fast form: python experiments/bench/latency.py OUT.json"""

import argparse
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from alternate import write_result

from lookboth.data.sources import read_source
from lookboth.labelers.labeler import Labeler
from lookboth.quiet import quiet_libraries

WORDS = 20
SENTENCES = 40


def main() -> None:
    """Time every side on the same sentences in turns, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rounds", type=int, default=10, help=f"rounds of {SENTENCES} sentences")
    parser.add_argument("--precisions", nargs="+", default=["bf16"])
    options = parser.parse_args()
    quiet_libraries()
    texts = sentences()
    sides = {name: side for precision in options.precisions for name, side in sides_of(precision).items()}
    rows = time_each(sides, texts, rounds=options.rounds)
    for row in rows:
        print(row)
    work = f"shipped labeler, one sentence of {WORDS} words at a time, {SENTENCES} sentences"
    write_result(options.out, work=work, tables={"latency": rows})


def sentences() -> list[str]:
    """Return sentences of 20 words of raw text."""
    examples = read_source("wnut17", "dev").examples
    words = [word for example in examples for word in example.words]
    return [" ".join(words[start : start + WORDS]) for start in range(0, WORDS * SENTENCES, WORDS)]


def sides_of(precision: str) -> dict[str, Callable[[str], Any]]:
    """Return the ways to label a text: the plain form, the fast form, and reading the weights without computing."""
    plain, fast = (Labeler.from_pretrained(device="cpu", precision=precision) for _ in range(2))
    plain.model.fast_form = None
    weights = [m.weight for m in fast.model.backbone.modules() if isinstance(m, torch.nn.Linear)]
    return {
        f"{precision}, plain form": plain.predict,
        f"{precision}, fast form": fast.predict,
        f"{precision}, all weights read once": lambda _: _read(weights),
    }


def time_each(
    sides: dict[str, Callable[[str], Any]], texts: Sequence[str], *, rounds: int
) -> list[dict[str, Any]]:
    """Return the median and the 99th percentile of each side, in milliseconds; the sides alternate text by text."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(rounds + 1):
        for text in texts:
            random.shuffle(names)
            for name in names:
                start = time.perf_counter()
                sides[name](text)
                # The first round warms up.
                if number:
                    times[name].append(1000 * (time.perf_counter() - start))
    return [
        {"side": name, "p50_ms": _percentile(values, 50), "p99_ms": _percentile(values, 99)}
        for name, values in times.items()
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
