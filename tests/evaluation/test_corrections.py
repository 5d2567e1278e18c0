"""Corrected p-values equal what their definitions say, worked out the long way."""

from itertools import combinations

import pytest
from hypothesis import given, strategies as st

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
def test_benjamini_hochberg_equals_scipys(p_values):
    stats = pytest.importorskip("scipy.stats")
    assert benjamini_hochberg(p_values) == pytest.approx(list(stats.false_discovery_control(p_values)))


@given(P_VALUES)
def test_a_correction_never_makes_more_certain(p_values):
    rows = zip(p_values, benjamini_hochberg(p_values), holm(p_values), strict=True)
    assert all(raw <= rate + 1e-12 and rate <= family + 1e-12 and family <= 1 for raw, rate, family in rows)


def test_no_comparison_and_no_p_value():
    assert holm([]) == benjamini_hochberg([]) == []
    for wrong in (1.5, float("nan")):
        with pytest.raises(DataError, match="not a p-value"):
            holm([0.5, wrong])
