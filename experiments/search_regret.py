"""Regret of searched plans relative to the best of all trained plans: python experiments/search_regret.py --help

The ground truth is a study that trained every plan of some layer groups (plan_truth). The searches are another study
with the same data and budget (plan_search). Regret is the score of the best plan minus the score of the searched
labeler on the named data. The best plan is the one with the best mean test score, which no strategy can know. The
table also has baselines without a search: the best plan on dev after training all plans (with one seed, or for one
epoch), and a fixed plan.
"""

import argparse
import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from scipy.stats import spearmanr

from lookboth.evaluation.seeds import mean_and_sd
from lookboth.masking.plan import MaskPlan
from lookboth.reporting.plan_families import PlanFamily, plan_families
from lookboth.reporting.plan_search import PlanSearch, read_searches
from lookboth.reporting.results import DataResults, read_results
from lookboth.reporting.style import COLORS, GREY, Plot, panels, plot_style, share_legend
from lookboth.reporting.table_markup import Table, to_markdown

COLUMNS = ("data", "way", "cost", "regret, dev", "regret, test", "sd over seeds", "rank correlation", "plans")


# Scores by plan (in bits) and seed.
Scores = Mapping[str, Mapping[int, float]]


@dataclass(frozen=True)
class Truth:
    """Scores of every plan on one data set.

    Args:
        dev, test: scores by plan and seed.
        first: dev scores after the first epoch.
        epochs: number of epochs of a training.
    """

    dev: Scores
    test: Scores
    first: Scores
    epochs: float

    @property
    def seeds(self) -> list[int]:
        """Return the seeds with which every plan was trained."""
        return sorted(set.intersection(*(set(scores) for scores in self.test.values())))

    @property
    def best(self) -> float:
        """Return the mean test score of the best plan."""
        return max(means(self.test).values())

    def regrets(self, chosen: Mapping[int, str]) -> list[float]:
        """Return the regret on test of the plan that each seed chose."""
        return [self.best - self.test[plan][seed] for seed, plan in chosen.items()]

    def dev_regrets(self, chosen: Mapping[int, str]) -> list[float]:
        """Return the regret on dev of the plan that each seed chose."""
        best = max(means(self.dev).values())
        return [best - self.dev[plan][seed] for seed, plan in chosen.items()]


def means(scores: Scores) -> dict[str, float]:
    """Return the mean over seeds of every plan."""
    return {plan: fmean(by_seed.values()) for plan, by_seed in scores.items()}


def main() -> None:
    """Read both studies and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--truth", type=Path, required=True, help="folder of a study that trained every plan")
    parser.add_argument("--searches", type=Path, required=True, help="folder of a study of searches")
    parser.add_argument("--out", type=Path, default=None, help="folder for regret.md, .csv and .svg")
    options = parser.parse_args()
    truths = dict(read_truths(read_results(options.truth).data))
    rows = [row for name, truth in truths.items() for row in without_search(name, truth)]
    searches = read_searches(read_results(options.searches).data)
    rows += [
        regret_row(search, truths[search.data.name]) for search in searches if search.data.name in truths
    ]
    rows.sort(key=lambda row: (row["data"], row["regret, test"]))
    text = to_markdown(
        Table("regret", caption(truths), COLUMNS, [show(row) for row in rows], [], num_headers=2)
    )
    print(text)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "regret.md").write_text(text, encoding="utf-8")
        with (options.out / "regret.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        draw(rows).save(options.out, options.out)


def read_truths(data: "tuple[DataResults, ...]") -> Iterator[tuple[str, Truth]]:
    """Yield each data set on which all plans of some number of groups were trained."""
    for results in data:
        for family in plan_families(results):
            test = family.scores("test")
            if len(test) == 2**family.num_groups:
                training = next(iter(family.results.values())).group.config.get("training", {})
                first = _after_one_epoch(family)
                yield results.name, Truth(family.scores("dev"), test, first, training.get("epochs", 1))


def _after_one_epoch(family: PlanFamily) -> dict[str, dict[int, float]]:
    """Return dev scores after the first epoch; empty unless dev was scored once per epoch."""
    histories = {
        plan: {seed: run.scores.get("history") for seed, run in family.results[plan].runs.items()}
        for plan in family.scores("dev")
    }
    known = all(
        history and history["dev_f1"] for of_plan in histories.values() for history in of_plan.values()
    )
    config = next(iter(family.results.values())).group.config
    if not known or config.get("training", {}).get("evals_per_epoch") != 1:
        return {}
    return {
        plan: {seed: history["dev_f1"][0] for seed, history in of_plan.items()}
        for plan, of_plan in histories.items()
    }


def without_search(name: str, truth: Truth) -> Iterator[dict[str, Any]]:
    """Yield the rows of the baselines without a search: all plans trained, or a fixed plan."""
    groups, count = len(next(iter(truth.test))), len(truth.test)
    low, high = "0" * groups, "1" * groups
    upper = "0" * (groups // 2) + "1" * (groups - groups // 2)
    everything = means(truth.dev)
    middle = "0" * (groups // 4) + "1" * (groups // 2) + "0" * (groups - groups // 4 - groups // 2)
    fixed = {
        "always causal": low,
        "always full": high,
        "always the upper half": upper,
        "always the middle": middle,
    }
    chosen_on: dict[str, tuple[Callable[[int], Mapping[str, float]], float]] = {
        "all trained, one seed, best on dev": (lambda seed: _of_seed(truth.dev, seed), count),
        "upper half and middle trained, best on dev": (
            lambda seed: {plan: truth.dev[plan][seed] for plan in (upper, middle)},
            2,
        ),
        "causal, upper half, full trained, best on dev": (
            lambda seed: {plan: truth.dev[plan][seed] for plan in (upper, low, high)},
            3,
        ),
    }
    if len(truth.seeds) > 1:
        chosen_on[f"all trained, {len(truth.seeds)} seeds, best on dev"] = (
            lambda _: everything,
            count * len(truth.seeds),
        )
    if truth.first:
        chosen_on["all trained for one epoch, best on dev continues"] = (
            lambda seed: _of_seed(truth.first, seed),
            (count - 1) / truth.epochs + 1,
        )
    for way, (scores, cost) in chosen_on.items():
        known = {seed: scores(seed) for seed in truth.seeds}
        chosen = {seed: max(of_plan, key=lambda plan: of_plan[plan]) for seed, of_plan in known.items()}
        test = means(truth.test)
        rank = [
            float(spearmanr(list(of_plan.values()), [test[plan] for plan in of_plan]).statistic)
            for of_plan in known.values()
        ]
        yield _row(name, way, float(cost), truth, chosen) | {"rank correlation": fmean(rank)}
    for way, plan in fixed.items():
        yield _row(name, way, 1.0, truth, dict.fromkeys(truth.seeds, plan))


def _of_seed(scores: Scores, seed: int) -> dict[str, float]:
    return {plan: by_seed[seed] for plan, by_seed in scores.items()}


def _row(name: str, way: str, cost: float, truth: Truth, chosen: Mapping[int, str]) -> dict[str, Any]:
    regret = mean_and_sd(truth.regrets(chosen))
    return {
        "data": name,
        "way": way,
        "searched": False,
        "cost": cost,
        "regret, dev": fmean(truth.dev_regrets(chosen)),
        "regret, test": regret.mean,
        "sd over seeds": regret.sd,
        "rank correlation": None,
        "plans": ", ".join(dict.fromkeys(chosen.values())),
    }


def regret_row(search: PlanSearch, truth: Truth) -> dict[str, Any]:
    """Return cost, regret and rank correlation of one strategy on one data set, as means over its seeds."""
    lost = [truth.best - score for score in search.result.tests.values()]
    costs = [cost for evidence in search.evidence.values() if (cost := evidence.cost()) is not None]
    regret = mean_and_sd(lost)
    ranks = [rank_correlation(evidence.scores, truth) for evidence in search.evidence.values()]
    known_ranks = [rank for rank in ranks if rank is not None]
    return {
        "data": search.data.name,
        "way": search.result.method,
        "searched": True,
        "cost": fmean(costs),
        "regret, dev": fmean(max(means(truth.dev).values()) - score for score in search.result.dev.values()),
        "regret, test": regret.mean,
        "sd over seeds": regret.sd,
        "rank correlation": fmean(known_ranks) if known_ranks else None,
        "plans": ", ".join(evidence.name for evidence in search.evidence.values()),
    }


def rank_correlation(scores: object, truth: Truth) -> float | None:
    """Return Spearman's rho between a search's scores and the mean test scores over the plans of both.

    None with fewer than two common plans: the truth has neither sequence repetition nor limited look-ahead.
    """
    known = {score.plan: score.score for score in scores if not score.repetition}  # type: ignore[attr-defined]
    num_layers = next(iter(known)).count(",") + 1
    pairs = [
        (known[plan], test)
        for bits, test in means(truth.test).items()
        if (plan := MaskPlan.parse(bits, num_layers).spelled_out()) in known
    ]
    if len(pairs) < 2:
        return None
    return float(spearmanr(*zip(*pairs, strict=True)).statistic)


def caption(truths: Mapping[str, Truth]) -> str:
    """Return the caption of the table."""
    sds = {
        name: fmean(mean_and_sd(list(by_seed.values())).sd or 0.0 for by_seed in truth.test.values())
        for name, truth in truths.items()
        if len(truth.seeds) > 1
    }
    spread = "; ".join(f"{name} {100 * sd:.1f}" for name, sd in sds.items())
    return (
        "Regret in points, relative to the plan with the best mean test score. Cost in ordinary trainings, including "
        "the final one. Rank correlation (Spearman): of the search's scores with the mean test scores of the plans. "
        f"The standard deviation of a plan over seeds, which limits any search, is {spread} points."
    )


def draw(rows: Sequence[Mapping[str, Any]]) -> Plot:
    """Draw regret on test data by strategy, the cheapest on top, one panel per data set."""
    names = list(dict.fromkeys(row["data"] for row in rows))
    most = max(sum(row["data"] == name for row in rows) for name in names)
    with plot_style():
        figure, axes = panels(names, height=0.28 * most + 1.2, width=5.0)
        for axis, name in zip(axes, names, strict=True):
            here = sorted((row for row in rows if row["data"] == name), key=lambda row: row["cost"])
            for place, row in enumerate(here):
                color, marker = (COLORS[1], "D") if row["searched"] else (COLORS[2], "o")
                mean, sd = 100 * row["regret, test"], 100 * (row["sd over seeds"] or 0)
                axis.errorbar(mean, place, xerr=sd, fmt=marker, color=color, ms=5, lw=1, capsize=2)
            labels = [f"{row['way']}  ×{row['cost']:.3g}" for row in here]
            axis.set_yticks(range(len(here)), labels, fontsize=8)
            axis.axvline(0, color=GREY, lw=0.8)
            axis.plot([], [], "D", color=COLORS[1], label="searched")
            axis.plot([], [], "o", color=COLORS[2], label="not searched")
            axis.set(xlabel="regret on test (points)", ylim=(len(here) - 0.4, -0.6))
            axis.grid(axis="y", visible=False)
        share_legend(figure, axes)
    return Plot(
        figure,
        "regret",
        "Regret on test data of each strategy, the cheapest on top; all values are in regret.csv.",
        "Regret on test, in points, relative to the plan with the best mean test score: mean over seeds and sd. After "
        "each strategy: its cost in ordinary trainings.",
    )


def show(row: Mapping[str, Any]) -> list[str]:
    """Return the printed cells of a row."""
    shown = []
    for column in COLUMNS:
        value = row[column]
        points = column in {"regret, dev", "regret, test", "sd over seeds"}
        if isinstance(value, float):
            shown.append(f"{100 * value:.1f}" if points else f"{value:.2f}")
        else:
            shown.append("" if value is None else str(value))
    return shown


def _means(family: PlanFamily, split: str) -> dict[str, float]:
    return {plan: fmean(scores.values()) for plan, scores in family.scores(split).items()}


if __name__ == "__main__":
    main()
