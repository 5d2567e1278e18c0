"""Means and paired differences over seeds equal the standard library's and scipy's."""

import statistics

import numpy as np
import pytest
from hypothesis import assume, given, strategies as st

from lookboth.errors import ConfigError, DataError
from lookboth.evaluation.seeds import mean_and_sd, paired_difference

SCORES = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=8)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_mean_and_sd_equal_the_standard_library(values):
    result = mean_and_sd(values)
    assert result.mean == pytest.approx(statistics.fmean(values), abs=1e-12)
    assert result.sd == pytest.approx(statistics.stdev(values), abs=1e-9)


def test_one_seed_has_no_standard_deviation():
    assert mean_and_sd([0.4]) == (0.4, None)
    with pytest.raises(DataError, match="at least one run"):
        mean_and_sd([])


@given(pairs=SCORES, alternative=st.sampled_from(["two-sided", "greater"]))
def test_paired_t_test_and_interval_equal_scipys(pairs, alternative):
    stats = pytest.importorskip("scipy.stats")
    first, second = np.array(pairs).T
    assume(np.std(first - second) > 1e-6)
    result = paired_difference(first, second, alternative=alternative, level=0.9)
    assert result.p_value == pytest.approx(stats.ttest_rel(first, second, alternative=alternative).pvalue)
    assert result.interval == pytest.approx(stats.ttest_rel(first, second).confidence_interval(0.9))
    assert result.effect_size == pytest.approx(result.difference / statistics.stdev(first - second))


def test_a_mean_without_spread_is_certain_and_has_no_effect_size():
    pytest.importorskip("scipy")
    better = paired_difference([0.5, 0.6], [0.4, 0.5])
    assert (better.p_value, better.effect_size) == (0.0, None)
    assert better.interval == pytest.approx((0.1, 0.1))
    assert paired_difference([0.4, 0.5], [0.5, 0.6], alternative="greater").p_value == 1.0
    assert paired_difference([0.4, 0.5], [0.4, 0.5]).p_value == 1.0


def test_one_pair_gives_a_difference_and_nothing_else():
    assert paired_difference([0.75], [0.5]) == (0.25, None, None, None, 1)


def test_bad_arguments_name_what_is_allowed():
    with pytest.raises(DataError, match="2 and 1 scores"):
        paired_difference([0.1, 0.2], [0.1])
    with pytest.raises(DataError, match="at least one"):
        paired_difference([], [])
    with pytest.raises(ConfigError, match="between 0 and 1"):
        paired_difference([0.1, 0.2], [0.1, 0.1], level=95)
    with pytest.raises(ConfigError, match="'two-sided' or 'greater'"):
        paired_difference([0.1, 0.2], [0.1, 0.1], alternative="less")
