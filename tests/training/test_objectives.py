"""What is predicted from what: targets against the text they come from."""

import random

import pytest
from hypothesis import given, strategies as st
from tiny import tiny_tokenizer

from lookboth.data.alignment import Encoding
from lookboth.errors import ConfigError
from lookboth.training.objectives import Objective, find_mask_token
from lookboth.types import TokenizedExample

MASK, VOCAB = 999, 50
NAMES = ("clm", "mntp", "mlm")
TEXTS = st.lists(st.integers(0, VOCAB - 1), min_size=4, max_size=60)


def objective(name, prefix=1, suffix=0, share=0.5):
    encoding = Encoding("", (1,) * prefix, (2,) * suffix, 0)
    return Objective(name, encoding, mask_share=share, mask_id=MASK, vocab_size=VOCAB)


@given(TEXTS, st.sampled_from(NAMES), st.integers(0, 2), st.integers(0, 1), st.integers())
def test_labels_are_the_tokens_of_the_text_at_the_distance_of_the_objective(ids, name, prefix, suffix, seed):
    piece = objective(name, prefix, suffix).set_targets(TokenizedExample(tuple(ids), ()), random.Random(seed))
    distance = 0 if name == "mlm" else 1
    places = [start + distance for start, _ in piece.word_tokens]
    assert piece.labels == tuple(ids[place] for place in places)
    assert all(end == start + 1 for start, end in piece.word_tokens)
    assert all(max(prefix, distance) <= place < len(ids) - suffix for place in places)
    kept = set(range(len(ids))) - set(places)
    assert all(piece.input_ids[place] == ids[place] for place in kept)
    if name == "clm":
        assert piece.input_ids == tuple(ids)
        assert places == list(range(max(prefix, 1), len(ids) - suffix))


@pytest.mark.parametrize("name", ["mntp", "mlm"])
def test_shares_are_those_of_bert(name):
    ids = tuple(range(10_000, 60_000))  # no random token can be the right one by chance
    piece = objective(name, share=0.2).set_targets(TokenizedExample(ids, ()), random.Random(0))
    chosen = [start + (name == "mntp") for start, _ in piece.word_tokens]
    assert len(chosen) / len(ids) == pytest.approx(0.2, abs=0.01)
    shown = [piece.input_ids[place] for place in chosen]
    assert shown.count(MASK) / len(chosen) == pytest.approx(0.8, abs=0.02)
    left = sum(token == ids[place] for token, place in zip(shown, chosen, strict=True))
    assert left / len(chosen) == pytest.approx(0.1, abs=0.02)


def test_all_masked_is_the_masking_of_llm2vec():
    """Every token to predict is masked, and predicted from the position before it."""
    mntp = Objective("mntp", Encoding("", (1,), (), 0), 0.8, MASK, VOCAB, masking="all")
    ids = (1, *range(10_000, 20_000))
    piece = mntp.set_targets(TokenizedExample(ids, ()), random.Random(0))
    chosen = [start + 1 for start, _ in piece.word_tokens]
    assert len(chosen) / len(ids) == pytest.approx(0.8, abs=0.01)
    assert {piece.input_ids[place] for place in chosen} == {MASK}


@pytest.mark.parametrize(("name", "predicted"), [("clm", 7), ("clm_under_plan", 7), ("mntp", 6), ("mlm", 6)])
def test_special_tokens_inside_a_block_are_predicted_by_clm_only(name, predicted):
    block = Objective(name, Encoding("", (1,), (), 0), 0.999999, MASK, VOCAB, in_blocks=True)
    piece = block.set_targets(TokenizedExample((1, 5, 6, 7, 1, 8, 9, 10), ()), random.Random(0))
    assert len(piece.labels) == predicted
    assert (1 in piece.labels) == block.predicts_all


def test_the_mask_token_is_the_tokenizers_own_or_an_underscore():
    decoder = tiny_tokenizer("byte-bos")
    assert decoder.decode([find_mask_token(decoder)]) == "_"
    assert decoder.decode([find_mask_token(tiny_tokenizer("byte-bos"), "?")]) == "?"
    with pytest.raises(ConfigError, match="not a token of this model"):
        find_mask_token(decoder, "<no such token>")


def test_a_mask_token_is_taken_where_there_is_one():
    class WithMask:
        mask_token_id = 7

    assert find_mask_token(WithMask()) == 7
