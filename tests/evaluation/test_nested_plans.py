"""The pairs of the nested tests, and that the tests find what was put into the scores."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, strategies as st

from lookboth.errors import DataError
from lookboth.evaluation.nested_plans import group_effects, nested_pairs, nested_plan_test

pytest.importorskip("scipy")


def all_plans(num_groups):
    return ["".join(bits) for bits in product("01", repeat=num_groups)]


def scores_of(effects, num_seeds=3, noise=0.0, rng=None):
    """A score that adds up what each group is worth, something for the seed, and noise."""
    worth = {
        plan: sum(e for bit, e in zip(plan, effects, strict=True) if bit == "1")
        for plan in all_plans(len(effects))
    }
    draw = (lambda: rng.normal(scale=noise)) if noise else (lambda: 0.0)
    return {
        plan: {seed: 0.5 + w + 0.01 * seed + draw() for seed in range(num_seeds)} for plan, w in worth.items()
    }


def test_pairs_of_four_groups_are_those_the_papers_notebook_prints():
    by_plan = {
        "0010": ["0011"],
        "0100": ["0101", "0110", "0111"],
        "0110": ["0111"],
        "1000": ["1001", "1010", "1011", "1100", "1101", "1110", "1111"],
        "1010": ["1011"],
        "1100": ["1101", "1110", "1111"],
        "1110": ["1111"],
    }
    assert nested_pairs(4) == [(a, b) for a, more in by_plan.items() for b in more]
    assert nested_pairs(4, from_causal=True)[:15] == [("0000", b) for b in all_plans(4)[1:]]


def test_plans_of_many_layers_are_paired_by_what_is_there():
    """Of 40 layers there are more plans than any memory holds."""
    plans = ["10" * 20, "1" * 40, "1" + "0" * 39, "10" * 19 + "11"]
    scores = {plan: {0: 0.5 + 0.01 * place} for place, plan in enumerate(plans)}
    assert nested_plan_test(scores).num_pairs == 4


@given(st.integers(1, 5))
def test_a_pair_only_switches_on_and_only_behind_the_last_group(num_groups):
    pairs = set(nested_pairs(num_groups, from_causal=True))
    for a, b in product(all_plans(num_groups), repeat=2):
        switched = [i for i in range(num_groups) if a[i] != b[i]]
        nested = bool(switched) and all(b[i] == "1" and "1" not in a[i:] for i in switched)
        assert ((a, b) in pairs) == nested


@given(st.lists(st.floats(-0.1, 0.1), min_size=2, max_size=4))
def test_group_effects_recover_what_each_group_is_worth(effects):
    found = group_effects(scores_of(effects))
    assert [effect.difference for effect in found] == pytest.approx(effects, abs=1e-9)
    assert {effect.num_pairs for effect in found} == {3 * 2 ** (len(effects) - 1)}


def test_the_papers_test_goes_one_way():
    rng = np.random.default_rng(0)
    better = nested_plan_test(scores_of([0.0, 0.02, 0.02, 0.05], noise=0.005, rng=rng))
    worse = nested_plan_test(scores_of([0.0, -0.02, -0.02, -0.05], noise=0.005, rng=rng))
    assert better.num_pairs == 17
    assert better.p_value < 0.001 < 0.999 < worse.p_value
    assert better.difference > 0 > worse.difference


def test_one_pair_of_the_papers_test_is_two_means_over_seeds():
    scores = {"10": {0: 0.5, 1: 0.7}, "11": {0: 0.7, 1: 0.9}, "00": {0: 0.1}}
    assert nested_plan_test(scores) == (pytest.approx(0.2), None, None, None, 1)
    assert nested_plan_test(scores, from_causal=True).num_pairs == 3


def test_false_alarms_of_a_group_are_as_rare_as_promised():
    rng = np.random.default_rng(1)
    p_values = [
        e.p_value for _ in range(100) for e in group_effects(scores_of([0.0] * 3, noise=0.01, rng=rng))
    ]
    assert np.mean(np.array(p_values) < 0.1) == pytest.approx(0.1, abs=0.05)


def test_a_seed_without_its_partner_is_left_out():
    (effect,) = group_effects({"0": {0: 0.5, 1: 0.5}, "1": {0: 0.6, 2: 0.9}})
    assert (effect.difference, effect.num_pairs) == (pytest.approx(0.1), 1)


def test_plans_that_make_no_pair_are_named():
    with pytest.raises(DataError, match="no pair among the plans 0001, 0000"):
        nested_plan_test({"0001": {0: 0.5}, "0000": {0: 0.4}})
    with pytest.raises(DataError, match="group 0 alone"):
        group_effects({"11": {0: 0.5}, "00": {0: 0.4}})
    with pytest.raises(DataError, match="same number of groups"):
        group_effects({"11": {0: 0.5}, "0": {0: 0.4}})
    with pytest.raises(DataError, match="write each plan as bits"):
        nested_plan_test({"causal": {0: 0.5}})
