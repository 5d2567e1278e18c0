"""What is said of named models: the same with a plan and without, and of saved labelers."""

import pytest
import transformers
from tiny import tiny_labeler

from lookboth.errors import ModelError, PlanError
from lookboth.labelers.inspect import inspect_model, prove_model

SMALL = {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}


@pytest.mark.parametrize("plan", [None, "01"])
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Falcon", SMALL),
        ("Mamba", {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2}),
        ("T5", {"vocab_size": 97, "d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 2}),
        ("Blt", {}),
    ],
)
def test_a_model_that_takes_no_plan_is_drawn_under_none(tmp_path, name, settings, plan):
    getattr(transformers, f"{name}Config")(**settings).save_pretrained(tmp_path)
    with pytest.raises(PlanError):
        inspect_model(str(tmp_path), plan)


def test_a_decoder_made_bidirectional_is_shown_and_proved_full(tmp_path):
    transformers.Qwen3Config(
        **SMALL, num_key_value_heads=2, head_dim=8, intermediate_size=48, is_causal=False
    ).save_pretrained(tmp_path)
    assert "plan full, 2 layers" in inspect_model(str(tmp_path))
    for plan in (None, "01", "causal"):
        assert prove_model(str(tmp_path), plan, random_weights=True).ok


@pytest.mark.parametrize("backend", [None, "eager"])
def test_a_saved_labeler_is_proved_under_its_plan_or_another(tmp_path, tiny_llama_folder, backend):
    tiny_labeler(tiny_llama_folder, plan="0011").save_pretrained(tmp_path)
    proof = prove_model(str(tmp_path), attn_implementation=backend)
    assert proof.ok
    assert (str(proof.plan), proof.backend) == ("0011", backend or "sdpa")
    assert str(prove_model(str(tmp_path), "0101").plan) == "0101"
    with pytest.raises(ModelError, match="its own weights"):
        prove_model(str(tmp_path), random_weights=True)
