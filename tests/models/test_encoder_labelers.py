"""Encoders as baselines: the same labeler, trained, saved, loaded and merged, with and without a mask."""

from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import TOKENIZERS, save_encoder
from tiny import tiny_labeler

from lookboth.config.recipe import RunConfig
from lookboth.config.recipe_files import parse_config
from lookboth.data.packing import build_batch
from lookboth.errors import ConfigError
from lookboth.inference.pipeline import word_log_probs
from lookboth.labelers.inspect import inspect_model, prove_model
from lookboth.labelers.labeler import Labeler
from lookboth.labelers.merging import merge_labeler
from lookboth.training.labeler_building import build_labeler

SENTENCES = (
    ("Ada", "Lovelace", "was", "born", "in", "London", "."),
    ("Toyota",),
    ("unquestionably", "the", "plant", "near", "Burnaston", "and", "in", "New", "York", "burns", "!"),
    ("what", "is", "it", "?"),
)
NO_CHECKPOINTING = {"MPNet"}


@pytest.fixture(scope="module", params=TOKENIZERS)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def folder(family, tmp_path_factory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("encoder") / family, family)


def recipe(folder, **changes) -> RunConfig:
    base = {"model": str(folder), "data": {"train": "x"}, "max_tokens": 128, "overlap": 16}
    return parse_config({**base, **changes})


def logits_of(labeler, examples, layout):
    with torch.inference_mode():
        return labeler.model(**build_batch(examples, layout=layout).tensors())["logits"]


def assert_same(left, right, atol=1e-5):
    for a, b in zip(word_log_probs(left, SENTENCES), word_log_probs(right, SENTENCES), strict=True):
        np.testing.assert_allclose(a, b, atol=atol)


@pytest.mark.parametrize("plan", ["full", "causal", "0011", "0,0,2,*"])
def test_packed_equals_padded_equals_alone(folder, plan):
    labeler = tiny_labeler(folder, plan=plan, label_on="mean")
    examples = [labeler.encoder.encode(words) for words in SENTENCES]
    alone = torch.cat([logits_of(labeler, [example], "bucketed") for example in examples])
    for layout in ("bucketed", "packed"):
        torch.testing.assert_close(logits_of(labeler, examples, layout), alone, atol=2e-4, rtol=1e-4)


def test_a_packed_row_may_be_longer_than_the_positions(folder):
    labeler = tiny_labeler(folder, plan="full")
    examples = [labeler.encoder.encode(words) for words in SENTENCES * 8]
    assert sum(map(len, examples)) > 2 * 130
    alone = logits_of(labeler, examples[:4], "bucketed").repeat(8, 1)
    torch.testing.assert_close(logits_of(labeler, examples, "packed"), alone, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize(("plan", "sees_right"), [("causal", False), ("full", True)])
def test_a_later_word_moves_an_earlier_one_only_without_the_mask(folder, plan, sees_right):
    labeler = tiny_labeler(folder, plan=plan)
    before, after = word_log_probs(labeler, [("Ada", "was", "born"), ("Ada", "was", "read")])
    assert (abs(before[0] - after[0]).max() > 1e-4) == sees_right
    assert abs(before[2] - after[2]).max() > 1e-4


def test_without_a_plan_an_encoder_looks_both_ways(folder):
    labeler = build_labeler(recipe(folder), labels=["PER"], device="cpu")
    assert str(labeler.config.plan) == "full"
    enforced = build_labeler(recipe(folder, plan="causal"), labels=["PER"], device="cpu")
    assert enforced.config.plan.is_causal


@pytest.mark.parametrize("kind", ["full", "lora", "head"])
def test_saved_loaded_and_merged_labelers_agree(folder, kind, tmp_path):
    labeler = tiny_labeler(folder, plan="0011", adapter=kind)
    labeler.save_pretrained(tmp_path)
    loaded = Labeler.from_pretrained(tmp_path, device="cpu", precision="fp32", merge=False)
    assert str(loaded.config.plan) == "0011"
    assert_same(labeler, loaded)
    if kind == "lora":
        assert_same(merge_labeler(loaded), labeler, atol=1e-4)


def test_texts_longer_than_the_positions_are_refused_before_training(folder, family):
    if family in ("ModernBert", "DebertaV2"):  # rotary and relative positions
        build_labeler(recipe(folder, max_tokens=512), labels=["PER"], device="cpu")
        return
    longest = 130 - 2 * (family in ("Roberta", "MPNet"))
    with pytest.raises(ConfigError, match=f"Set max_tokens = {longest}"):
        build_labeler(recipe(folder, max_tokens=longest + 1), labels=["PER"], device="cpu")
    labeler = build_labeler(recipe(folder, max_tokens=longest), labels=["PER"], device="cpu")
    (scores,) = word_log_probs(labeler, [("London",) * 300])
    assert np.isfinite(scores).all()


def test_each_copy_of_the_words_takes_positions(folder, family):
    if family in ("ModernBert", "DebertaV2"):  # rotary and relative positions
        build_labeler(recipe(folder, repetition=1), labels=["PER"], device="cpu")
        return
    longest = 130 - 2 * (family in ("Roberta", "MPNet"))
    most = longest // 2 + 1  # two special tokens stand around the copies
    with pytest.raises(ConfigError, match=f"with repetition = 1: .* Set max_tokens = {most}, or"):
        build_labeler(recipe(folder, max_tokens=most + 1, repetition=1), labels=["PER"], device="cpu")
    labeler = build_labeler(recipe(folder, max_tokens=most, repetition=1), labels=["PER"], device="cpu")
    (scores,) = word_log_probs(labeler, [("London",) * 300])
    assert np.isfinite(scores).all()


def test_checkpointing_where_there_is_none_is_refused(folder, family):
    config = recipe(folder, training={"gradient_checkpointing": True})
    if family in NO_CHECKPOINTING:
        with pytest.raises(ConfigError, match="gradient_checkpointing"):
            build_labeler(config, labels=["PER"], device="cpu")
    else:
        build_labeler(config, labels=["PER"], device="cpu")


def test_no_weights_of_a_pooler_are_trained(folder):
    labeler = build_labeler(recipe(folder, adapter={"kind": "full"}), labels=["PER"], device="cpu")
    assert not [name for name, _ in labeler.model.named_parameters() if "pooler" in name]


def test_an_exit_layer_works_in_an_encoder(folder):
    labeler = build_labeler(recipe(folder, exit_layer=3, plan="0,0,*"), labels=["PER"], device="cpu")
    assert labeler.config.plan.num_layers == 3
    assert np.isfinite(word_log_probs(labeler, SENTENCES)[0]).all()


def test_inspect_and_prove_know_an_encoder(folder):
    assert "plan full, 4 layers" in inspect_model(str(folder))
    assert "plan causal, 4 layers" in inspect_model(str(folder), "causal")
    assert str(prove_model(str(folder), length=8).plan) == "full"
    proof = prove_model(str(folder), "causal", length=8, random_weights=True)
    assert proof.ok, proof.describe()
