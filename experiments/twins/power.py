"""Statistical power of a paired t-test: the differences that a number of seeds can find."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

# Points at which the distribution of the estimated spread is evaluated; the error of the power is below 0.001.
_NUM_QUANTILES = 2000


def pooled_sd(groups: Sequence[Sequence[float]]) -> float | None:
    """Return the standard deviation of differences within groups; None if no group has two.

    >>> pooled_sd([[0.0, 2.0], [10.0, 12.0], [5.0]])
    1.4142135623730951
    """
    usable = [np.asarray(group, dtype=float) for group in groups if len(group) > 1]
    df = sum(len(group) - 1 for group in usable)
    if not df:
        return None
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in usable)
    return float((squares / df) ** 0.5)


def power_of(effect: float, sd: float, num_pairs: int, *, level: float = 0.95) -> float:
    """Return the probability that a two-sided paired t-test finds a true mean difference.

    Args:
        effect: the true mean difference.
        sd: true standard deviation of the differences.
        num_pairs: number of pairs, at least two.
        level: 1 minus the level of the test.

    >>> round(power_of(0.0, 1.0, 5), 3)
    0.05
    """
    if sd == 0:
        return float(effect != 0)
    df, shift = num_pairs - 1, abs(effect) / sd * num_pairs**0.5
    critical = stats.t.ppf((1 + level) / 2, df)
    # Integrated over the estimate of the spread, because scipy's noncentral t distribution fails for large shifts.
    quantiles = (np.arange(_NUM_QUANTILES) + 0.5) / _NUM_QUANTILES
    bounds = critical * np.sqrt(stats.chi2.ppf(quantiles, df) / df)
    return float((stats.norm.sf(bounds - shift) + stats.norm.cdf(-bounds - shift)).mean())


def detectable_difference(sd: float, num_pairs: int, *, power: float = 0.8, level: float = 0.95) -> float:
    """Return the smallest true mean difference that the test finds with probability `power`.

    >>> round(detectable_difference(1.0, 5), 1)  # the tables of Cohen (1988) have 1.7
    1.7
    """
    if sd == 0:
        return 0.0
    low, high = 0.0, sd
    while power_of(high, sd, num_pairs, level=level) < power:
        low, high = high, 2 * high
    # Thirty halvings leave a billionth of the interval.
    for _ in range(30):
        middle = (low + high) / 2
        enough = power_of(middle, sd, num_pairs, level=level) >= power
        low, high = (low, middle) if enough else (middle, high)
    return high
