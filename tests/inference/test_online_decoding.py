"""Online decoding: the tags of Viterbi over the whole text, or those of the same lag over the whole text."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from lookboth.data.schemes import find_tag_errors, tags_for_labels
from lookboth.inference.decoding import decode_tags_constrained
from lookboth.inference.likelihoods import Likelihood
from lookboth.inference.online_decoding import OnlineDecoder, decode_online

SETTINGS = st.tuples(
    st.sampled_from(("IOB2", "IOBES")), st.booleans(), st.integers(0, 30), st.integers(0, 10_000)
)


def made(setting):
    """Return tags, scheme, a likelihood with or without transitions, and random scores."""
    scheme, learned, length, seed = setting
    tags, random = tags_for_labels(("LOC", "PER"), scheme), np.random.default_rng(seed)
    steps = random.normal(size=(len(tags) + 1, len(tags) + 1)).astype(np.float32) if learned else None
    return (
        tags,
        scheme,
        Likelihood(transitions=steps),
        random.normal(size=(length, len(tags))).astype(np.float32),
    )


@given(SETTINGS)
def test_without_lag_the_tags_are_those_of_viterbi(setting):
    tags, scheme, likelihood, scores = made(setting)
    expected = decode_tags_constrained(scores, tags, scheme, likelihood.transitions)
    assert decode_online(scores, tags, scheme, likelihood, lag=None) == expected
    # A lag longer than the text changes nothing.
    assert decode_online(scores, tags, scheme, likelihood, lag=len(scores)) == expected


@given(SETTINGS, st.integers(0, 3), st.lists(st.integers(1, 4), max_size=8))
@settings(max_examples=60)
def test_chunks_and_lags(setting, lag, chunks):
    tags, scheme, likelihood, scores = made(setting)
    decoder, found, start = OnlineDecoder(tags, scheme, likelihood, lag=lag), [], 0
    for size in [*chunks, len(scores)]:
        found += decoder.push(scores[start : start + size])
        start += size
        assert len(found) >= min(start, len(scores)) - lag
    found += decoder.finish()
    assert found == decode_online(scores, tags, scheme, likelihood, lag=lag)
    assert len(found) == len(scores)
    # IOB2 has no tag that a later word makes ill-formed.
    if scheme == "IOB2":
        assert find_tag_errors([tags[tag] for tag in found], scheme) == []


def test_greedy_takes_the_best_tag_that_may_follow():
    tags = ("O", "B-PER", "I-PER")
    scores = np.array([[1.0, 0.9, 5.0], [0.0, 1.0, 9.0], [0.0, 0.1, 2.0]])
    greedy = decode_online(scores, tags, "IOB2", Likelihood(), lag=0)
    assert [tags[tag] for tag in greedy] == ["O", "B-PER", "I-PER"]
    best = decode_online(scores, tags, "IOB2", Likelihood(), lag=None)
    assert [tags[tag] for tag in best] == ["B-PER", "I-PER", "I-PER"]


@pytest.mark.parametrize("lag", [None, 2])
def test_memory_does_not_grow(lag):
    tags = ("O", "B-PER", "I-PER")
    decoder = OnlineDecoder(tags, "IOB2", Likelihood(), lag=lag)
    scores = np.random.default_rng(0).normal(size=(2000, 3)) * 3
    found = decoder.push(scores)
    assert len(scores) - len(found) == len(decoder._back) < 20
