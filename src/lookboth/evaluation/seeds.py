"""Variation over seeds, on the same sentences: means, paired t-tests, intervals of a difference, effect sizes."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from lookboth.errors import ConfigError, DataError
from lookboth.evaluation.significance import Interval

Alternative: TypeAlias = Literal["two-sided", "greater"]


class MeanAndSd(NamedTuple):
    """The mean over seeds and the sample standard deviation; `sd` is None for one seed."""

    mean: float
    sd: float | None


class PairedDifference(NamedTuple):
    """Mean difference between paired scores, with its interval, p-value and effect size.

    Args:
        difference: mean of first minus second.
        interval: t interval of the mean difference; None for fewer than two pairs.
        p_value: of the paired t-test; None for fewer than two pairs.
        effect_size: Cohen's d of paired scores, the mean difference over the sd of the differences; None for
            fewer than two pairs or where all differences are equal.
        num_pairs: number of pairs.
    """

    difference: float
    interval: Interval | None
    p_value: float | None
    effect_size: float | None
    num_pairs: int


def mean_and_sd(values: Sequence[float]) -> MeanAndSd:
    """Return the mean over seeds and the sample standard deviation (divided by n - 1).

    Args:
        values: one score per seed, at least one.

    Raises:
        DataError: when there are no values.

    >>> mean_and_sd([0.5, 0.75])
    MeanAndSd(mean=0.625, sd=0.1767766952966369)
    >>> mean_and_sd([0.5])
    MeanAndSd(mean=0.5, sd=None)
    """
    if not len(values):
        raise DataError("no scores to average; a mean over seeds needs at least one run.")
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return MeanAndSd(float(np.mean(values)), sd)


def paired_difference(
    first: Sequence[float],
    second: Sequence[float],
    *,
    alternative: Alternative = "two-sided",
    level: float = 0.95,
) -> PairedDifference:
    """Compare paired scores with the t-test, a t interval and Cohen's d (d_z in Lakens 2013).

    The test assumes that the differences are independent and roughly normal. The scores of one seed under two settings
    are a pair. With few seeds the interval is wide.

    Args:
        first: one score per pair.
        second: the other score of each pair, in the same order.
        alternative: "two-sided", or "greater" to test only whether the first is better.
        level: confidence level of the interval, in (0, 1).

    Raises:
        DataError: no pairs, or a score without a partner.
        ConfigError: `level` or `alternative` out of range, or scipy is not installed.

    >>> paired_difference([0.5], [0.25])
    PairedDifference(difference=0.25, interval=None, p_value=None, effect_size=None, num_pairs=1)
    """
    if not 0.0 < level < 1.0:
        raise ConfigError(f"level is {level}; it must lie between 0 and 1 (0.95 is usual).")
    if alternative not in ("two-sided", "greater"):
        raise ConfigError(f"unknown alternative {alternative!r}; it must be 'two-sided' or 'greater'.")
    if len(first) != len(second) or not len(first):
        raise DataError(f"{len(first)} and {len(second)} scores; give pairs, at least one.")
    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    mean, num_pairs = float(differences.mean()), len(differences)
    if num_pairs < 2:
        return PairedDifference(mean, None, None, None, num_pairs)
    sd = float(differences.std(ddof=1))
    # Differences that are equal up to rounding have no spread: t would be infinite or pure rounding noise.
    if sd <= 1e-12 * max(1.0, abs(mean)):
        return PairedDifference(mean, Interval(mean, mean), _certain(mean, alternative), None, num_pairs)
    error, t = sd / num_pairs**0.5, import_scipy_stats().t(num_pairs - 1)
    tail = t.sf(abs(mean) / error) * 2 if alternative == "two-sided" else t.sf(mean / error)
    half = float(t.ppf((1 + level) / 2)) * error
    return PairedDifference(mean, Interval(mean - half, mean + half), float(tail), mean / sd, num_pairs)


def import_scipy_stats() -> Any:
    """Return scipy.stats, which only a report needs.

    Raises:
        ConfigError: scipy is not installed.
    """
    try:
        from scipy import stats
    except ImportError as error:
        raise ConfigError("tests of significance need scipy. Type: pip install 'lookboth[report]'") from error
    return stats


def _certain(mean: float, alternative: Alternative) -> float:
    """Return the limit of the p-value as the spread goes to zero."""
    if mean == 0:
        return 1.0 if alternative == "two-sided" else 0.5
    return 0.0 if alternative == "two-sided" or mean > 0 else 1.0
