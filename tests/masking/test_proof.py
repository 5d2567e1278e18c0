"""The proof can fail: it is shown wrong plans and broken masks, and must name them."""

from typing import Any

import pytest
import torch
import transformers
from families import COMMON, GROUPED, SLIDING_AND_FULL, WINDOW, tiny_config, tiny_model, tokens

from lookboth.errors import PlanError
from lookboth.masking import backends, masks
from lookboth.masking.attention import apply_plan, get_plan
from lookboth.masking.masks import LayerMasks
from lookboth.masking.plan import MaskPlan
from lookboth.masking.proof import prove

PLANS = ["causal", "full", "0011", "1,", "0,3,*,1", "0110"]


@pytest.mark.parametrize("wrong", PLANS)
@pytest.mark.parametrize("right", PLANS)
def test_a_plan_is_proved_by_itself_and_by_no_other(right: str, wrong: str) -> None:
    proof = prove(apply_plan(tiny_model(), right), wrong)
    assert proof.ok == (right == wrong), proof.describe()
    differing = [a != b for a, b in zip(*(MaskPlan.parse(p, 4).reach for p in (right, wrong)), strict=True)]
    assert [not layer.ok for layer in proof.layers] == differing


def test_a_model_is_left_as_it_was_found() -> None:
    model = tiny_model().train()
    ids = tokens(1, 6)
    before = model(ids)[0]
    assert prove(model, "0011").ok
    assert get_plan(model) is None
    assert model.training
    assert torch.equal(before, model(ids)[0])
    apply_plan(model, "0001")
    prove(model, "0011")
    assert str(get_plan(model)) == "0001"


def test_a_stock_model_is_proved_causal() -> None:
    assert prove(tiny_model()).ok
    assert {layer.measured for layer in prove(tiny_model()).layers} == {"causal"}


def test_stock_opt_lets_packed_texts_see_each_other_and_the_proof_says_so() -> None:
    proof = prove(tiny_model("opt"))
    assert [check.name for check in proof.checks if not check.ok] == [
        "packed texts do not attend to each other"
    ]


def test_the_text_names_the_failure() -> None:
    proof = prove(apply_plan(tiny_model(), "0011"), "0010")
    text = proof.describe()
    assert "FAIL  layer  3  bidirectional: expected causal, but position 0 attends to position 1" in text
    assert "NOT proved" in text
    assert "FAIL" not in prove(tiny_model(), "0011").describe()


def test_a_plan_of_another_depth_is_refused() -> None:
    with pytest.raises(PlanError, match="5 layers but the model has 4"):
        prove(tiny_model(), MaskPlan((0,) * 5))


def failed(plan: str = "0,2,*,*", family: str = "llama", **kwargs: Any) -> set[str]:
    proof = prove(tiny_model(family), plan, **kwargs)
    wrong = {f"layer {layer.layer}" for layer in proof.layers if not layer.ok}
    return wrong | {check.name for check in proof.checks if not check.ok}


class TestBrokenOnPurpose:
    """Each breaks one line of the masks and expects the proof to say which promise fell."""

    def test_a_mask_that_is_never_widened(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stock = LayerMasks._build
        monkeypatch.setattr(LayerMasks, "_build", lambda self, reach: stock(self, 0))
        assert {"layer 1"} <= failed()

    def test_sdpa_left_to_the_module_stays_causal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(backends._ATTENTION, "sdpa", backends._plain_attention)
        assert {"layer 2", "layer 3"} <= failed()

    def test_one_token_too_far(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stock = LayerMasks._build
        monkeypatch.setattr(LayerMasks, "_build", lambda self, reach: stock(self, reach and reach + 1))
        assert failed() == {
            "layer 1",
            "in the whole stack a change reaches exactly the positions it may reach",
        }

    @pytest.mark.parametrize("value", [True, False])
    def test_padding_forgotten(self, monkeypatch: pytest.MonkeyPatch, value: bool) -> None:
        stock = LayerMasks._allowed

        def forgetful(self: LayerMasks, reach: Any) -> Any:
            padding = self.arguments["attention_mask"]
            self.arguments = {**self.arguments, "attention_mask": None}
            seen = stock(self, reach)
            self.arguments["attention_mask"] = padding
            return seen

        monkeypatch.setattr(LayerMasks, "_allowed", forgetful)
        assert failed() == {"padding on the right changes nothing", "padding on the left changes nothing"}

    def test_packing_forgotten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(backends, "current_segments", lambda: None)
        assert failed() == {"packed texts do not attend to each other, attention mask given"}
        monkeypatch.setattr(masks, "stock_segments", lambda arguments: torch.zeros(64, 64).long())
        assert "packed texts do not attend to each other" in failed("full")

    def test_left_window_forgotten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def everything(self: LayerMasks, reach: Any) -> Any:
            return lambda b, h, q, kv: (kv >= 0) & (q >= 0)

        monkeypatch.setattr(LayerMasks, "_widened", everything)
        assert {f"layer {layer}" for layer in range(4)} <= failed("full", "mistral")

    def test_a_border_one_token_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(LayerMasks, "_is_unmasked", lambda self: True)
        assert {"layer 0", "padding on the right changes nothing"} <= failed("full", "mistral")

    def test_a_row_that_sees_its_batch_mates(self) -> None:
        model = tiny_model()
        model.layers[1].mlp.register_forward_hook(lambda module, args, out: out + out.mean(0, keepdim=True))
        proof = prove(model, "0011")
        assert not next(
            check for check in proof.checks if check.name == "other rows of the batch change nothing"
        ).ok

    def test_a_layer_that_peeks_without_attention(self) -> None:
        model = tiny_model()
        model.layers[0].mlp.register_forward_hook(lambda module, args, out: out + out.roll(-1, 1))
        proof = prove(model, "0011")
        assert not proof.layers[0].ok
        assert proof.layers[1].ok

    def test_causal_layers_that_are_not_stock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stock = masks.LayerMasks.for_reach
        monkeypatch.setattr(
            LayerMasks, "for_reach", lambda self, reach: stock(self, 1 if reach == 0 else reach)
        )
        assert {"layer 0", "plan 0...0 is the stock model"} <= failed()


@pytest.mark.slow
def test_real_smollm2_obeys_a_plan_its_depth_does_not_divide() -> None:
    from lookboth.models.loading import load_backbone

    model = load_backbone("smollm2-135m", precision="fp32")
    proof = prove(model, "0,3,*,0")
    assert proof.ok, proof.describe()
    assert len(proof.layers) == 30


SHARP = {**COMMON, **GROUPED, "num_hidden_layers": 4, "head_dim": 16, "layer_types": SLIDING_AND_FULL * 2}
SHARP |= {"sliding_window": WINDOW, "vocab_size_per_layer_input": 97, "global_head_dim": 16}


@pytest.mark.parametrize("shared", [0, 2])
def test_sharp_attention_is_not_taken_for_a_mask(shared: int) -> None:
    """Gemma 4 does not scale its scores; it shares keys and cuts its masks by nothing."""
    torch.manual_seed(0)
    config = transformers.Gemma4TextConfig(
        **SHARP, num_kv_shared_layers=shared, hidden_size_per_layer_input=8
    )
    model = transformers.AutoModel.from_config(config).eval()
    with torch.no_grad():
        for layer in model.layers:
            layer.self_attn.q_norm.weight.mul_(16)
    scaling = model.layers[0].self_attn.scaling
    for plan in ("0011", "0,3,*,1"):
        proof = prove(model, plan)
        assert proof.ok, proof.describe()
    assert not prove(apply_plan(model, "0011"), "0010").ok
    assert model.layers[0].self_attn.scaling == scaling


def test_a_model_is_proved_as_it_is_called() -> None:
    """Masks of a wrapper that lets packed texts see each other, which its text model alone would not do."""
    text = {**COMMON, **GROUPED, "num_hidden_layers": 2, "head_dim": 8, "sliding_window": WINDOW}
    vision = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = transformers.Gemma3Config(
        text_config={**text, "layer_types": SLIDING_AND_FULL},
        vision_config={**vision, "image_size": 28, "patch_size": 14},
        mm_tokens_per_image=4,
    )
    model = transformers.AutoModel.from_config(config).eval()
    assert prove(model, "01").ok
    model.register_forward_pre_hook(drop_positions, with_kwargs=True)
    wrong = [check.name for check in prove(model, "01").checks if not check.ok]
    assert "packed texts do not attend to each other, attention mask given" in wrong


def drop_positions(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args, {**kwargs, "position_ids": None}


def test_a_model_that_needs_more_than_tokens_cannot_be_proved() -> None:
    class Demanding(transformers.LlamaModel):
        def forward(self, language: str, **kwargs: Any) -> Any:
            return super().forward(**kwargs)

    with pytest.raises(PlanError, match="on token ids alone"):
        prove(Demanding(tiny_config("llama")), "01")
