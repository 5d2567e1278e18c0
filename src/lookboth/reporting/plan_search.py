"""Section of a report about plan searches: evaluated plans, the effect of layers and the recommended plan."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from lookboth.evaluation import MeanAndSd, mean_and_sd
from lookboth.reporting.formatting import show_mean, show_points, show_seeds
from lookboth.reporting.naming import slug
from lookboth.reporting.results import DataResults, Result, Seed
from lookboth.reporting.style import COLORS, GREY, Plot, panels, plot_style, share_legend
from lookboth.reporting.table_markup import Table
from lookboth.run_folder import RunFolder
from lookboth.search import Evidence, PlanScore, read_evidence

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Plans in one plot.
_MOST_PLANS = 24
_CHOSEN = COLORS[1]
_LESS_TRAINED = (
    "scores from searches that dropped the plan before the final comparison, after trainings of different lengths; "
    "they are not part of the means and are not comparable with the other scores."
)


@dataclass(frozen=True)
class PlanSearch:
    """The plan searches of one method on one data set.

    Args:
        data: the data set.
        result: result of the chosen plans.
        evidence: evidence of the search, by seed.
    """

    data: DataResults
    result: Result
    evidence: dict[Seed, Evidence]

    @property
    def title(self) -> str:
        """Return the heading of the search."""
        return f"Plan search: {self.data.name}, {self.result.method}"

    @property
    def name(self) -> str:
        """Return the name of its files, without suffix."""
        return f"search-{slug(f'{self.data.name}-{self.result.model}-{self.result.method}')}"

    def plans(self) -> list[str]:
        """Return the plans of all seeds by descending mean score; plans without a mean score are last."""
        means = {plan: self.mean(plan) for plan in self._by_plan()}
        return sorted(means, key=lambda plan: (0, -mean.mean) if (mean := means[plan]) else (1, 0.0))

    def scores(self, plan: str) -> dict[Seed, PlanScore]:
        """Return the scores of a plan by seed, for seeds that compared it after trainings of equal length."""
        known = self._by_plan()[plan]
        return {seed: score for seed, score in known.items() if score in self.evidence[seed].comparable}

    def less_trained(self, plan: str) -> list[float]:
        """Return the scores of a plan from the seeds that dropped it early, after shorter trainings."""
        known = self._by_plan()[plan]
        return [score.score for seed, score in known.items() if score in self.evidence[seed].less_trained]

    def mean(self, plan: str) -> MeanAndSd | None:
        """Return mean and sd of a plan's dev score over the seeds that compared it; None if there are none."""
        scores = [score.score for score in self.scores(plan).values()]
        return mean_and_sd(scores) if scores else None

    @property
    def yardstick(self) -> str:
        """Return the reference plan of speeds: causal if it was evaluated, else the best plan."""
        return "causal" if "causal" in self._by_plan() else self.plans()[0]

    def speed(self, plan: str) -> float | None:
        """Return the speed on dev data relative to `yardstick`; None if it was not timed."""
        ratios = []
        for seed, score in self._by_plan()[plan].items():
            other = self._by_plan()[self.yardstick].get(seed)
            if other is not None and other.seconds and score.seconds:
                ratios.append(other.seconds / score.seconds)
        return sum(ratios) / len(ratios) if ratios else None

    def layers(self) -> list[float] | None:
        """Return the mean over seeds of `Evidence.layers`; None if a seed lacks it."""
        known = [layers for e in self.evidence.values() if (layers := e.layers()) is not None]
        if len(known) < len(self.evidence):
            return None
        return [sum(column) / len(column) for column in zip(*known, strict=True)]

    def _by_plan(self) -> dict[str, dict[Seed, PlanScore]]:
        found: dict[str, dict[Seed, PlanScore]] = {}
        for seed, evidence in self.evidence.items():
            for score in evidence.scores:
                found.setdefault(score.name, {})[seed] = score
        return found


def read_searches(data: Sequence[DataResults]) -> list[PlanSearch]:
    """Return the searches among all results, which are those with evidence in their run folders."""
    found = []
    for results in data:
        for result in results.results:
            files = {
                s: RunFolder(run.folder).evidence for s, run in result.runs.items() if run.folder is not None
            }
            evidence = {seed: read_evidence(file) for seed, file in files.items() if file.is_file()}
            if evidence:
                found.append(PlanSearch(results, result, evidence))
    return found


def search_words(search: PlanSearch) -> list[str]:
    """Return a sentence per seed with the chosen plan, its evidence and the cost of the search."""
    lines = []
    for seed, evidence in search.evidence.items():
        cost = evidence.cost()
        price = "" if cost is None else f" It cost {cost:.1f} trainings, including the final one."
        lines.append(f"{'' if seed is None else f'Seed {seed}: '}{evidence.summary()}{price}")
    chosen = {evidence.name for evidence in search.evidence.values()}
    if len(chosen) > 1:
        lines.append(
            f"The seeds chose different plans ({', '.join(sorted(chosen))}), so the choice is uncertain."
        )
    return lines


def search_table(search: PlanSearch) -> Table:
    """Return the table of plans: dev score, distance to the best, seeds that chose it, and speed."""
    plans, usual = search.plans(), len(search.evidence)
    best = search.mean(plans[0])
    rows, records = [], []
    for plan in plans:
        mean, speed, less = search.mean(plan), search.speed(plan), search.less_trained(plan)
        count = len(search.scores(plan))
        chosen = sum(evidence.name == plan for evidence in search.evidence.values())
        near = sum(plan in evidence.within_noise for evidence in search.evidence.values())
        rows.append(
            [
                plan,
                show_mean(mean, count, usual),
                show_points(mean.mean - best.mean) if mean and best else "",
                str(near),
                str(chosen),
                "" if speed is None else f"{speed:.2f}",
                ", ".join(f"{100 * score:.1f}" for score in less),
            ]
        )
        records.append(
            {"plan": plan, "dev_mean": mean and mean.mean, "dev_sd": mean and mean.sd, "seeds": count}
            | {"within_noise": near, "chosen": chosen, "speed": speed}
            | {"less_trained": " ".join(map(str, less))}
        )
    columns = ["plan", f"dev {search.data.metric}", "behind the best", "within noise", "chosen", "speed"]
    caption = (
        f"{search.title}: dev score of every evaluated plan, over {show_seeds(usual)}. Within noise, chosen: number of "
        "searches in which the plan was within noise of the best, or chosen. Speed: on dev data, relative to "
        f"{search.yardstick}, if timed. The scores are from the search's shared or short trainings, not from full "
        "trainings."
    )
    if _any_less_trained(search):
        columns.append("less trained")
        caption += f" Less trained: {_LESS_TRAINED}"
    return Table(search.name, caption, columns, [row[: len(columns)] for row in rows], records)


def plot_search(search: PlanSearch) -> Plot:
    """Draw dev score by plan and, if the search measured it, the effect of each layer."""
    layers = search.layers()
    titles = ["dev score by plan"] + (["right context by layer"] if layers else [])
    with plot_style():
        figure, axes = panels(titles, height=3.1)
        _draw_plans(axes[0], search)
        if layers:
            gated = any(evidence.strengths for evidence in search.evidence.values())
            _draw_layers(axes[1], layers, gated)
        share_legend(figure, axes)
    return Plot(
        figure,
        search.name,
        f"{search.title}: dev score of each plan with its interval; all values are in the table.",
        "Mean over seeds of the dev score of each plan, best first, with the 95 % bootstrap interval over dev "
        "sentences (mean of the seeds' bounds); coloured: chosen by a search."
        + (" Right panel: effect of unmasking each layer; layer 0 is nearest the input." if layers else "")
        + (f" Hollow, after less training: {_LESS_TRAINED}" if _any_less_trained(search) else ""),
    )


def _any_less_trained(search: PlanSearch) -> bool:
    return any(evidence.less_trained for evidence in search.evidence.values())


def _draw_plans(axis: "Axes", search: PlanSearch) -> None:
    plans = search.plans()[:_MOST_PLANS]
    chosen = {evidence.name for evidence in search.evidence.values()}
    for place, plan in enumerate(plans):
        color = _CHOSEN if plan in chosen else COLORS[0]
        _draw_plan(axis, place, list(search.scores(plan).values()), color)
        for score in search.less_trained(plan):
            axis.plot(place, 100 * score, "o", color=GREY, markerfacecolor="none", ms=4)
    axis.plot([], [], "o", color=_CHOSEN, ms=5, label="chosen by a search")
    axis.plot([], [], "o", color=COLORS[0], ms=5, label="evaluated")
    if _any_less_trained(search):
        axis.plot([], [], "o", color=GREY, markerfacecolor="none", ms=4, label="after less training")
    axis.set_xticks(range(len(plans)), plans, rotation=60, ha="right", fontsize=7)
    axis.set_ylabel(f"dev {search.data.metric} (%)")


def _draw_plan(axis: "Axes", place: int, scores: Sequence[PlanScore], color: str) -> None:
    """Draw the mean of the scores at a position, with the mean interval if all scores have one."""
    if not scores:
        return
    bounds = [score.interval for score in scores if score.interval is not None]
    if len(bounds) == len(scores):
        low, high = (100 * fmean(bound[end] for bound in bounds) for end in (0, 1))
        axis.plot([place, place], [low, high], color=color, lw=1.2)
    axis.plot(place, 100 * fmean(score.score for score in scores), "o", color=color, ms=5)


def _draw_layers(axis: "Axes", layers: Sequence[float], gated: bool) -> None:
    values = layers if gated else [100 * value for value in layers]
    axis.bar(range(len(values)), values, color=[COLORS[2] if value > 0 else GREY for value in values])
    axis.set(xlabel="layer", ylabel="gate strength" if gated else "points gained by unmasking")
