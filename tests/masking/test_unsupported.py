"""Models that cannot take a plan say so when it is applied, or at the latest in their first forward pass."""

from typing import Any

import pytest
import torch
import transformers
from families import tiny_model, tokens
from torch import nn
from transformers.models.llama import modeling_llama
from transformers.models.llama.modeling_llama import LlamaAttention

from lookboth.errors import PlanError
from lookboth.masking.attention import apply_plan, get_plan
from lookboth.masking.backends import NEEDED, build_layer_masks

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
        ("Falcon", SMALL, "own attention code"),
        (
            "Bloom",
            {"vocab_size": 97, "hidden_size": 32, "n_layer": 2, "n_head": 4},
            "own attention code",
        ),
        ("Mamba", {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2}, "linear_attention"),
        ("Rwkv", {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2}, "state-space"),
        ("Jamba", {**GROUPED, "attn_layer_period": 2, "attn_layer_offset": 1}, "linear_attention"),
        ("Lfm2", {**GROUPED, "layer_types": ["conv", "full_attention"]}, "conv"),
        ("Albert", {**SMALL, "embedding_size": 32}, "one shared layer"),
        ("RoFormer", SMALL, "own attention code"),
        ("T5", {"vocab_size": 97, "d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 2}, "encoder-decoder"),
        ("DeepseekV32", {}, "select or compress"),
        ("Blt", {}, "not a single stack"),
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


def test_unmasking_the_stock_way_after_a_plan_is_refused() -> None:
    model = apply_plan(tiny_model(), "0011")
    model.config.is_causal = False
    with pytest.raises(PlanError, match="requested a bidirectional mask"):
        model(tokens(1, 5))


@pytest.mark.parametrize("plan", ["0,0,0,0,0", "01010"])
def test_a_plan_deeper_than_the_model_names_both_depths(plan: str) -> None:
    with pytest.raises(PlanError, match=r"5 groups.*4 layers"):
        apply_plan(tiny_model(num_layers=4), plan)


def test_no_plan_anywhere_is_refused() -> None:
    with pytest.raises(PlanError, match="contains none"):
        apply_plan(tiny_model())


def test_a_plain_module_is_refused() -> None:
    with pytest.raises(PlanError, match="not contain a Hugging Face"):
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


def test_the_decoder_of_an_encoder_decoder_says_so() -> None:
    config = transformers.BartConfig(
        vocab_size=97, d_model=32, decoder_layers=2, decoder_attention_heads=4, encoder_layers=2
    )
    with torch.device("meta"):
        model = transformers.BartForCausalLM(config)
    with pytest.raises(PlanError, match="cross-attention"):
        apply_plan(model, "01")


def test_a_model_that_computes_with_its_mask_is_refused_in_the_first_forward() -> None:
    model = apply_plan(transformers.DogeModel(transformers.DogeConfig(**GROUPED)).eval(), "01")
    with pytest.raises(PlanError, match="its attention mask"):
        model(tokens(1, 5))


@pytest.mark.parametrize(
    "use",
    [
        lambda masks: masks[:, :, -1:],
        lambda masks: masks[0],
        lambda masks: ~masks,
        lambda masks: masks.dtype,
        lambda masks: masks.to("cpu"),
        lambda masks: torch.zeros(1) + masks,
        lambda masks: torch.where(masks, 0, 1),
    ],
)
def test_masks_are_no_tensor_to_compute_with(use: Any) -> None:
    with pytest.raises(PlanError, match="its attention mask"):
        use(layer_masks())


def test_masks_that_are_cut_to_their_own_length_stay_whole() -> None:
    masks = layer_masks()
    assert masks[:, :, 0:, :] is masks
    assert masks[:, :, :, :5] is masks
    assert masks.shape == (1, 1, 5, 5)


def layer_masks(**changes: Any) -> Any:
    given = dict.fromkeys(NEEDED) | {"batch_size": 1, "q_length": 5, "kv_length": 5, "q_offset": 0}
    return build_layer_masks("sdpa", given | changes)


def test_arguments_of_another_version_of_transformers_are_refused() -> None:
    with pytest.raises(PlanError, match="passes the unknown window"):
        layer_masks(window=5)
    with pytest.raises(PlanError, match="does not pass use_vmap"):
        build_layer_masks("sdpa", dict.fromkeys(NEEDED - {"use_vmap"}))


def test_a_family_that_asks_for_the_name_of_its_backend_is_refused() -> None:
    model = tiny_model()
    replace_attention(model, 2, AsksForName)
    with pytest.raises(PlanError, match="by the name of the attention backend"):
        apply_plan(model, "0011")


class AsksForName(LlamaAttention):
    """Does something else where the backend is eager, as far as it can tell."""

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> tuple[torch.Tensor, None]:
        if self.config._attn_implementation == "eager":
            hidden_states = hidden_states * 2
        interface = modeling_llama.ALL_ATTENTION_FUNCTIONS
        return interface.get_interface("sdpa", None)(self, hidden_states, **kwargs)
