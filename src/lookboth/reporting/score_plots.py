"""Plots of scores: F1 by plan, gain over the baseline, and dev score during training."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lookboth.evaluation import mean_and_sd
from lookboth.reporting.comparisons import Gain, Verdict
from lookboth.reporting.plan_families import PlanFamily
from lookboth.reporting.results import DataResults, Result
from lookboth.reporting.style import COLORS, GREY, LINES, MARKERS, Plot, panels, plot_style, share_legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CHOSEN = COLORS[1]
# Methods per panel of learning curves.
_LINES = 4
_VERDICTS = {
    Verdict.better: (COLORS[2], "o"),
    Verdict.worse: (COLORS[1], "D"),
    Verdict.unsure: (COLORS[4], "s"),
    Verdict.noise: (GREY, "o"),
    Verdict.unknown: (GREY, "X"),
}


def plot_plans(families: Sequence[tuple[DataResults, PlanFamily]]) -> Plot | None:
    """Draw dev and test scores by plan, with the spread over seeds and the dev choice.

    Args:
        families: data set and plan family of each panel.
    """
    shown = [(data, family) for data, family in families if len(family.results) > 2]
    if not shown:
        return None
    models = {family.model for _, family in shown}
    with plot_style():
        figure, axes = panels([_title(data, family.model, models) for data, family in shown], height=3.1)
        for axis, (data, family) in zip(axes, shown, strict=True):
            _draw_plans(axis, data, family)
        share_legend(figure, axes, columns=5)
    choices = "; ".join(f"{data.name}: {family.chosen}" for data, family in shown)
    return Plot(
        figure,
        "plans",
        f"Scores by mask plan, one panel per data set. Chosen on dev: {choices}. The table of scores has all values.",
        "Score by mask plan. The leftmost bit stands for the layers nearest the input; 1: causal mask removed. Filled: "
        "mean on test data with its sd over seeds; grey: single seeds; open: mean on dev data. The shaded plan was "
        "chosen on dev data.",
    )


def plot_gains(gains: Sequence[Gain]) -> Plot | None:
    """Draw the gain of every method over the baseline with both intervals."""
    data = list(dict.fromkeys(gain.data for gain in gains))
    if not data:
        return None
    most = max(sum(gain.data is d for gain in gains) for d in data)
    seen = {gain.verdict for gain in gains}
    with plot_style():
        figure, axes = panels([d.name for d in data], height=0.9 + 0.19 * most)
        for axis, d in zip(axes, data, strict=True):
            _draw_gains(axis, [gain for gain in gains if gain.data is d])
            # Empty lines fix the order of the legend.
            for verdict, (color, marker) in _VERDICTS.items():
                axis.plot(
                    [], [], marker, color=color, ms=4.5, label=str(verdict) if verdict in seen else None
                )
        share_legend(figure, axes, columns=5)
    return Plot(
        figure,
        "gains",
        "Gain of each method over the baseline on test data, one panel per data set, with intervals. "
        "All values are in the table of comparisons.",
        "Test score minus that of the baseline, in points; † chosen on dev. Thick: 95 % interval over sentences. "
        "Thin: 95 % interval over seeds, which may exceed the panel if there are few seeds. Colour and shape show the "
        "verdict.",
    )


def plot_learning(data: Sequence[DataResults]) -> Plot | None:
    """Draw the dev score of the featured methods over the training steps."""
    curves = {d: {r: c for r in d.featured(_LINES) if (c := _curves(r))} for d in data}
    shown = [d for d, by_result in curves.items() if by_result]
    if not shown:
        return None
    with plot_style():
        figure, axes = panels([d.name for d in shown])
        for axis, d in zip(axes, shown, strict=True):
            for place, (result, by_seed) in enumerate(curves[d].items()):
                _draw_curve(axis, by_seed, place, d.label(result))
            axis.set(xlabel="optimizer steps", ylabel=f"dev {d.metric} (%)")
            axis.legend(fontsize=8)
    return Plot(
        figure,
        "learning",
        "Dev score over optimizer steps, one panel per data set; the best of each run is in the table of scores.",
        "Dev score during training: mean over seeds, with the range of the seeds shaded. Shown are the baseline, the "
        "method chosen on dev (†), and the next best on dev.",
    )


def _draw_plans(axis: "Axes", data: DataResults, family: PlanFamily) -> None:
    baseline = data.baselines.get(family.model)
    if baseline and baseline.test_mean:
        level = 100 * baseline.test_mean.mean
        axis.axhline(
            level, color=GREY, linestyle="--", linewidth=1, label=f"baseline on test ({baseline.method})"
        )
    plans = list(family.results)
    for place, (plan, result) in enumerate(family.results.items()):
        if plan == family.chosen:
            axis.axvspan(place - 0.45, place + 0.45, color=_CHOSEN, alpha=0.18, lw=0, label="chosen on dev")
        color = _CHOSEN if plan == family.chosen else COLORS[0]
        if result.test_mean is not None:
            mean, sd = result.test_mean
            seeds = [100 * score for score in result.tests.values()]
            axis.plot([place] * len(seeds), seeds, "o", color=GREY, ms=2.5, alpha=0.7, label="test, one seed")
            axis.errorbar(place, 100 * mean, 100 * (sd or 0), fmt="o", color=color, ms=5, capsize=2, lw=1.2)
            axis.plot([], [], "o", color=COLORS[0], ms=5, label="test, mean ± sd")
        if result.dev_mean is not None:
            at = (place + 0.28, 100 * result.dev_mean.mean)
            axis.plot(*at, "D", mfc="white", mec=COLORS[2], ms=4, label="dev, mean")
    axis.set_xticks(range(len(plans)), plans, rotation=90, family="monospace")
    axis.grid(axis="x", visible=False)
    axis.set(ylabel=f"{data.metric} (%)", xlim=(-0.7, len(plans) - 0.3))


def _draw_gains(axis: "Axes", gains: Sequence[Gain]) -> None:
    axis.axvline(0, color=COLORS[0], linewidth=1)
    extremes = [100 * gain.seeds.difference for gain in gains]
    for place, gain in enumerate(gains):
        color, marker = _VERDICTS[gain.verdict]
        if gain.seeds.interval is not None:
            axis.plot([100 * bound for bound in gain.seeds.interval], [place] * 2, color=color, lw=0.8)
        if gain.sentences is not None:
            ends = [100 * gain.sentences.low, 100 * gain.sentences.high]
            axis.plot(ends, [place] * 2, color=color, lw=2.6, alpha=0.55, solid_capstyle="butt")
            extremes += ends
        axis.plot(100 * gain.seeds.difference, place, marker, color=color, ms=4.5)
    # Intervals over few seeds may be very wide; they do not count for the limits of the axis.
    low, high = min(0.0, *extremes), max(0.0, *extremes)
    margin = 0.25 * (high - low) or 1.0
    axis.set(xlim=(low - margin, high + margin), ylim=(len(gains) - 0.4, -0.6), xlabel="points")
    axis.set_yticks(range(len(gains)), [gain.data.label(gain.result) for gain in gains])
    axis.grid(axis="y", visible=False)


def _curves(result: Result) -> list[Mapping[int, float]]:
    """Return the dev scores by step, for each seed with more than one score."""
    histories = [run.scores.get("history") or {} for run in result.runs.values()]
    curves = [dict(zip(h.get("steps", ()), h.get("dev_f1", ()), strict=False)) for h in histories]
    return [curve for curve in curves if len(curve) > 1]


def _draw_curve(axis: "Axes", by_seed: Sequence[Mapping[int, float]], place: int, label: str) -> None:
    """Draw the mean over seeds at each step; after a seed's last step, the mean is over the other seeds."""
    steps = sorted(set().union(*by_seed))
    at = {step: [100 * curve[step] for curve in by_seed if step in curve] for step in steps}
    color, marker, line = (choices[place % len(choices)] for choices in (COLORS, MARKERS, LINES))
    means = [mean_and_sd(values).mean for values in at.values()]
    axis.plot(steps, means, color=color, marker=marker, linestyle=line, ms=4, lw=1.3, label=label)
    lows, highs = [min(values) for values in at.values()], [max(values) for values in at.values()]
    axis.fill_between(steps, lows, highs, color=color, alpha=0.12, lw=0)


def _title(data: DataResults, model: str, models: set[str]) -> str:
    return f"{data.name}, {model}" if len(models) > 1 else data.name
