"""Correction of p-values for multiple comparisons."""

from collections.abc import Sequence

import numpy as np

from lookboth.errors import DataError


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected to control the family-wise error rate (Holm 1979).

    Args:
        p_values: of all comparisons made, each in [0, 1]; the comparisons may depend on each other.

    Raises:
        DataError: a value outside [0, 1].

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    p, order = _sorted(p_values)
    factors = np.arange(len(p), 0, -1)
    return _unsorted(np.minimum(np.maximum.accumulate(factors * p), 1.0), order)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected to control the false discovery rate (Benjamini & Hochberg 1995).

    The comparisons must be independent or positively dependent.

    Args:
        p_values: of all comparisons made, each in [0, 1].

    Raises:
        DataError: a value outside [0, 1].

    >>> benjamini_hochberg([0.01, 0.04, 0.02])
    [0.03, 0.04, 0.03]
    """
    p, order = _sorted(p_values)
    scaled = len(p) / np.arange(1, len(p) + 1) * p
    return _unsorted(np.minimum.accumulate(scaled[::-1])[::-1], order)


def _sorted(p_values: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    p = np.asarray(p_values, dtype=float)
    wrong = p[~((p >= 0) & (p <= 1))]
    if len(wrong):
        raise DataError(f"{wrong[0]} is not a p-value; it must lie between 0 and 1.")
    order = np.argsort(p, kind="stable")
    return p[order], order


def _unsorted(corrected: np.ndarray, order: np.ndarray) -> list[float]:
    result = np.empty_like(corrected)
    result[order] = corrected
    return [float(value) for value in result]
