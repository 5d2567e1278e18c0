"""The part of a report about plan searches: every plan that was judged, which layers matter, what to take."""

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

_MOST_PLANS = 24  # in a plot
_CHOSEN = COLORS[1]
_LESS_TRAINED = (
    "scores in searches that did not train the plan as long as those they chose from, each after a training of its own "
    "length; they are in no mean and cannot be held against the others."
)


@dataclass(frozen=True)
class PlanSearch:
    """The searches of one method on one data set, seed by seed.

    Args:
        data, result: what was searched, and what the chosen plans reached.
        evidence: of each seed.
    """

    data: DataResults
    result: Result
    evidence: dict[Seed, Evidence]

    @property
    def title(self) -> str:
        """How the search is called in headings."""
        return f"Plan search: {self.data.name}, {self.result.method}"

    @property
    def name(self) -> str:
        """Part of the names of its files."""
        return f"search-{slug(f'{self.data.name}-{self.result.model}-{self.result.method}')}"

    def plans(self) -> list[str]:
        """Return the plans of all seeds, the best mean score first, those that have none last."""
        means = {plan: self.mean(plan) for plan in self._by_plan()}
        return sorted(means, key=lambda plan: (0, -mean.mean) if (mean := means[plan]) else (1, 0.0))

    def scores(self, plan: str) -> dict[Seed, PlanScore]:
        """Return how a plan did with each seed that compared it, after equally long trainings."""
        known = self._by_plan()[plan]
        return {seed: score for seed, score in known.items() if score in self.evidence[seed].together}

    def less_trained(self, plan: str) -> list[float]:
        """Return the scores of a plan with the seeds that dropped it before, after trainings of any shorter length."""
        known = self._by_plan()[plan]
        return [score.score for seed, score in known.items() if score in self.evidence[seed].less_trained]

    def mean(self, plan: str) -> MeanAndSd | None:
        """Return mean and sd of a plan's dev score over the seeds that compared it; None where none did."""
        scores = [score.score for score in self.scores(plan).values()]
        return mean_and_sd(scores) if scores else None

    @property
    def yardstick(self) -> str:
        """The plan whose speed is 1: causal where that was judged, else the best."""
        return "causal" if "causal" in self._by_plan() else self.plans()[0]

    def speed(self, plan: str) -> float | None:
        """Return how fast the dev data was labeled, as a multiple of `yardstick`; None where that was not timed."""
        ratios = []
        for seed, score in self._by_plan()[plan].items():
            other = self._by_plan()[self.yardstick].get(seed)
            if other is not None and other.seconds and score.seconds:
                ratios.append(other.seconds / score.seconds)
        return sum(ratios) / len(ratios) if ratios else None

    def layers(self) -> list[float] | None:
        """Return the mean over seeds of what `Evidence.layers` says; None where a seed says nothing."""
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
    """Return the searches among all results: those whose run folders hold evidence."""
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
    """Return for each seed what was chosen, how sure that is, and what it cost."""
    lines = []
    for seed, evidence in search.evidence.items():
        cost = evidence.cost()
        price = "" if cost is None else f" It cost {cost:.1f} trainings, the last one included."
        lines.append(f"{'' if seed is None else f'Seed {seed}: '}{evidence.in_words()}{price}")
    chosen = {evidence.name for evidence in search.evidence.values()}
    if len(chosen) > 1:
        lines.append(f"The seeds chose different plans ({', '.join(sorted(chosen))}): none of them is sure.")
    return lines


def search_table(search: PlanSearch) -> Table:
    """Return dev score, distance to the best, seeds that chose the plan or took it for as good, and speed."""
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
        f"{search.title}: dev score of every plan that was judged, over {show_seeds(usual)}; in how many searches "
        "dev data did not tell it from the best, in how many it was chosen; how fast the dev data was labeled, as a "
        f"multiple of {search.yardstick}, where that was timed. Scores are those of the search's shared or short "
        "trainings, not of full ones."
    )
    if _any_less_trained(search):
        columns.append("less trained")
        caption += f" Less trained: {_LESS_TRAINED}"
    return Table(search.name, caption, columns, [row[: len(columns)] for row in rows], records)


def plot_search(search: PlanSearch) -> Plot:
    """Draw dev score by plan, and what each layer seems to carry where the search can tell."""
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
        + (
            " Right: what opening a layer to the right was worth, layer 0 nearest the input."
            if layers
            else ""
        )
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
    axis.plot([], [], "o", color=COLORS[0], ms=5, label="judged")
    if _any_less_trained(search):
        axis.plot([], [], "o", color=GREY, markerfacecolor="none", ms=4, label="after less training")
    axis.set_xticks(range(len(plans)), plans, rotation=60, ha="right", fontsize=7)
    axis.set_ylabel(f"dev {search.data.metric} (%)")


def _draw_plan(axis: "Axes", place: int, scores: Sequence[PlanScore], color: str) -> None:
    """Draw the mean of the scores at a place, with the mean interval where all have one."""
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
    axis.set(xlabel="layer", ylabel="strength of its gate" if gated else "points gained by looking right")
