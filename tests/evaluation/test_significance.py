"""Intervals and p-values held against what they promise: coverage, calibration, repeatability."""

import time
from itertools import product

import numpy as np
import pytest
from hypothesis import given, strategies as st

from lookboth.errors import ConfigError, DataError
from lookboth.evaluation.metrics import score_spans
from lookboth.evaluation.significance import (
    approximate_randomization,
    bootstrap_interval,
    bootstrap_seeds,
    paired_bootstrap,
    randomize_seeds,
    sentence_counts,
)
from lookboth.types import Span


def noisy_pair(num_sentences, accuracy, rng, spans_each=2):
    """Gold spans, and a prediction that gets each right with the given probability."""
    gold, predicted = [], []
    for _ in range(num_sentences):
        wanted = [Span(2 * i, 2 * i + 1, "PER") for i in range(rng.integers(spans_each + 1))]
        gold.append(wanted)
        predicted.append([s if rng.random() < accuracy else s._replace(label="LOC") for s in wanted])
    return gold, predicted


def corrupt(gold, accuracy, rng):
    return [[s if rng.random() < accuracy else s._replace(label="LOC") for s in spans] for spans in gold]


def test_interval_holds_the_score_and_narrows_with_more_sentences():
    rng = np.random.default_rng(0)
    widths = []
    for num_sentences in (50, 800):
        gold, predicted = noisy_pair(num_sentences, 0.7, rng)
        interval = bootstrap_interval(gold, predicted)
        assert interval.low < score_spans(gold, predicted).micro.f1 < interval.high
        widths.append(interval.high - interval.low)
    assert widths[1] == pytest.approx(
        widths[0] / 4, rel=0.35
    )  # 16 times the sentences, a quarter of the width


def test_interval_covers_the_true_score_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    # Every span has one prediction, so precision = recall = F1 and its expectation is the accuracy.
    inside = 0
    for trial in range(120):
        gold, predicted = noisy_pair(150, 0.7, rng)
        low, high = bootstrap_interval(gold, predicted, num_resamples=200, level=0.9, seed=trial)
        inside += low <= 0.7 <= high
    assert 0.80 <= inside / 120 <= 0.97


def test_same_seed_same_interval():
    gold, predicted = noisy_pair(60, 0.6, np.random.default_rng(2))
    assert bootstrap_interval(gold, predicted, seed=5) == bootstrap_interval(gold, predicted, seed=5)
    assert bootstrap_interval(gold, predicted, seed=5) != bootstrap_interval(gold, predicted, seed=6)
    wide, narrow = (bootstrap_interval(gold, predicted, level=level) for level in (0.99, 0.5))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_perfect_and_empty_predictions_have_no_spread():
    gold = [[Span(0, 1, "A")], [Span(1, 2, "B")], [Span(0, 3, "A")]]
    assert bootstrap_interval(gold, gold) == (1.0, 1.0)
    assert bootstrap_interval(gold, [[], [], []]) == (0.0, 0.0)
    assert bootstrap_interval([[], []], [[], []]) == (0.0, 0.0)


def test_two_thousand_sentences_are_quick():
    gold, predicted = noisy_pair(2000, 0.7, np.random.default_rng(3))
    start = time.process_time()
    bootstrap_interval(gold, predicted, num_resamples=1000)
    assert time.process_time() - start < 1.0


def test_paired_comparison_finds_a_clear_difference_and_is_antisymmetric():
    rng = np.random.default_rng(4)
    gold, strong = noisy_pair(400, 0.85, rng)
    weak = corrupt(gold, 0.7, rng)
    there = paired_bootstrap(gold, strong, weak)
    back = paired_bootstrap(gold, weak, strong)
    observed = score_spans(gold, strong).micro.f1 - score_spans(gold, weak).micro.f1
    assert there.difference == pytest.approx(observed)
    assert there.p_value < 0.01
    assert there.low > 0
    assert (back.difference, back.low, back.high) == pytest.approx(
        (-there.difference, -there.high, -there.low)
    )
    assert back.p_value == there.p_value


def test_paired_p_value_is_calibrated_when_nothing_differs():
    rng = np.random.default_rng(5)
    p_values = []
    for trial in range(150):
        gold, first = noisy_pair(100, 0.7, rng)
        p_values.append(
            paired_bootstrap(gold, first, corrupt(gold, 0.7, rng), num_resamples=200, seed=trial).p_value
        )
    assert np.mean(np.array(p_values) < 0.1) == pytest.approx(0.1, abs=0.08)
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.1)


def test_pairing_tells_apart_what_unpaired_intervals_cannot():
    rng = np.random.default_rng(6)
    gold, first = noisy_pair(300, 0.6, rng)
    # The second is the first with a few mistakes put right: always better, by little.
    second = [g if rng.random() < 0.06 else p for g, p in zip(gold, first, strict=True)]
    a, b = bootstrap_interval(gold, first), bootstrap_interval(gold, second)
    assert a.high > b.low
    assert paired_bootstrap(gold, second, first).p_value < 0.05


def f1_gap(counts, swapped):
    """Difference in mean F1 over seeds after exchanging the outputs of the marked sentences, the slow way."""
    totals = np.zeros_like(counts[:, 0])  # (2, seeds, 3)
    for sentence, swap in enumerate(swapped):
        totals += counts[:, sentence][:: -1 if swap else 1]
    f1 = 2 * totals[..., 0] / np.maximum(totals[..., 1] + totals[..., 2], 1)
    return f1[0].mean() - f1[1].mean()


@given(seed=st.integers(0, 10_000), num_seeds=st.integers(1, 3))
def test_randomization_approaches_the_share_of_all_exchanges(seed, num_seeds):
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, 3, size=(1, 6))
    right = rng.integers(0, gold + 1, size=(2, num_seeds, 6))
    predicted = right + rng.integers(0, 2, size=right.shape)
    counts = np.stack([right, predicted, np.broadcast_to(gold, right.shape)], axis=-1)  # (2, seeds, 6, 3)
    by_sentence = counts.transpose(0, 2, 1, 3)
    gaps = [f1_gap(by_sentence, swapped) for swapped in product([False, True], repeat=6)]
    exact = np.mean(np.abs(gaps) >= abs(gaps[0]) - 1e-12)
    result = randomize_seeds(counts[0], counts[1], num_shuffles=2000, seed=seed)
    assert result.difference == pytest.approx(gaps[0])
    assert result.p_value == pytest.approx(exact, abs=0.06)


def test_randomization_and_bootstrap_agree_and_the_order_only_turns_the_sign():
    rng = np.random.default_rng(7)
    gold, first = noisy_pair(300, 0.75, rng)
    second = corrupt(gold, 0.7, rng)
    there = approximate_randomization(gold, first, second)
    back = approximate_randomization(gold, second, first)
    assert back.difference == -there.difference
    assert back.p_value == pytest.approx(there.p_value, abs=0.02)
    assert there.p_value == pytest.approx(paired_bootstrap(gold, first, second).p_value, abs=0.1)
    assert approximate_randomization(gold, first, first) == (0.0, 1.0)
    worlds_apart = approximate_randomization(gold, gold, [[] for _ in gold], num_shuffles=499)
    assert worlds_apart.p_value == pytest.approx(1 / 500)


def test_the_same_run_three_times_is_one_run():
    rng = np.random.default_rng(8)
    gold, first = noisy_pair(80, 0.75, rng)
    a, b = sentence_counts(gold, first)[None], sentence_counts(gold, corrupt(gold, 0.6, rng))[None]
    thrice = [counts.repeat(3, axis=0) for counts in (a, b)]
    assert bootstrap_seeds(*thrice) == pytest.approx(bootstrap_seeds(a, b))
    assert randomize_seeds(*thrice) == pytest.approx(randomize_seeds(a, b))


def test_ten_thousand_shuffles_of_two_thousand_sentences_are_quick():
    rng = np.random.default_rng(9)
    gold, first = noisy_pair(2000, 0.7, rng)
    second = corrupt(gold, 0.68, rng)
    start = time.process_time()
    approximate_randomization(gold, first, second)
    assert time.process_time() - start < 3.0


def test_bad_arguments_name_what_is_allowed():
    gold = [[Span(0, 1, "A")]]
    with pytest.raises(DataError, match="no sentences"):
        bootstrap_interval([], [])
    with pytest.raises(DataError, match="1 gold sentences but 2 predicted"):
        paired_bootstrap(gold, gold, [[], []])
    with pytest.raises(ConfigError, match="between 0 and 1"):
        bootstrap_interval(gold, gold, level=95)
    with pytest.raises(ConfigError, match="at least 1"):
        bootstrap_interval(gold, gold, num_resamples=0)
    with pytest.raises(ConfigError, match="num_shuffles is 0"):
        approximate_randomization(gold, gold, gold, num_shuffles=0)
    with pytest.raises(DataError, match="the same sentences"):
        bootstrap_seeds(np.ones((1, 4, 3)), np.ones((2, 4, 3)))
