"""Ratios that last: all sides do the same work in turns, in one run; the ratio is of their medians."""

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
    """One way of doing the work.

    Args:
        name: as in the table.
        run: does one round and returns the seconds that count (loading and warming up left out).
        words: words labeled or trained on in one round.
        note: what else should be known of it.
        tokens: of those words, special tokens included and padding not; 0 where nobody asks.
    """

    name: str
    run: Callable[[], float]
    words: int
    note: str = ""
    tokens: int = 0


def alternate(
    sides: Sequence[Side], *, rounds: int, say: Callable[[str], None] = print
) -> list[dict[str, Any]]:
    """Run every side once to warm up, then in turns; return a row a side, ratios against the first.

    Args:
        sides: the first is the baseline.
        rounds: turns of each side.
        say: told of each round.
    """
    for side in sides:
        side.run()
    speeds: dict[str, list[float]] = {side.name: [] for side in sides}
    for number in range(rounds):
        for side in sides if number % 2 == 0 else list(reversed(sides)):
            speeds[side.name].append(side.words / side.run())
        line = ", ".join(f"{name} {values[-1]:.0f}" for name, values in speeds.items())
        say(f"round {number + 1} of {rounds}, words a second: {line}")
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


def timed(work: Callable[[], Any]) -> float:
    """Return the seconds `work` took, a GPU's pending work included."""
    import torch

    synchronize = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    synchronize()
    start = time.perf_counter()
    work()
    synchronize()
    return time.perf_counter() - start


def matmul_limit(shapes: Sequence[tuple[int, int]], tokens: int, dtype: Any, device: str) -> float:
    """Return the seconds that the bare matrix products of one forward pass over `tokens` tokens need.

    Of torch's own library and oneDNN, where lookboth would take that, the faster one counts.

    Args:
        shapes: (in, out) of every linear layer of the model.
        tokens: rows of the left matrix.
        dtype, device: of both.
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
    """Write the tables with the machine and the versions they are from."""
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
