"""The CRF head against brute force: every tag sequence of tiny texts, counted one by one."""

from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from lookboth.config.training_sections import HeadConfig
from lookboth.data.schemes import find_tag_errors, tags_for_labels
from lookboth.inference.decoding import decode_tags_constrained
from lookboth.models.heads.head_registry import build_head

SCHEMES = {
    "IOB2": tags_for_labels(["A", "B"], "IOB2"),
    "IOBES": tags_for_labels(["A"], "IOBES"),
    "plain": ("NOUN", "VERB", "I-A"),
}
texts = st.lists(st.integers(0, 4), min_size=1, max_size=4).filter(any)
scheme_names = st.sampled_from(list(SCHEMES))
seeds = st.integers(0, 10_000)


def make(scheme, num_words, seed, scale=2.0):
    """A CRF with random steps, and random scores, labels and lengths for texts of so many words."""
    tags = SCHEMES[scheme]
    torch.manual_seed(seed)
    head = build_head(HeadConfig(kind="crf"), hidden_size=4, num_layers=1, tags=tags, scheme=scheme)
    with torch.no_grad():
        head.steps.normal_(std=scale)
    total = sum(num_words)
    scores = scale * torch.randn(total, len(tags))
    return head, scores, torch.tensor(num_words)


def inner_ok(path, tags, scheme):
    """Whether no step between words is forbidden, whatever the border says."""
    before = {"I": "B-", "E": "B-"}.get(tags[path[0]][0]) if path and scheme != "plain" else None
    after = {"IOBES": {"B": "E-", "I": "E-"}}.get(scheme, {}).get(tags[path[-1]][0]) if path else None
    named = [tags[i] for i in path]
    left = [before + named[0][2:]] if before else []
    right = [after + named[-1][2:]] if after else []
    return not find_tag_errors(left + named + right, scheme)


def weight(path, rows, steps):
    """The score of one tag sequence, border steps and all."""
    border = len(steps) - 1
    around = (border, *path, border)
    own = sum(float(rows[word, tag]) for word, tag in enumerate(path))
    return own + sum(float(steps.detach()[a, b]) for a, b in pairwise(around))


def sequences(rows, tags, scheme, allowed):
    return [p for p in product(range(len(tags)), repeat=len(rows)) if allowed(p, tags, scheme)]


def well_formed(path, tags, scheme):
    return not find_tag_errors([tags[i] for i in path], scheme)


@given(scheme=scheme_names, num_words=texts, seed=seeds, known=st.sampled_from(["one", "several", "none"]))
@settings(max_examples=60, deadline=None)
def test_loss_is_minus_the_log_share_of_the_labels(scheme, num_words, seed, known):
    head, scores, lengths = make(scheme, num_words, seed)
    tags, rng = head.tags, np.random.default_rng(seed)
    several = len(tags)
    possible = rng.integers(2, size=several).astype(bool)
    head.allow_tags([possible.tolist()] * (known == "several"))
    stands_for = {-100: range(several), several: np.flatnonzero(possible), **{i: [i] for i in range(several)}}
    labels, expected, start = [], 0.0, 0
    for length in num_words:
        rows = scores[start : start + length].double()
        paths = sequences(rows, tags, scheme, inner_ok)
        gold = list(paths[rng.integers(len(paths))]) if length else []
        place = rng.integers(length) if length else 0
        if known == "none" and length:
            gold[place] = -100
        if known == "several" and length and possible[gold[place]]:
            gold[place] = several
        agreeing = [p for p in paths if all(t in stands_for[g] for g, t in zip(gold, p, strict=True))]
        share = [torch.tensor([weight(p, rows, head.steps) for p in some]) for some in (paths, agreeing)]
        expected += float(share[0].logsumexp(0) - share[1].logsumexp(0)) if length else 0.0
        labels += gold
        start += length
    loss = head.loss(scores, torch.tensor(labels), lengths).detach()
    assert float(loss) == pytest.approx(expected, abs=1e-3)


@given(scheme=scheme_names, num_words=texts, seed=seeds)
@settings(max_examples=60, deadline=None)
def test_log_probs_are_the_marginals_of_all_well_formed_sequences(scheme, num_words, seed):
    head, scores, lengths = make(scheme, num_words, seed)
    found = head.log_probs(scores, lengths).exp()
    start = 0
    for length in filter(None, num_words):
        rows = scores[start : start + length]
        paths = sequences(rows, head.tags, scheme, well_formed)
        shares = torch.tensor([weight(p, rows, head.steps) for p in paths]).softmax(0)
        expected = torch.zeros(length, len(head.tags))
        for path, share in zip(paths, shares, strict=True):
            expected[range(length), path] += share
        torch.testing.assert_close(found[start : start + length], expected, atol=1e-4, rtol=1e-3)
        start += length


@given(scheme=scheme_names, length=st.integers(1, 4), seed=seeds)
@settings(max_examples=60, deadline=None)
def test_the_decoded_sequence_is_the_best_of_all(scheme, length, seed):
    head, scores, _ = make(scheme, [length], seed)
    path = decode_tags_constrained(scores.numpy(), head.tags, scheme, head.likelihood().transitions)
    best = max(sequences(scores, head.tags, scheme, well_formed), key=lambda p: weight(p, scores, head.steps))
    assert weight(path, scores, head.steps) == pytest.approx(weight(best, scores, head.steps), abs=1e-4)


@given(scheme=scheme_names, num_words=texts, seed=seeds)
@settings(max_examples=40, deadline=None)
def test_a_text_among_others_is_the_text_alone(scheme, num_words, seed):
    head, scores, lengths = make(scheme, num_words, seed)
    labels = torch.zeros(len(scores), dtype=torch.long)  # O in every scheme but plain, where all goes
    parts = [
        (s, y, torch.tensor([len(s)]))
        for s, y in zip(scores.split(num_words), labels.split(num_words), strict=True)
    ]
    alone = sum(float(head.loss(s, y, n).detach()) for s, y, n in parts if len(s))
    assert float(head.loss(scores, labels, lengths).detach()) == pytest.approx(alone, abs=1e-3)
    marginals = torch.cat([head.log_probs(s, n) for s, _, n in parts])
    torch.testing.assert_close(head.log_probs(scores, lengths).exp(), marginals.exp(), atol=1e-5, rtol=1e-4)


@given(num_words=texts, seed=seeds)
@settings(max_examples=30, deadline=None)
def test_without_steps_it_is_the_linear_head(num_words, seed):
    head, scores, lengths = make("plain", num_words, seed)  # a scheme that forbids nothing
    with torch.no_grad():
        head.steps.zero_()
    linear = build_head(HeadConfig(), hidden_size=4, num_layers=1, tags=head.tags, scheme="plain")
    labels = torch.randint(0, len(head.tags), (len(scores),))
    torch.testing.assert_close(head.loss(scores, labels, lengths), linear.loss(scores, labels, lengths))
    torch.testing.assert_close(head.log_probs(scores, lengths), linear.log_probs(scores, lengths))


def test_gradients_are_expected_minus_observed_steps():
    head, scores, lengths = make("IOB2", [3, 1, 4], seed=1)
    scores.requires_grad_(True)
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0, -100])
    head.loss(scores, labels, lengths).backward()
    assert torch.isfinite(scores.grad).all()
    assert torch.isfinite(head.steps.grad).all()
    # All steps of a text together: one more than its words, expected and observed alike.
    assert float(head.steps.grad.sum()) == pytest.approx(0, abs=1e-4)
    forbidden = ~head.allowed[:-1, :-1]
    assert float(head.steps.grad[:-1, :-1][forbidden].abs().max()) == pytest.approx(0, abs=1e-6)
    assert float(scores.grad[-1].abs().max()) < float(scores.grad.abs().max())


def test_a_window_may_begin_and_end_inside_a_span():
    head, scores, lengths = make("IOBES", [3], seed=0)
    tags = head.tags
    cut = torch.tensor([tags.index("I-A"), tags.index("E-A"), tags.index("B-A")])
    assert 0 < float(head.loss(scores, cut, lengths).detach()) < 100


def test_long_texts_stay_exact_in_fp32():
    head, scores, lengths = make("IOB2", [5000], seed=3, scale=5.0)
    found = head.log_probs(scores, lengths).exp()
    torch.testing.assert_close(found.sum(-1), torch.ones(5000), atol=1e-4, rtol=0)
    # The middle of a long text cannot notice that its far ends are gone.
    part = head.log_probs(scores[1000:3000], torch.tensor([2000])).exp()
    torch.testing.assert_close(found[1500:2500], part[500:1500], atol=1e-4, rtol=0)


def test_many_texts_go_in_groups(monkeypatch):
    head, scores, lengths = make("IOB2", [2, 0, 3, 1, 0, 0, 4], seed=5)
    whole = head.log_probs(scores, lengths)
    monkeypatch.setattr("lookboth.inference.likelihoods._TEXTS_AT_ONCE", 2)
    torch.testing.assert_close(head.log_probs(scores, lengths), whole)
    assert head.log_probs(scores[:0], torch.tensor([0, 0])).shape == (0, len(head.tags))
