"""Correction of p-values for multiple comparisons."""

from collections.abc import Sequence

import numpy as np

from lookboth.errors import DataError
from lookboth.evaluation.seeds import import_scipy_stats


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected to control the family-wise error rate (Holm 1979).

    Args:
        p_values: of all comparisons made, each in [0, 1]; the comparisons may depend on each other.

    Raises:
        DataError: a value outside [0, 1].

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    p = _checked(p_values)
    order = np.argsort(p, kind="stable")
    # The k-th smallest p-value is multiplied by the number of hypotheses that are still open.
    sorted_p = np.maximum.accumulate(np.arange(len(p), 0, -1) * p[order])
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(sorted_p, 1.0)
    return [float(value) for value in corrected]


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected to control the false discovery rate (Benjamini & Hochberg 1995).

    The comparisons must be independent or positively dependent.

    Args:
        p_values: of all comparisons made, each in [0, 1].

    Raises:
        DataError: a value outside [0, 1].
        ConfigError: scipy is not installed.

    >>> benjamini_hochberg([0.01, 0.04, 0.02])
    [0.03, 0.04, 0.03]
    """
    p = _checked(p_values)
    return [float(value) for value in import_scipy_stats().false_discovery_control(p)] if len(p) else []


def _checked(p_values: Sequence[float]) -> np.ndarray:
    p = np.asarray(p_values, dtype=float)
    wrong = p[~((p >= 0) & (p <= 1))]
    if len(wrong):
        raise DataError(f"{wrong[0]} is not a p-value; it must lie between 0 and 1.")
    return p
