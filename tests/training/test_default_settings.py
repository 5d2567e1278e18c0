"""Settings that a recipe does not have: by width of the model, amount of data, and kind of model."""

import pytest
from transformers import LlamaConfig

from lookboth.config import parse_config
from lookboth.masking import MaskPlan
from lookboth.training.default_settings import complete_settings
from lookboth.training.labeler_building import build_labeler
from lookboth.training.splits import Splits
from lookboth.types import Example

DEV = [Example(("it",))]


def completed(model, num_sentences=1000, words=20, **recipe):
    config = parse_config({"model": str(model), "data": {"train": "x"}, **recipe})
    return complete_settings(config, Splits([Example(("it",) * words)] * num_sentences, DEV, {}, {})).training


@pytest.mark.parametrize(
    ("num_sentences", "batch_tokens", "epochs"),
    [(10, 256, 10), (300, 256, 9), (1000, 256, 3), (2000, 512, 3), (100_000, 1024, 3)],
)
def test_few_sentences_get_small_batches_and_more_epochs(
    tiny_llama_folder, num_sentences, batch_tokens, epochs
):
    found = completed(tiny_llama_folder, num_sentences)
    assert (found.batch_tokens, found.epochs) == (batch_tokens, epochs)


def test_repeated_texts_count_with_all_copies(tiny_llama_folder):
    assert completed(tiny_llama_folder, 1000, repetition=1).batch_tokens == 512


def test_rates_fall_with_the_width(tiny_llama_folder, monkeypatch):
    assert completed(tiny_llama_folder).lr == 2e-3  # at most
    for width, kind, rate in (
        (576, "lora", 1.6e-3),
        (896, "qlora", 1e-3),
        (4096, "lora", 2.2e-4),
        (768, "full", 7.8e-5),
        (896, "head", 5e-3),
    ):
        monkeypatch.setattr(
            "lookboth.training.default_settings.load_config",
            lambda name, width=width, **_: LlamaConfig(hidden_size=width),
        )
        assert completed("any", adapter={"kind": kind}).lr == rate


def test_all_weights_get_a_rate_of_their_own_for_the_head(tiny_llama_folder):
    assert completed(tiny_llama_folder, adapter={"kind": "full"}).head_lr == 1e-2
    assert completed(tiny_llama_folder).head_lr is None


def test_settings_of_the_recipe_are_kept(tiny_llama_folder, progress):
    own = {"lr": 3e-3, "epochs": 2, "batch_tokens": 700}
    found = completed(tiny_llama_folder, training=own)
    assert {key: getattr(found, key) for key in own} == own
    assert not progress()
    assert completed(tiny_llama_folder, training={"batch_sentences": 4}).batch_tokens == 1024


def test_the_settings_are_named(tiny_llama_folder, progress):
    completed(tiny_llama_folder)
    (line,) = progress()
    assert "batch_tokens = 256, epochs = 3, lr = 0.002" in line


def test_completing_twice_changes_nothing(tiny_llama_folder):
    config = parse_config({"model": str(tiny_llama_folder), "data": {"train": "x"}})
    splits = Splits([Example(("it",))] * 10, DEV, {}, {})
    once = complete_settings(config, splits)
    assert complete_settings(once, splits) == once


# The plan


@pytest.mark.parametrize(
    ("recipe", "plan"),
    [
        ({}, "0011"),
        ({"method": "distill", "distill": {"teachers": "shipped"}}, "0011"),
        ({"repetition": 1}, "causal"),
        ({"adapter": {"kind": "head"}}, "causal"),
        ({"task": "classification"}, "causal"),
        ({"plan": "full"}, "full"),
    ],
)
def test_a_decoder_that_labels_words_attends_to_both_sides_in_its_upper_half(tiny_llama_folder, recipe, plan):
    config = parse_config({"model": str(tiny_llama_folder), "data": {"train": "x"}, **recipe})
    found = build_labeler(config, labels=["PER"]).config.plan
    assert found == MaskPlan.parse(plan, found.num_layers)
