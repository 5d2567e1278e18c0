"""Scores and gains by model size: python experiments/scale_effects.py runs/scale --out DIR

Reads the study recipes/studies/scale.toml, finished or not, and writes one table and one figure per data set. The
table has the mean test score of each method and model. The figure has the scores by model size, and what unmasking
gains over the causal baselines. Only settings with at least one finished seed appear.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lookboth.evaluation.seeds import MeanAndSd
from lookboth.reporting.comparisons import Gain, compare_with_baselines
from lookboth.reporting.results import DataResults, Result, read_results
from lookboth.reporting.style import COLORS, GREY, LINES, MARKERS, Plot, panels, plot_style, share_legend
from lookboth.reporting.table_markup import Table, to_markdown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Parameters in millions, embeddings included, by the name of the model in the study.
SIZES = {"135m": 135, "270m": 268, "500m": 494, "1500m": 1544}
BASELINES = ("causal_first", "causal_last")
UNMASKED = "upper_half"
ENCODERS = ("minilm", "mpnet")


def main() -> None:
    """Read the study and write tables and figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="folder of the study")
    parser.add_argument("--out", type=Path, default=None, help="folder for the tables and figures")
    options = parser.parse_args()
    for data in read_results(options.runs).data:
        gains = {baseline: gains_over(options.runs, data.name, baseline) for baseline in BASELINES}
        text = "\n".join(to_markdown(table) for table in (scores(data), gain_table(gains)))
        print(f"## {data.name}\n\n{text}")
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
            (options.out / f"{data.name}.md").write_text(text, encoding="utf-8")
            draw(data, gains).save(options.out, options.out)


def scores(data: DataResults) -> Table:
    """Return the mean test score of each method by model, with the chosen learning rate."""
    results = {(result.method, result.model): result for result in data.results}
    models = [model for model in SIZES if any(result.model == model for result in data.results)]
    methods = list(dict.fromkeys(result.method for result in data.results if result.model in SIZES))
    rows = [[m, *(cell(results.get((m, model))) for model in models)] for m in methods]
    for result in data.results:
        if result.method in ENCODERS:
            rows.append([f"{result.method} (encoder)", *([cell(result)] + [""] * (len(models) - 1))])
    caption = f"{data.name}: test {data.metric} (%), mean ± sd over seeds (their number), learning rate chosen on dev."
    return Table("scores", caption, ("method", *models), rows, [])


def cell(result: Result | None) -> str:
    """Return a score with its spread, the number of seeds and the learning rate; "" without one."""
    if result is None or result.test_mean is None:
        return ""
    return f"{points(result.test_mean)} ({len(result.tests)}), {result.group.config['training']['lr']:g}"


def points(mean: MeanAndSd) -> str:
    """Return mean and sd in points."""
    return f"{100 * mean.mean:.1f}" + ("" if mean.sd is None else f" ± {100 * mean.sd:.1f}")


def gains_over(runs: Path, name: str, baseline: str) -> list[Gain]:
    """Return the comparisons of the methods on one data set with a baseline of the same model, by size."""
    known = {result.method for data in read_results(runs).data for result in data.results}
    if baseline not in known:
        return []
    data = [data for data in read_results(runs, baseline=baseline).data if data.name == name]
    found = [gain for gain in compare_with_baselines(data) if gain.result.model == gain.baseline.model]
    return sorted((gain for gain in found if gain.result.model in SIZES), key=lambda g: SIZES[g.result.model])


def gain_table(gains: Mapping[str, Sequence[Gain]]) -> Table:
    """Return the gains of every method over both baselines, with intervals over seeds and over test sentences."""
    rows = [
        [
            gain.result.model,
            gain.result.method,
            baseline,
            f"{100 * gain.seeds.difference:+.1f}",
            *intervals(gain),
        ]
        for baseline, of_baseline in gains.items()
        for gain in of_baseline
    ]
    columns = ("model", "method", "baseline", "gain", "95 % over seeds", "95 % over sentences")
    return Table(
        "gains", "Points gained over a baseline of the same model.", columns, rows, [], num_headers=3
    )


def intervals(gain: Gain) -> tuple[str, str]:
    """Return the intervals of a gain over seeds and over test sentences, in points; "" where there is none."""
    seeds, sentences = gain.seeds.interval, gain.sentences
    return tuple(
        "" if found is None else f"{100 * found.low:+.1f} to {100 * found.high:+.1f}"
        for found in (seeds, sentences)
    )


def draw(data: DataResults, gains: Mapping[str, Sequence[Gain]]) -> Plot:
    """Draw scores by model size, one line per method, and the gain of unmasking by model size."""
    with plot_style():
        figure, (left, right) = panels(["score by model size", f"gain of {UNMASKED}"], height=3.2)
        draw_scores(left, data)
        draw_gains(right, gains)
        for axis in (left, right):
            axis.set_xscale("log")
            axis.set_xticks(list(SIZES.values()), [f"{size}M" for size in SIZES.values()])
            axis.minorticks_off()
            axis.set_xlabel("parameters")
        share_legend(figure, [left])
    return Plot(
        figure,
        data.name,
        f"Scores on {data.name} by model size, and the gain of unmasking the upper half of the layers.",
        "Left: mean over seeds, bars are one sd. Right: bars are 95 % bootstrap intervals over test sentences.",
    )


def draw_scores(axis: "Axes", data: DataResults) -> None:
    """Draw the mean test score of each method by model size, and that of each encoder as a line."""
    methods = dict.fromkeys(result.method for result in data.results if result.model in SIZES)
    for place, method in enumerate(methods):
        means = {r.model: r.test_mean for r in data.results if r.method == method and r.test_mean}
        shown = [
            (SIZES[model], 100 * means[model].mean, 100 * (means[model].sd or 0))
            for model in SIZES
            if model in means
        ]
        look = {"color": COLORS[place % 7], "marker": MARKERS[place % 7], "ls": LINES[place % 7]}
        sizes, middle, spread = zip(*shown, strict=True)
        axis.errorbar(sizes, middle, spread, label=method, capsize=2, **look)
    for place, result in enumerate(r for r in data.results if r.method in ENCODERS and r.test_mean):
        axis.axhline(100 * result.test_mean.mean, label=result.method, color=GREY, ls=LINES[place + 2])
    axis.set_ylabel(f"test {data.metric} (%)")


def draw_gains(axis: "Axes", gains: Mapping[str, Sequence[Gain]]) -> None:
    """Draw what unmasking gains over each baseline, by model size."""
    for place, (baseline, of_baseline) in enumerate(gains.items(), 1):
        chosen = [gain for gain in of_baseline if gain.result.method == UNMASKED and gain.sentences]
        middle = [100 * gain.sentences.difference for gain in chosen]
        bounds = [
            [m - 100 * gain.sentences.low for m, gain in zip(middle, chosen, strict=True)],
            [100 * gain.sentences.high - m for m, gain in zip(middle, chosen, strict=True)],
        ]
        # Slightly apart, so that the bars of the baselines do not hide each other.
        sizes = [SIZES[gain.result.model] * (1 + 0.03 * place) for gain in chosen]
        look = {"color": COLORS[place], "marker": MARKERS[place]}
        axis.errorbar(sizes, middle, bounds, label=f"over {baseline}", capsize=2, **look)
    axis.axhline(0, color=GREY, lw=0.8)
    axis.set_ylabel("points gained")
    axis.legend()


if __name__ == "__main__":
    main()
