"""Models that cannot take a plan say so when it is applied, or at the latest in their first forward pass."""

from typing import Any

import pytest
import torch
import transformers
from families import tiny_model, tokens
from torch import nn
from transformers.models.llama.modeling_llama import LlamaAttention

from lookboth.errors import PlanError
from lookboth.masking import apply_plan, get_plan

SMALL = {
    "vocab_size": 97,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
GROUPED = {**SMALL, "num_key_value_heads": 2}


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("Falcon", SMALL, "keep their own attention"),
        (
            "Bloom",
            {"vocab_size": 97, "hidden_size": 32, "n_layer": 2, "n_head": 4},
            "keep their own attention",
        ),
        ("Mamba", {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2}, "linear_attention"),
        ("Rwkv", {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2}, "state-space"),
        ("Jamba", {**GROUPED, "attn_layer_period": 2, "attn_layer_offset": 1}, "linear_attention"),
        ("Lfm2", {**GROUPED, "layer_types": ["conv", "full_attention"]}, "conv"),
        ("Albert", {**SMALL, "embedding_size": 32}, "share one layer"),
        ("RoFormer", SMALL, "keep their own attention"),
        ("T5", {"vocab_size": 97, "d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 2}, "encoder-decoder"),
    ],
)
def test_families_without_a_causal_mask_to_remove(name: str, arguments: dict[str, Any], said: str) -> None:
    config = getattr(transformers, f"{name}Config")(**arguments)
    with torch.device("meta"):
        model = getattr(transformers, f"{name}Model")(config)
    with pytest.raises(PlanError, match=said):
        apply_plan(model, "01")
    assert get_plan(model) is None
    assert not config._attn_implementation.startswith("lookboth")


def test_soft_capped_scores_need_another_backend_than_sdpa() -> None:
    model = tiny_model("gemma2", backend="eager")
    model.config._attn_implementation_internal = "sdpa"
    with pytest.raises(PlanError, match="'eager' or 'flex_attention'"):
        apply_plan(model, "0011")


def test_a_backend_without_a_mask_function_is_refused() -> None:
    model = tiny_model()
    model.config._attn_implementation_internal = "paged|eager"
    with pytest.raises(PlanError, match="no mask function"):
        apply_plan(model, "0011")


def test_a_model_that_is_already_unmasked_is_refused() -> None:
    model = tiny_model()
    model.config.is_causal = False
    with pytest.raises(PlanError, match="is_causal"):
        apply_plan(model, "0011")


def test_unmasking_the_stock_way_after_a_plan_is_refused() -> None:
    model = apply_plan(tiny_model(), "0011")
    model.config.is_causal = False
    with pytest.raises(PlanError, match="asked for a bidirectional mask"):
        model(tokens(1, 5))


@pytest.mark.parametrize("plan", ["0,0,0,0,0", "01010"])
def test_a_plan_deeper_than_the_model_names_both_depths(plan: str) -> None:
    with pytest.raises(PlanError, match=r"5 groups.*4 layers"):
        apply_plan(tiny_model(num_layers=4), plan)


def test_no_plan_anywhere_is_refused() -> None:
    with pytest.raises(PlanError, match="carries none"):
        apply_plan(tiny_model())


def test_a_plain_module_is_refused() -> None:
    with pytest.raises(PlanError, match="no Hugging Face"):
        apply_plan(nn.Linear(2, 2), "01")


class OwnAttention(LlamaAttention):
    """Looks like Llama's attention, but never asks the interface when it runs."""

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> tuple[torch.Tensor, None]:
        return self.o_proj(self.v_proj(hidden_states).repeat(1, 1, 2)), None


class InheritedAttention(LlamaAttention):
    """A user's subclass outside transformers that leaves the interface call to its parent."""


def replace_attention(model: Any, layer: int, kind: type) -> None:
    new = kind(model.config, layer)
    new.load_state_dict(model.layers[layer].self_attn.state_dict())
    model.layers[layer].self_attn = new.eval()


def test_a_layer_that_keeps_its_own_attention_is_found_in_the_first_forward() -> None:
    model = tiny_model()
    replace_attention(model, 2, OwnAttention)
    apply_plan(model, "0011")
    with pytest.raises(PlanError, match="ran layers 2 without"):
        model(tokens(1, 5))


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
def test_a_subclass_of_stock_attention_takes_a_plan(backend: str) -> None:
    model, wanted = tiny_model(backend=backend), apply_plan(tiny_model(backend=backend), "0011")
    replace_attention(model, 2, InheritedAttention)
    apply_plan(model, "0011")
    assert torch.equal(model(tokens(1, 6))[0], wanted(tokens(1, 6))[0])


def test_a_layer_with_a_convolution_is_refused() -> None:
    model = tiny_model()
    model.layers[1].mixer = nn.Conv1d(4, 4, 2)
    with pytest.raises(PlanError, match="mixes tokens outside attention"):
        apply_plan(model, "0011")
