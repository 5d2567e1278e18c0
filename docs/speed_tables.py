"""The tables of docs/speed.md, from the committed results of experiments/bench."""

import json
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

RESULTS = Path(__file__).resolve().parent.parent / "experiments" / "results"
MACHINES = {"bench/cpu.json": "AMD EPYC, AVX-512", "bench/cpu_amx.json": "Intel Xeon, AMX"}


def speed_table(kind: str) -> str:
    """Return words a second of every side of one table of the benchmark, as a multiple of the first, by machine.

    Args:
        kind: "training" or "prediction".
    """
    by_machine = [{row["side"]: row for row in _result(file)["tables"][kind]} for file in MACHINES]
    titles = "".join(f" {title}: words/s | ratio | of the products' limit |" for title in MACHINES.values())
    lines = [f"| side | what it does |{titles}", "|---|---|" + "--:|--:|--:|" * len(MACHINES)]
    for side, row in by_machine[0].items():
        cells = "".join(_speed_cells(rows.get(side)) for rows in by_machine)
        lines.append(f"| {side} | {row['note']} |{cells}")
    return "\n".join(lines)


def _speed_cells(row: dict[str, Any] | None) -> str:
    if row is None:
        return " | | |"
    share = f"{100 * row['share_of_limit']:.0f} %" if "share_of_limit" in row else ""
    return f" {row['words_per_second']:.0f} | {row['ratio']:.2f} | {share} |"


def growth_table() -> str:
    """Return how fast the shipped labeler is as its input grows, and models by size beside their limit."""
    tables = _result("bench/growth_cpu.json")["tables"]
    titles = {
        "text": ("words of one text", "words", "words/s"),
        "sentence": ("tokens of a sentence", "tokens", "tokens/s"),
        "batch": ("tokens of a batch", "tokens", "words/s"),
    }
    lines = ["| | | |", "|---|---|---|"]
    for name, (title, key, unit) in titles.items():
        at = ", ".join(f"{row[key]:,}: {row['per_second']:,.0f}" for row in tables[name])
        lines.append(f"| {title} | {unit} | {at} |")
    at = ", ".join(
        f"{row['size']}: {row['per_second']:,.1f} of {row['limit']:,.1f}" for row in tables["model"]
    )
    lines.append(f"| model size | tokens/s, of what the products allow | {at} |")
    return "\n".join(lines)


def real_growth_table() -> str:
    """Return speed and memory of the labeler `fast` by length of a text, and of models with their own weights."""
    tables = _result("bench/growth_real_cpu.json")["tables"]
    lines = ["| | | words or tokens per second of the processor | memory, MB |", "|---|---|--:|--:|"]
    for row in tables["text"]:
        lines.append(
            f"| `fast` | a text of {row['words']:,} words | {row['per_second']:,.0f} | +{row['megabytes']:,.0f} |"
        )
    for row in tables["real"]:
        memory = f"{row['weights']:,.0f} +{row['megabytes']:,.0f}"
        lines.append(
            f"| {row['size']} | a batch of {row['tokens']:,} tokens | {row['per_second']:,.0f} | {memory} |"
        )
    return "\n".join(lines)


def tagger_table() -> str:
    """Return words per second and peak memory of lookboth and taggers of other libraries."""
    lines = [
        "| tagger | what it is | batched: words/s | ratio | one by one: words/s | ratio | peak memory, MB |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    tables = _result("bench/taggers_cpu.json")["tables"]
    # The pipeline is in both groups.
    for row in tables["lookboth"] + tables["others"][1:]:
        cells = " | ".join(
            f"{row[mode]['words_per_second']:,.0f} | {row[mode]['ratio']:.1f}"
            for mode in ("batched", "one by one")
        )
        lines.append(f"| {row['side']} | {row['note']} | {cells} | {row['megabytes']:,} |")
    return "\n".join(lines)


def equal_f1_table() -> str:
    """Return how long each side trained, its best dev F1, and how much sooner it was as good as the usual way."""
    lines = [
        "| processor, side | seconds of training, 3 seeds | best dev F1 | as good as the usual way, times as fast |",
        "|---|--:|--:|--:|",
    ]
    for file, machine in MACHINES.items():
        by_side: dict[str, list[dict[str, Any]]] = {}
        for row in _result(file.replace("bench/", "bench/equal_f1_"))["tables"]["compared"]:
            by_side.setdefault(row["side"], []).append(row)
        lines += [f"| {machine}: {_equal_f1_cells(side, runs)} |" for side, runs in by_side.items()]
    return "\n".join(lines)


def _equal_f1_cells(side: str, runs: list[dict[str, Any]]) -> str:
    seconds = mean_and_sd([run["seconds"] for run in runs], best=False)
    best = mean_and_sd([100 * run["best_dev_f1"] for run in runs], best=False)
    ratios = (run["times_as_fast"] for run in runs)
    sooner = ", ".join("not reached" if ratio is None else f"{ratio:.1f}" for ratio in ratios)
    return f"{side} | {seconds} | {best} | {sooner}"


def mean_and_sd(values: list[float], *, best: bool) -> str:
    """Return mean ± standard deviation of values, in bold for the best."""
    mean = f"{fmean(values):.1f}"
    spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return f"**{mean}**{spread}" if best else f"{mean}{spread}"


def _result(file: str) -> Any:
    return json.loads((RESULTS / file).read_text(encoding="utf-8"))
