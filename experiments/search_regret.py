"""How far searched plans fall behind the best of all trained plans: python experiments/search_regret.py --help

The truth is a study that trained every plan of some layer groups (smollm2_small), the searches another on the same data
with the same budget (plan_search). Regret is what the best plan reached minus what the searched labeler reached, both
on the data named; the best plan is the best by mean test score, so that no strategy can know it. Beside it stand two
ways of not searching: taking the plan that is best on dev after training every one, and always taking one plan.
"""

import argparse
import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from scipy.stats import spearmanr

from lookboth.evaluation.seeds import mean_and_sd
from lookboth.masking.plan import MaskPlan
from lookboth.reporting.markup import Table, to_markdown
from lookboth.reporting.plan_families import PlanFamily, plan_families
from lookboth.reporting.plan_search import PlanSearch, read_searches
from lookboth.reporting.results import DataResults, read_results

COLUMNS = ("data", "way", "cost", "regret, dev", "regret, test", "sd over seeds", "rank correlation", "plans")


@dataclass(frozen=True)
class Truth:
    """What every plan reached on one data set.

    Args:
        dev, test: mean score by plan in bits.
        test_sd: standard deviation over seeds, mean over plans: what cannot be told apart.
    """

    dev: Mapping[str, float]
    test: Mapping[str, float]
    test_sd: float


def main() -> None:
    """Read both studies and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--truth", type=Path, required=True, help="folder of a study that trained every plan")
    parser.add_argument("--searches", type=Path, required=True, help="folder of a study of searches")
    parser.add_argument("--out", type=Path, default=None, help="folder for regret.md and regret.csv")
    options = parser.parse_args()
    truths = dict(read_truths(read_results(options.truth).data))
    rows = [row for name, truth in truths.items() for row in without_search(name, truth)]
    searches = read_searches(read_results(options.searches).data)
    rows += [
        regret_row(search, truths[search.data.name]) for search in searches if search.data.name in truths
    ]
    rows.sort(key=lambda row: (str(row["data"]), float(str(row["regret, test"]))))
    text = to_markdown(
        Table("regret", caption(truths), COLUMNS, [show(row) for row in rows], [], num_headers=2)
    )
    print(text)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "regret.md").write_text(text, encoding="utf-8")
        with (options.out / "regret.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)


def read_truths(data: "tuple[DataResults, ...]") -> Iterator[tuple[str, Truth]]:
    """Yield each data set on which all plans of some number of groups were trained."""
    for results in data:
        for family in plan_families(results):
            dev, test = _means(family, "dev"), _means(family, "test")
            if len(test) == 2**family.num_groups:
                spread = [
                    mean_and_sd(list(scores.values())).sd or 0.0 for scores in family.scores("test").values()
                ]
                yield results.name, Truth(dev, test, fmean(spread))


def without_search(name: str, truth: Truth) -> Iterator[dict[str, object]]:
    """Yield the rows of doing without a search: every plan trained, or one plan for everybody."""
    best_dev, best_test = max(truth.dev.values()), max(truth.test.values())
    by_dev = max(truth.dev, key=lambda plan: truth.dev[plan])
    groups = len(by_dev)
    ways = {
        "every plan trained, best on dev": (by_dev, float(len(truth.test))),
        "always causal": ("0" * groups, 1.0),
        "always full": ("1" * groups, 1.0),
        "always the upper half": ("0" * (groups // 2) + "1" * (groups - groups // 2), 1.0),
    }
    for way, (plan, cost) in ways.items():
        yield {
            "data": name,
            "way": way,
            "cost": cost,
            "regret, dev": best_dev - truth.dev[plan],
            "regret, test": best_test - truth.test[plan],
            "sd over seeds": None,
            "rank correlation": None,
            "plans": plan,
        }


def regret_row(search: PlanSearch, truth: Truth) -> dict[str, object]:
    """Return cost, regret and rank correlation of one strategy on one data set, means over its seeds."""
    lost = [max(truth.test.values()) - score for score in search.result.tests.values()]
    costs = [cost for evidence in search.evidence.values() if (cost := evidence.cost()) is not None]
    regret = mean_and_sd(lost)
    return {
        "data": search.data.name,
        "way": search.result.method,
        "cost": fmean(costs),
        "regret, dev": fmean(max(truth.dev.values()) - score for score in search.result.dev.values()),
        "regret, test": regret.mean,
        "sd over seeds": regret.sd,
        "rank correlation": fmean(
            rank_correlation(evidence.scores, truth) for evidence in search.evidence.values()
        ),
        "plans": ", ".join(evidence.name for evidence in search.evidence.values()),
    }


def rank_correlation(scores: object, truth: Truth) -> float:
    """Return Spearman's rho between a search's scores and the mean test scores, over the plans both know."""
    known = {score.plan: score.score for score in scores}  # type: ignore[attr-defined]
    num_layers = next(iter(known)).count(",") + 1
    pairs = [
        (known[plan], test)
        for bits, test in truth.test.items()
        if (plan := MaskPlan.parse(bits, num_layers).spelled_out()) in known
    ]
    return float(spearmanr(*zip(*pairs, strict=True)).statistic)


def caption(truths: Mapping[str, Truth]) -> str:
    """Return how the table is to be read."""
    spread = "; ".join(f"{name} {100 * truth.test_sd:.1f}" for name, truth in truths.items())
    return (
        "Regret in points, below the plan with the best mean test score; cost in ordinary trainings, the last one "
        "included; rank correlation (Spearman) of the search's scores with the mean test scores of the plans. The "
        f"spread of one plan over seeds, which no search can see through, is {spread} points."
    )


def show(row: Mapping[str, object]) -> list[str]:
    """Return a row as it is printed."""
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
