"""Constrained decoding against brute force: the best of all well-formed tag sequences."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as npst

from lookboth.data.schemes import encode_spans, find_tag_errors, tags_for_labels
from lookboth.data.transitions import allowed_transitions
from lookboth.inference.decoding import choose_labels, decode_tags_constrained, keep_above, span_scores
from lookboth.types import PredictedSpan, Prediction, Span, TextLabel

TAGS = {
    "IOB2": tags_for_labels(["A", "B"], "IOB2"),
    "IOBES": tags_for_labels(["A"], "IOBES"),
    "plain": ("O", "X", "I-A"),
}


def well_formed(tags, scheme, num_words):
    """Return every well-formed sequence of tag ids."""
    ids = product(range(len(tags)), repeat=num_words)
    return [path for path in ids if not find_tag_errors([tags[i] for i in path], scheme)]


def score_of(log_probs, path):
    return sum(float(log_probs[word, tag]) for word, tag in enumerate(path))


def scores_for(tags, max_words):
    shape = st.tuples(st.integers(0, max_words), st.just(len(tags)))
    numbers = st.floats(-50, 0, width=32)
    return shape.flatmap(lambda s: npst.arrays(np.float32, s, elements=numbers))


@pytest.mark.parametrize("scheme", TAGS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_equals_brute_force(scheme, data):
    tags = TAGS[scheme]
    log_probs = data.draw(scores_for(tags, 4))
    path = decode_tags_constrained(log_probs, tags, scheme)
    assert not find_tag_errors([tags[i] for i in path], scheme)
    best = max(score_of(log_probs, p) for p in well_formed(tags, scheme, len(log_probs)))
    assert score_of(log_probs, path) == pytest.approx(best, abs=1e-3)


@pytest.mark.parametrize("scheme", TAGS)
@given(seed=st.integers(0, 10_000), num_words=st.integers(1, 200), scale=st.sampled_from([0.1, 3, 1e4]))
@settings(max_examples=60, deadline=None)
def test_long_sequences_are_well_formed_too(scheme, seed, num_words, scale):
    tags = tags_for_labels(["LOC", "ORG", "PER-x"], scheme)
    log_probs = scale * np.random.default_rng(seed).standard_normal((num_words, len(tags)), dtype=np.float32)
    path = decode_tags_constrained(log_probs, tags, scheme)
    assert len(path) == num_words
    assert not find_tag_errors([tags[i] for i in path], scheme)


@pytest.mark.parametrize("scheme", TAGS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_well_formed_argmax_is_the_answer(scheme, data):
    tags = TAGS[scheme]
    log_probs = data.draw(scores_for(tags, 5))
    argmax = log_probs.argmax(axis=1).tolist()
    if not find_tag_errors([tags[i] for i in argmax], scheme):
        assert decode_tags_constrained(log_probs, tags, scheme) == argmax


@pytest.mark.parametrize("scheme", ["IOB2", "IOBES"])
def test_well_formed_tags_come_back(scheme):
    tags = tags_for_labels(["LOC", "PER"], scheme)
    spans = [Span(0, 2, "PER"), Span(2, 3, "PER"), Span(3, 6, "LOC"), Span(8, 9, "PER")]
    wanted = encode_spans(spans, 9, scheme)
    log_probs = np.full((9, len(tags)), -9.0, dtype=np.float32)
    log_probs[range(9), [tags.index(tag) for tag in wanted]] = 0
    assert [tags[i] for i in decode_tags_constrained(log_probs, tags, scheme)] == list(wanted)


@pytest.mark.parametrize("scheme", TAGS)
def test_allowed_transitions_are_those_without_an_error(scheme):
    tags = TAGS[scheme]
    allowed = allowed_transitions(tags, scheme)
    for path in product(range(len(tags)), repeat=3):
        steps = zip((len(tags), *path), (*path, len(tags)), strict=True)
        expected = not find_tag_errors([tags[i] for i in path], scheme)
        assert all(allowed[step] for step in steps) == expected


def test_span_scores_are_geometric_means():
    log_probs = np.log(np.array([[0.5, 0.5], [0.9, 0.1], [0.2, 0.8]]))
    assert span_scores(log_probs, [0, 1, 1], [Span(1, 3, "A")]) == pytest.approx([(0.1 * 0.8) ** 0.5])
    assert span_scores(log_probs, [0, 0, 1], [Span(0, 1, "A")]) == pytest.approx([0.5])


def test_the_best_label_or_all_that_reach_the_threshold():
    log_probs = np.log([0.5, 0.2, 0.9])
    names = ("joy", "fear", "anger")
    assert choose_labels(log_probs, names) == (("anger", pytest.approx(0.9)),)
    chosen = choose_labels(log_probs, names, threshold=0.5 - 1e-9)
    assert chosen == (("anger", pytest.approx(0.9)), ("joy", pytest.approx(0.5)))
    assert choose_labels(log_probs, names, threshold=0.95) == ()


def test_what_scores_too_low_is_in_no_tag():
    words, offsets = ("New", "York", "met", "Ada"), ((0, 3), (4, 8), (9, 12), (13, 16))
    york = PredictedSpan(0, 2, "LOC", "New York", 0, 8, 0.4)
    ada = PredictedSpan(3, 4, "PER", "Ada", 13, 16, 0.9)
    tags = ("B-LOC", "E-LOC", "O", "S-PER")
    found = Prediction("New York met Ada", words, offsets, tags, (york, ada))
    assert keep_above(found, 0.4, "IOBES") == found
    assert keep_above(found, 0.5, "IOBES").tags == ("O", "O", "O", "S-PER")
    kept = keep_above(found, {"PER": None}, "IOBES")
    assert (kept.spans, kept.tags) == ((york,), ("B-LOC", "E-LOC", "O", "O"))
    plain = Prediction("a b", ("a", "b"), ((0, 1), (2, 3)), ("X", "X"), tuple(
        PredictedSpan(i, i + 1, "X", w, 2 * i, 2 * i + 1, s) for i, (w, s) in enumerate((("a", 0.1), ("b", 0.8)))
    ))  # fmt: skip
    assert keep_above(plain, 0.5, "plain").tags == ("O", "X")


def test_labels_of_whole_texts_are_kept_above_a_score_too():
    found = Prediction("so", ("so",), ((0, 2),), (), labels=(TextLabel("joy", 0.9), TextLabel("fear", 0.2)))
    assert keep_above(found, 0.5, "text").labels == (TextLabel("joy", 0.9),)
