"""Encoders under a plan: full is the stock model, causal is enforced, in every family, packed or padded."""

import copy
from typing import Any

import pytest
import torch
import transformers
from encoders import ENCODERS, SMALL, VOCAB, encoder
from families import tokens

from lookboth.errors import PlanError
from lookboth.masking.attention import apply_plan, get_plan, own_plan, remove_plan
from lookboth.masking.plan import MaskPlan
from lookboth.masking.proof import prove
from lookboth.masking.structure import first_position, max_positions

OWN_ATTENTION = ("MPNet", "Deberta", "DebertaV2")
FROM_TWO = ("Roberta", "XLMRoberta", "MPNet")  # positions start after the padding index
RUNS = [(name, backend) for name in ENCODERS for backend in ("sdpa", "eager")]
RUNS = [run for run in RUNS if run[0] not in OWN_ATTENTION or run[1] == "eager"]
PLANS = ["full", "causal", "0011", "2,", "0,3,*,1"]
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def states(model: Any, ids: torch.Tensor, **batch: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=ids, **batch).last_hidden_state


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize(("name", "backend"), RUNS)
def test_every_family_obeys_the_plan(name: str, backend: str, plan: str) -> None:
    proof = prove(encoder(name, backend), plan)
    assert proof.ok, proof.describe()
    packed = [check for check in proof.checks if check.name.startswith("packed texts")]
    assert [check.message for check in packed] == ["", ""]  # neither refused nor left out
    assert "plan 1...1 is the stock model" in [check.name for check in proof.checks]


@pytest.mark.parametrize(("name", "backend"), RUNS)
def test_full_is_the_stock_model_to_the_bit(name: str, backend: str) -> None:
    stock = encoder(name, backend)
    planned = apply_plan(copy.deepcopy(stock), "full")
    ids, mask = tokens(3, 9).clamp(min=3), torch.ones(3, 9, dtype=torch.long)
    mask[0, 5:], mask[1, 7:] = 0, 0
    assert torch.equal(states(stock, ids), states(planned, ids))
    assert torch.equal(states(stock, ids, attention_mask=mask), states(planned, ids, attention_mask=mask))


@pytest.mark.parametrize("name", ["Bert", "Roberta", "XLMRoberta", "Electra"])
def test_causal_is_what_transformers_makes_of_is_decoder(name: str) -> None:
    """The published way to put the mask into RoBERTa (Dukić & Šnajder 2024) is the plan 'causal'."""
    model, decoder = encoder(name), encoder(name, is_decoder=True, use_cache=False)
    decoder.load_state_dict(model.state_dict())
    ids, mask = tokens(2, 9).clamp(min=3), torch.ones(2, 9, dtype=torch.long)
    mask[0, 6:] = 0
    enforced = states(apply_plan(model, "causal"), ids, attention_mask=mask)
    attended = mask.bool()
    wanted = states(decoder, ids, attention_mask=mask)
    torch.testing.assert_close(enforced[attended], wanted[attended])
    assert own_plan(decoder).is_causal
    assert prove(decoder, "0011").ok  # such a model is a decoder, and can be unmasked


@pytest.mark.parametrize("name", ENCODERS)
def test_positions(name: str) -> None:
    model = encoder(name)
    assert first_position(model) == (2 if name in FROM_TWO else 0)
    longest = {"ModernBert": None, "DebertaV2": None, "Deberta": 40}.get(name, 38 if name in FROM_TWO else 40)
    assert max_positions(model) == longest
    if longest is not None:
        assert states(model, tokens(1, longest).clamp(min=3)).isfinite().all()


def test_an_encoder_is_made_full_and_proved_so() -> None:
    assert own_plan(encoder("Bert")) == MaskPlan((None,) * 4)
    assert not prove(encoder("Bert"), "causal").layers[0].message
    assert not prove(apply_plan(encoder("Bert"), "full"), "causal").ok


def test_local_layers_keep_their_window_on_both_sides() -> None:
    kinds = [layer.measured for layer in prove(encoder("ModernBert"), "full").layers]
    assert kinds == ["bidirectional", "look-ahead 3"] * 2
    local = apply_plan(
        encoder("ModernBert", layer_types=["sliding_attention"], num_hidden_layers=1), "causal"
    )
    ids = tokens(1, 12).clamp(min=3)
    other = ids.clone()
    other[0, 5] = 3 + (ids[0, 5] - 2) % (VOCAB - 3)
    moved = (states(local, ids) - states(local, other)).abs().amax(-1)[0] > 0
    assert moved.nonzero().flatten().tolist() == [5, 6, 7, 8]


@pytest.mark.parametrize("name", ENCODERS)
def test_a_removed_plan_leaves_nothing(name: str) -> None:
    model = encoder(name)
    ids = tokens(1, 8).clamp(min=3)
    before = states(model, ids)
    twin = copy.deepcopy(apply_plan(model, "causal"))
    assert not torch.equal(before, states(model, ids))
    remove_plan(model)
    assert torch.equal(before, states(model, ids))
    assert get_plan(model) is None
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert prove(twin).ok
    assert str(get_plan(twin)) == "causal"


@pytest.mark.parametrize("name", ["Bert", "ModernBert", "DebertaV2"])
def test_recomputed_layers_see_what_they_saw(name: str) -> None:
    dropout = {"Bert": NO_DROPOUT, "DebertaV2": NO_DROPOUT}.get(name, {})
    positions = torch.tensor([[0, 1, 2, 3, 0, 1, 2]])

    def gradient(checkpointing: bool) -> torch.Tensor:
        model = apply_plan(encoder(name, **dropout), "0,*,2,0").train()
        if checkpointing:
            model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
        weighted = model(input_ids=tokens(1, 7), position_ids=positions).last_hidden_state
        (weighted * torch.linspace(-1, 1, 7)[None, :, None] * torch.linspace(0, 1, 32)).sum().backward()
        return model.get_input_embeddings().weight.grad

    torch.testing.assert_close(gradient(True), gradient(False))


def test_peft_around_an_encoder_with_its_own_attention() -> None:
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    model = get_peft_model(apply_plan(encoder("MPNet"), "0011"), lora).eval()
    assert prove(model, "0011").ok


def test_a_bidirectional_gemma_takes_a_plan() -> None:
    config = transformers.Gemma3TextConfig(
        **{**SMALL, "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 5},
        use_bidirectional_attention=True,
        layer_types=["sliding_attention", "full_attention"] * 2,
    )
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(config).eval()
    assert own_plan(model) == MaskPlan((None,) * 4)
    for plan in ("full", "0,3,*,1"):
        proof = prove(model, plan)
        assert proof.ok, proof.describe()


def test_a_convolution_takes_no_mask_and_no_packed_row() -> None:
    model = encoder("DebertaV2", conv_kernel_size=3)
    with pytest.raises(PlanError, match="convolution"):
        apply_plan(model, "causal")
    apply_plan(model, "full")
    assert states(model, tokens(1, 6)).isfinite().all()
    with pytest.raises(PlanError, match="packed"):
        states(model, tokens(1, 6), position_ids=torch.tensor([[0, 1, 2, 0, 1, 2]]))


def test_a_decoder_made_encoder_by_hand_is_noticed() -> None:
    model = encoder("Bert")
    apply_plan(model, "full")
    model.config.is_decoder = True
    with pytest.raises(PlanError, match="requested a causal mask"):
        states(model, tokens(1, 5))
