"""The maths of confidence against brute force and against data whose calibration is known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from lookboth.evaluation.calibration import (
    conformal_quantile,
    decisions,
    fit_temperature,
    log_loss,
    measure_coverage,
    reliability,
    threshold_for,
)
from lookboth.types import PredictedSpan, Span

pairs = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.55, 0.8, 0.99, 1.0]), st.booleans()),
    min_size=1,
    max_size=30,
)


def split(found):
    return np.array([score for score, _ in found]), np.array([right for _, right in found])


@given(pairs, st.integers(1, 12))
def test_reliability_is_what_a_loop_over_the_bins_gives(found, num_bins):
    error = 0.0
    for number in range(num_bins):
        low, high = number / num_bins, (number + 1) / num_bins
        last = number == num_bins - 1
        inside = [(s, r) for s, r in found if low <= s < high or (last and s == 1.0)]
        if inside:
            scores, right = split(inside)
            error += len(inside) / len(found) * abs(scores.mean() - right.mean())
    measured = reliability(*split(found), num_bins=num_bins)
    assert measured.error == pytest.approx(error)
    assert sum(item.number for item in measured.bins) == measured.count == len(found)


def test_scores_drawn_as_they_say_have_no_error_and_others_the_error_they_were_made_with():
    rng = np.random.default_rng(0)
    scores = rng.uniform(size=200_000)
    honest = rng.uniform(size=len(scores)) < scores
    assert reliability(scores, honest).error < 0.01
    boast = (
        rng.uniform(size=len(scores)) < scores / 2
    )  # right half as often as promised: off by half the mean score
    assert reliability(scores, boast).error == pytest.approx(0.25, abs=0.01)


def test_nothing_found_has_nothing_to_be_wrong():
    empty = reliability(np.array([]), np.array([], dtype=bool))
    assert (empty.error, empty.count, empty.bins) == (0.0, 0, ())
    assert "0.0 %" in empty.describe()


def test_the_table_shows_every_bin():
    shown = reliability(np.array([0.05, 0.95, 0.97]), np.array([False, True, False])).describe()
    assert "0.0-0.1        1        5.0%    0.0%" in shown
    assert "0.9-1.0        2       96.0%   50.0%" in shown


@pytest.mark.parametrize("true", [0.4, 1.0, 1.7, 3.0])
def test_the_temperature_that_made_the_data_is_found(true):
    rng = np.random.default_rng(1)
    logits = rng.normal(scale=3, size=60_000)

    def scores_at(temperature):
        return 1 / (1 + np.exp(-logits / temperature))

    right = rng.uniform(size=len(logits)) < scores_at(true)
    found = fit_temperature(scores_at, right)
    assert found == pytest.approx(true, rel=0.05)
    assert reliability(scores_at(found), right).error < 0.01
    grid = [log_loss(scores_at(t), right) for t in np.geomspace(0.1, 10, 400)]
    assert log_loss(scores_at(found), right) <= min(grid) + 1e-6


def test_a_temperature_at_the_border_stays_there():
    assert fit_temperature(lambda t: np.full(5, 0.5**t), np.ones(5, dtype=bool)) == pytest.approx(
        0.1, rel=0.01
    )


@given(pairs, st.sampled_from([0.1, 0.5, 2 / 3, 0.75, 0.9, 1.0]))
def test_a_threshold_is_the_least_that_is_precise_enough(found, precision):
    scores, right = split(found)
    enough = [t for t in sorted(set(scores)) if right[scores >= t].mean() >= precision]
    assert threshold_for(scores, right, precision) == (enough[0] if enough else None)
    assert threshold_for(scores[:0], right[:0], precision) is None


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=30, unique=True),
    st.sampled_from([0.3, 0.5, 0.8, 0.9, 0.99]),
)
def test_with_one_value_a_group_the_bound_is_that_of_split_conformal_prediction(values, coverage):
    """The ceil((n + 1) * coverage)-th smallest of n values, else infinity (Lei et al. 2018, section 2.2)."""
    rank = math.ceil((len(values) + 1) * coverage - 1e-9)
    wanted = sorted(values)[rank - 1] if rank <= len(values) else math.inf
    assert conformal_quantile([np.array([value]) for value in values], coverage) == wanted


@settings(max_examples=50)
@given(
    st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=4), min_size=1, max_size=8),
    st.floats(0.05, 0.99),
)
def test_the_bound_is_the_least_with_enough_weight_below(groups, coverage):
    def weight(bound):
        return sum(sum(value <= bound for value in group) / len(group) for group in groups) / (
            len(groups) + 1
        )

    enough = [bound for bound in range(6) if weight(bound) >= coverage - 1e-9]
    assert conformal_quantile([np.array(group) for group in groups], coverage) == (
        enough[0] if enough else math.inf
    )


def test_the_coverage_is_kept_where_words_of_a_sentence_go_together():
    """Sentences differ in length and level, longer ones are worse; a bound over pooled words would miss."""
    rng = np.random.default_rng(2)

    def sentence():
        length = int(rng.integers(1, 30))
        return rng.normal(loc=rng.normal() - 0.1 * length, scale=0.2, size=length)

    held = []
    for _ in range(1500):
        bound = conformal_quantile([sentence() for _ in range(40)], 0.9)
        held.append(np.mean(sentence() <= bound))
    error = np.std(held) / math.sqrt(len(held))
    assert 0.9 - 3 * error < np.mean(held) < 0.9 + 1 / 41 + 3 * error


def test_what_counts_as_right_is_start_end_and_label():
    found = [
        [PredictedSpan(0, 1, "PER", "", 0, 0, 0.9), PredictedSpan(2, 3, "LOC", "", 0, 0, 0.8)],
        [PredictedSpan(0, 1, "PER", "", 0, 0, 0.7)],
    ]
    scores, right = decisions([[Span(0, 1, "PER"), Span(2, 4, "LOC")], [Span(0, 1, "LOC")]], found)
    assert scores.tolist() == [0.9, 0.8, 0.7]
    assert right.tolist() == [True, False, False]


@settings(max_examples=50)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from("OPL"), st.sets(st.sampled_from("OPL"))), max_size=5), max_size=5
    )
)
def test_coverage_is_averaged_over_the_sentences_that_have_the_tag(sentences):
    gold = [[tag for tag, _ in sentence] for sentence in sentences]
    sets = [[sorted(held) for _, held in sentence] for sentence in sentences]
    measured = measure_coverage(gold, sets)
    for tag in "OPL":
        shares = [
            np.mean([tag in held for t, held in sentence if t == tag])
            for sentence in sentences
            if any(t == tag for t, _ in sentence)
        ]
        assert measured.by_tag.get(tag) == (pytest.approx(np.mean(shares)) if shares else None)
    words = [word for sentence in sentences for word in sentence]
    if words:
        assert measured.overall == pytest.approx(np.mean([tag in held for tag, held in words]))
        assert measured.mean_size == pytest.approx(np.mean([len(held) for _, held in words]))
