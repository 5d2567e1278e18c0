"""Models that cannot take a mask plan: trained causally, as they were made, and refused where they are not causal."""

import pytest
import torch
import transformers
from tiny import tiny_tokenizer

from lookboth.config.recipe_files import parse_config
from lookboth.errors import ConfigError, PlanError
from lookboth.inference.pipeline import word_log_probs
from lookboth.labelers.labeler import Labeler
from lookboth.masking.attention import get_plan, is_stock
from lookboth.models.lora import paired_weights
from lookboth.models.stock import plan_as_made, reads_left_to_right
from lookboth.training.training_runs import train

SMALL = {"vocab_size": 400, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
MODELS = {
    "falcon": transformers.FalconConfig(**SMALL, new_decoder_architecture=True, num_kv_heads=2),
    "bloom": transformers.BloomConfig(**SMALL),
    "mamba": transformers.MambaConfig(vocab_size=400, hidden_size=32, num_hidden_layers=3, state_size=4),
}
WORDS = [("the", "fox", "said"), ("a", "house", "near", "London")]


def recipe(folder, **more):
    data = folder.parent / "words.conll"
    data.write_text("the O\nfox B-PER\nsaid O\n\nthe O\ndog B-LOC\nnear O\n\n" * 4)
    return parse_config(
        {
            "model": str(folder), "data": {"train": str(data), "dev": str(data), "test": []}, "max_tokens": 64,
            "overlap": 8, "adapter": {"rank": 2}, "training": {"epochs": 1, "precision": "fp32"}, **more,
        }
    )  # fmt: skip


@pytest.fixture(params=MODELS)
def folder(request, tmp_path):
    torch.manual_seed(0)
    transformers.AutoModel.from_config(MODELS[request.param]).save_pretrained(tmp_path / "base")
    tiny_tokenizer("byte-bos").save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def test_a_causal_model_without_plans_is_trained_saved_and_loaded(folder, tmp_path):
    run = train(recipe(folder, adapter={"rank": 2, "layers": "top:1"}), tmp_path / "run")[0]
    assert {name.split("layers.")[-1].split("h.")[-1][0] for name in paired_weights(run.labeler.model)} == {
        "2"
    }
    loaded = Labeler.from_pretrained(
        tmp_path / "run/seed-0/labeler", device="cpu", precision="fp32", merge=False
    )
    assert loaded.config.plan.is_causal
    assert is_stock(loaded.model)
    assert get_plan(loaded.model) is None
    for left, right in zip(word_log_probs(run.labeler, WORDS), word_log_probs(loaded, WORDS), strict=True):
        assert abs(left - right).max() == 0
    with pytest.raises(PlanError):
        loaded.with_plan("full")


def test_other_plans_and_packed_rows_are_refused(folder, tmp_path):
    with pytest.raises(PlanError, match=r"The unchanged, causal model can be used: leave the plan out\."):
        train(recipe(folder, plan="full"), tmp_path / "run")
    packed = {"epochs": 1, "precision": "fp32", "layout": "packed"}
    with pytest.raises(ConfigError, match=r"training.layout = 'packed'.*Set training.layout = 'bucketed'"):
        train(recipe(folder, training=packed), tmp_path / "packed")


def test_a_model_that_reads_both_ways_is_not_taken_for_a_causal_one():
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(
        transformers.ConvBertConfig(
            **SMALL, intermediate_size=48, embedding_size=32, max_position_embeddings=64
        )
    )
    assert not reads_left_to_right(model)
    with pytest.raises(PlanError, match="cannot take a mask plan"):
        plan_as_made(model)
