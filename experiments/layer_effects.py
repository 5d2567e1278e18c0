"""What plans drawn at random say about layers: python experiments/layer_effects.py runs/random_plans --out DIR

The study (recipes/studies/random_plans.toml) trains plans in which every layer is causal or bidirectional by itself.
The table says how well the rank of a plan is told by properties of the plan, each plan by a fit on the others;
the figure shows scores by the number of layers that look right, and what each layer is worth.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr

from lookboth.masking.plan import MaskPlan
from lookboth.reporting.results import Result, read_results
from lookboth.reporting.style import COLORS, GREY, Plot, panels, plot_style
from lookboth.reporting.table_markup import Table, to_markdown

Array = NDArray[np.float64]
STRENGTHS = tuple(10.0**power for power in range(-3, 4))
RESAMPLES = 1000


@dataclass(frozen=True)
class Trained:
    """Plans and what they reached.

    Args:
        plans: one a training.
        dev, test: scores in points, shape (plans,).
    """

    plans: Sequence[MaskPlan]
    dev: Array
    test: Array

    @property
    def open(self) -> Array:
        """Whether each layer looks right, shape (plans, layers)."""
        return np.array([[float(reach != 0) for reach in plan.reach] for plan in self.plans])


def main() -> None:
    """Read the study and write table and figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="folder of the study")
    parser.add_argument("--layers", type=int, default=30, help="of the model")
    parser.add_argument("--out", type=Path, default=None, help="folder for effects.md and effects.svg")
    options = parser.parse_args()
    results = [result for data in read_results(options.runs).data for result in data.results]
    trained = read(results, options.layers)
    text = to_markdown(table(trained))
    print(text)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "effects.md").write_text(text, encoding="utf-8")
        draw(trained).save(options.out, options.out)


def read(results: Sequence[Result], num_layers: int) -> Trained:
    """Return the plans that were scored on test, with the mean over their seeds."""
    done = [result for result in results if result.test_mean and result.dev_mean and result.plan]
    return Trained(
        [MaskPlan.parse(str(result.plan), num_layers) for result in done],
        np.array([100 * result.dev_mean.mean for result in done if result.dev_mean]),
        np.array([100 * result.test_mean.mean for result in done if result.test_mean]),
    )


def properties(open_layers: Array) -> dict[str, Array]:
    """Return what a plan is described by, each of shape (plans, features)."""
    count = open_layers.sum(axis=1, keepdims=True)
    parts = [part.sum(axis=1) for part in np.array_split(open_layers, 4, axis=1)]
    return {
        "how many layers look right, and its square": np.hstack([count, count**2]),
        "how many of each quarter": np.stack(parts, axis=1),
        "how many of each quarter, and their squares": np.stack(
            [*parts, *(part**2 for part in parts)], axis=1
        ),
        "every layer": open_layers,
    }


def left_out(features: Array, target: Array) -> Array:
    """Return what a ridge regression on the other plans says of each plan.

    The strength of the ridge is chosen among the other plans in the same way, so that no plan has a say in its own.

    Args:
        features: shape (plans, features).
        target: scores, shape (plans,).
    """
    said = np.empty_like(target)
    for one in range(len(target)):
        rest = np.arange(len(target)) != one
        said[one] = ridge(features[rest], target[rest]).predict(features[one])
    return said


@dataclass(frozen=True)
class Ridge:
    """A fitted ridge regression on standardized features."""

    middle: Array
    scale: Array
    weights: Array
    mean: float

    def predict(self, features: Array) -> float:
        """Return what it says of one plan."""
        return float((features - self.middle) / self.scale @ self.weights + self.mean)


def ridge(features: Array, target: Array) -> Ridge:
    """Return the ridge regression whose strength has the smallest leave-one-out error."""
    middle, scale = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-9)
    x, mean = (features - middle) / scale, float(target.mean())
    u, d, vt = np.linalg.svd(x, full_matrices=False)
    best, least = np.zeros(x.shape[1]), np.inf
    for strength in STRENGTHS:
        shrink = d**2 / (d**2 + strength * len(target))
        hat = (u * shrink) @ u.T + 1 / len(target)
        error = float(np.sum(((target - (hat @ target)) / np.maximum(1 - np.diag(hat), 1e-9)) ** 2))
        if error < least:
            least = error
            best = vt.T @ (d / (d**2 + strength * len(target)) * (u.T @ (target - mean)))
    return Ridge(middle, scale, best, mean)


def table(trained: Trained) -> Table:
    """Return how well each description tells the ranks of plans, each plan left out in turn.

    Ranks, because a single training that failed would else outweigh all the others.
    """
    ranks = rankdata(trained.test).astype(np.float64)
    total = float(np.sum((ranks - ranks.mean()) ** 2))
    rows = []
    for name, features in properties(trained.open).items():
        said = left_out(features, ranks)
        explained = 1 - float(np.sum((ranks - said) ** 2)) / total
        # What explains nothing says a mean that is a little lower for every good plan that is left out.
        agrees = f"{spearmanr(said, ranks).statistic:.2f}" if explained > 0 else ""
        rows.append([name, f"{explained:.2f}", agrees])
    rows.append(["its own dev score", "", f"{spearmanr(trained.dev, trained.test).statistic:.2f}"])
    return Table("effects", _summary(trained), ("description of a plan", "R²", "rank correlation"), rows, [])


def _summary(trained: Trained) -> str:
    """Return what the table is about and the best plans."""
    test, chosen, best = trained.test, int(trained.dev.argmax()), int(trained.test.argmax())
    return (
        f"{len(test)} plans drawn at random, one seed: test {test.min():.1f} to {test.max():.1f}, median "
        f"{np.median(test):.1f}. Best on dev: {_short(trained.plans[chosen])}, test {test[chosen]:.1f}; best on test: "
        f"{_short(trained.plans[best])}, {test[best]:.1f}. How much of the plans' ranks a description explains (R² of "
        "each plan by a ridge regression on the others; below 0: worse than saying the mean), and the rank "
        "correlation of what it says."
    )


def effects(trained: Trained) -> tuple[Array, Array]:
    """Return points gained by opening each layer, and their 95 % bootstrap intervals over plans, shape (2, layers)."""

    def of(rows: NDArray[np.integer[Any]]) -> Array:
        fitted = ridge(trained.open[rows], trained.test[rows])
        return fitted.weights / fitted.scale

    rng = np.random.default_rng(0)
    count = len(trained.plans)
    drawn = [of(rng.integers(0, count, count)) for _ in range(RESAMPLES)]
    return of(np.arange(count)), np.percentile(drawn, [2.5, 97.5], axis=0)


def draw(trained: Trained) -> Plot:
    """Draw test scores by the number of layers that look right, and the effect of each layer."""
    middle, bounds = effects(trained)
    with plot_style():
        figure, (left, right) = panels(["by number of layers", "by layer"], height=3.0)
        left.plot(trained.open.sum(axis=1), trained.test, "o", color=COLORS[0], ms=4)
        left.set(xlabel="layers that look right", ylabel="test score (%)")
        place = np.arange(len(middle))
        right.vlines(place, bounds[0], bounds[1], color=GREY, lw=1)
        right.plot(place, middle, "o", color=COLORS[1], ms=4)
        right.axhline(0, color=GREY, lw=0.8)
        right.set(xlabel="layer", ylabel="points for looking right")
    return Plot(
        figure,
        "effects",
        "Test score of plans drawn at random, by the number of layers that look right; effect of every layer.",
        "Left: each point is a training. Right: points gained by a layer that looks right, from a ridge regression "
        "on all of them (0 is the layer nearest the input), with 95 % bootstrap intervals over plans.",
    )


def _short(plan: MaskPlan) -> str:
    return "".join("0" if reach == 0 else "1" for reach in plan.reach)


if __name__ == "__main__":
    main()
