"""Effect of each layer, estimated from random plans: python experiments/layer_effects.py runs/random_plans --out DIR

The study (recipes/studies/random_plans.toml) trains plans in which each layer is randomly causal or bidirectional. The
table shows how well properties of a plan predict its rank, with leave-one-out regression. The figure shows scores by
the number of unmasked layers, and the estimated effect of each layer.
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
    """Plans with their scores.

    Args:
        plans: one plan per training.
        dev, test: scores in points, shape (plans,).
    """

    plans: Sequence[MaskPlan]
    dev: Array
    test: Array

    @property
    def open(self) -> Array:
        """Return 1 for each layer that attends to the right, else 0, shape (plans, layers)."""
        return np.array([[float(reach != 0) for reach in plan.reach] for plan in self.plans])


def main() -> None:
    """Read the study and write table and figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="folder of the study")
    parser.add_argument("--layers", type=int, default=30, help="number of layers of the model")
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
    """Return the plans that were scored on test, with their mean scores over seeds."""
    done = [result for result in results if result.test_mean and result.dev_mean and result.plan]
    return Trained(
        [MaskPlan.parse(str(result.plan), num_layers) for result in done],
        np.array([100 * result.dev_mean.mean for result in done if result.dev_mean]),
        np.array([100 * result.test_mean.mean for result in done if result.test_mean]),
    )


def properties(open_layers: Array) -> dict[str, Array]:
    """Return the descriptions of plans by name, each of shape (plans, features)."""
    count = open_layers.sum(axis=1, keepdims=True)
    parts = [part.sum(axis=1) for part in np.array_split(open_layers, 4, axis=1)]
    return {
        "number of unmasked layers, and its square": np.hstack([count, count**2]),
        "number in each quarter": np.stack(parts, axis=1),
        "number in each quarter, and their squares": np.stack([*parts, *(part**2 for part in parts)], axis=1),
        "every layer": open_layers,
    }


def left_out(features: Array, target: Array) -> Array:
    """Return the leave-one-out predictions of a ridge regression.

    The ridge strength is also chosen on the other plans only, so that no plan influences its own prediction.

    Args:
        features: shape (plans, features).
        target: scores, shape (plans,).
    """
    predicted = np.empty_like(target)
    for one in range(len(target)):
        rest = np.arange(len(target)) != one
        predicted[one] = ridge(features[rest], target[rest]).predict(features[one])
    return predicted


@dataclass(frozen=True)
class Ridge:
    """A fitted ridge regression on standardized features."""

    middle: Array
    scale: Array
    weights: Array
    mean: float

    def predict(self, features: Array) -> float:
        """Return the prediction for one plan."""
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
    """Return the table of how well each description predicts the ranks of plans, by leave-one-out."""
    # Ranks instead of scores, because a single failed training would outweigh all the others.
    ranks = rankdata(trained.test).astype(np.float64)
    total = float(np.sum((ranks - ranks.mean()) ** 2))
    rows = []
    for name, features in properties(trained.open).items():
        predicted = left_out(features, ranks)
        explained = 1 - float(np.sum((ranks - predicted) ** 2)) / total
        # A useless description predicts the mean of the other plans, which is lower if a good plan is left out. Its
        # rank correlation would be negative and is not shown.
        agrees = f"{spearmanr(predicted, ranks).statistic:.2f}" if explained > 0 else ""
        rows.append([name, f"{explained:.2f}", agrees])
    rows.append(["its own dev score", "", f"{spearmanr(trained.dev, trained.test).statistic:.2f}"])
    return Table("effects", _summary(trained), ("description of a plan", "R²", "rank correlation"), rows, [])


def _summary(trained: Trained) -> str:
    """Return the caption of the table, with the best plans."""
    test, chosen, best = trained.test, int(trained.dev.argmax()), int(trained.test.argmax())
    return (
        f"{len(test)} plans drawn at random, one seed: test {test.min():.1f} to {test.max():.1f}, median "
        f"{np.median(test):.1f}. Best on dev: {_short(trained.plans[chosen])}, test {test[chosen]:.1f}; best on test: "
        f"{_short(trained.plans[best])}, {test[best]:.1f}. R²: share of the variance of the plans' ranks that a "
        "description explains, by leave-one-out ridge regression (below 0: worse than predicting the mean). Rank "
        "correlation: of the predictions with the ranks."
    )


def effects(trained: Trained) -> tuple[Array, Array]:
    """Return the points gained by unmasking each layer, (layers,), and their 95 % intervals, (2, layers).

    The intervals are from a bootstrap over plans.
    """

    def of(rows: NDArray[np.integer[Any]]) -> Array:
        fitted = ridge(trained.open[rows], trained.test[rows])
        return fitted.weights / fitted.scale

    rng = np.random.default_rng(0)
    count = len(trained.plans)
    drawn = [of(rng.integers(0, count, count)) for _ in range(RESAMPLES)]
    return of(np.arange(count)), np.percentile(drawn, [2.5, 97.5], axis=0)


def draw(trained: Trained) -> Plot:
    """Draw test scores by the number of unmasked layers, and the effect of each layer."""
    middle, bounds = effects(trained)
    with plot_style():
        figure, (left, right) = panels(["by number of layers", "by layer"], height=3.0)
        left.plot(trained.open.sum(axis=1), trained.test, "o", color=COLORS[0], ms=4)
        left.set(xlabel="unmasked layers", ylabel="test score (%)")
        place = np.arange(len(middle))
        right.vlines(place, bounds[0], bounds[1], color=GREY, lw=1)
        right.plot(place, middle, "o", color=COLORS[1], ms=4)
        right.axhline(0, color=GREY, lw=0.8)
        right.set(xlabel="layer", ylabel="points gained by unmasking")
    return Plot(
        figure,
        "effects",
        "Test score of random plans by the number of unmasked layers; effect of each layer.",
        "Left: each point is a training. Right: points gained by unmasking a layer, from a ridge regression on all "
        "plans (layer 0 is nearest the input), with 95 % bootstrap intervals over plans.",
    )


def _short(plan: MaskPlan) -> str:
    return "".join("0" if reach == 0 else "1" for reach in plan.reach)


if __name__ == "__main__":
    main()
