"""Alternating benchmark: all sides do the same work in turns, and ratios are of their medians."""

import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Side:
    """One of the compared methods.

    Args:
        name: name in the table.
        run: runs one round and returns its seconds, without loading and warm-up.
        words: words labeled or trained on in one round.
        note: note for the table.
        tokens: tokens of these words, with special tokens and without padding; 0 if not needed.
    """

    name: str
    run: Callable[[], float]
    words: int
    note: str = ""
    tokens: int = 0


def alternate(
    sides: Sequence[Side], *, rounds: int, say: Callable[[str], None] = print
) -> list[dict[str, Any]]:
    """Run every side once to warm up, then alternately; return one row per side, with ratios to the first.

    Args:
        sides: the sides; the first is the baseline.
        rounds: number of rounds of each side.
        say: called with a line of text after each round.
    """
    for side in sides:
        side.run()
    speeds: dict[str, list[float]] = {side.name: [] for side in sides}
    for number in range(rounds):
        # Every second round is in reverse order, so that a slow drift of the machine's speed cancels out.
        for side in sides if number % 2 == 0 else list(reversed(sides)):
            speeds[side.name].append(side.words / side.run())
        line = ", ".join(f"{name} {values[-1]:.0f}" for name, values in speeds.items())
        say(f"round {number + 1} of {rounds}, words per second: {line}")
    base = median(speeds[sides[0].name])
    return [
        {
            "side": side.name,
            "note": side.note,
            "words_per_second": round(median(speeds[side.name]), 1),
            "rounds": [round(value, 1) for value in speeds[side.name]],
            "tokens_per_second": round(median(speeds[side.name]) * side.tokens / side.words, 1),
            "ratio": round(median(speeds[side.name]) / base, 2),
        }
        for side in sides
    ]


def timed(work: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the seconds of `work`, including pending work of a GPU.

    Args:
        work: what is timed.
        clock: `time.process_time` for the time of the processor, which does not count other programs.
    """
    import torch

    synchronize = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    synchronize()
    start = clock()
    work()
    synchronize()
    return clock() - start


def matmul_limit(shapes: Sequence[tuple[int, int]], tokens: int, dtype: Any, device: str) -> float:
    """Return the seconds of the matrix products alone in one forward pass over `tokens` tokens.

    The faster of torch's own library and oneDNN (if lookboth would use it) counts.

    Args:
        shapes: (in, out) of every linear layer of the model.
        tokens: rows of the left matrix.
        dtype, device: data type and device of both matrices.
    """
    import torch
    from torch import nn

    from lookboth.models.products import use_faster_products

    total = 0.0
    for shape in sorted(set(shapes)):
        states = torch.randn(tokens, shape[0], dtype=dtype, device=device)
        layers = nn.ModuleList(nn.Linear(*shape, bias=False, dtype=dtype, device=device) for _ in range(2))
        use_faster_products(layers[:1])
        best = float("inf")
        with torch.inference_mode():
            for layer in layers:
                layer(states)
                best = min([best, *(timed(lambda one=layer, x=states: one(x)) for _ in range(5))])
        total += best * sum(shape == other for other in shapes)
    return total


def write_result(file: Path, *, work: str, tables: dict[str, Any]) -> None:
    """Write the tables as JSON, with machine, versions and commit."""
    from lookboth.evaluation.provenance import git_commit, installed_versions, machine_facts

    file.parent.mkdir(parents=True, exist_ok=True)
    result = {
        "work": work,
        "machine": {**machine_facts(), "processor": platform.processor()},
        "versions": installed_versions(),
        "commit": git_commit(),
        "tables": tables,
    }
    file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
