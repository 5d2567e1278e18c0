"""Corrected p-values equal what their definitions say, worked out the long way."""

from itertools import combinations

import pytest
from hypothesis import given, settings, strategies as st

from lookboth.errors import DataError
from lookboth.evaluation.corrections import benjamini_hochberg, holm

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=7)


@given(P_VALUES)
def test_holm_is_the_closed_test_of_bonferroni(p_values):
    # A hypothesis falls when every set of hypotheses that holds it falls, each tested by Bonferroni.
    everyone = range(len(p_values))
    sets = [members for size in everyone for members in combinations(everyone, size + 1)]
    by_set = {members: min(1.0, len(members) * min(p_values[i] for i in members)) for members in sets}
    expected = [max(p for members, p in by_set.items() if i in members) for i in everyone]
    assert holm(p_values) == pytest.approx(expected)


@given(P_VALUES)
@settings(deadline=None)
def test_benjamini_hochberg_is_the_smallest_rate_at_which_a_hypothesis_falls(p_values):
    # At the rate q all hypotheses up to the last one with p <= q * rank / number fall.
    def rate(p):
        ranks = [sum(other <= cut for other in p_values) for cut in p_values]
        return min(len(p_values) * cut / rank for cut, rank in zip(p_values, ranks, strict=True) if cut >= p)

    assert benjamini_hochberg(p_values) == pytest.approx([rate(p) for p in p_values])


@given(P_VALUES)
@settings(deadline=None)
def test_a_correction_never_makes_more_certain(p_values):
    rows = zip(p_values, benjamini_hochberg(p_values), holm(p_values), strict=True)
    assert all(raw <= rate + 1e-12 and rate <= family + 1e-12 and family <= 1 for raw, rate, family in rows)


def test_no_comparison_and_no_p_value():
    assert holm([]) == benjamini_hochberg([]) == []
    for wrong in (1.5, float("nan")):
        with pytest.raises(DataError, match="not a p-value"):
            holm([0.5, wrong])
