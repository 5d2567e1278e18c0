"""From the windows of a text to its labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookboth.inference.text_labels import average_windows, choose_labels

LOGITS = st.lists(st.lists(st.floats(-30, 30), min_size=3, max_size=3), min_size=1, max_size=5)


def log_softmax(logits):
    return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)


def log_sigmoid(logits):
    return -np.logaddexp(0, -logits)


@given(LOGITS, st.integers(1, 9))
def test_averaging_windows_is_averaging_their_logits(logits, weight):
    logits = np.array(logits)
    weights = [weight, *range(1, len(logits))]
    mean = np.average(logits, axis=0, weights=weights)
    np.testing.assert_allclose(
        average_windows(log_softmax(logits), weights), log_softmax(mean), atol=1e-6, rtol=1e-6
    )
    np.testing.assert_allclose(
        average_windows(log_sigmoid(logits), weights, multi_label=True),
        log_sigmoid(mean),
        atol=1e-2,
        rtol=1e-4,
    )


def test_a_certain_window_stays_finite():
    certain = np.array([[0.0, -200.0]], dtype=np.float32)
    for multi_label in (False, True):
        assert np.isfinite(average_windows(certain, [1], multi_label=multi_label)).all()


def test_one_label_or_all_that_reach_the_threshold():
    log_probs = np.log([0.5, 0.2, 0.9])
    names = ("joy", "fear", "anger")
    assert [label for label, _ in choose_labels(log_probs, names)] == ["anger"]
    chosen = choose_labels(log_probs, names, threshold=0.5 - 1e-9)
    assert [label for label, _ in chosen] == ["anger", "joy"]
    assert [score for _, score in chosen] == pytest.approx([0.9, 0.5])
    assert choose_labels(log_probs, names, threshold=0.95) == ()
