"""Applying a plan: every family and backend, any head, its configuration, and back."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from families import FAMILIES, NEEDS_EAGER, tiny_config, tiny_model, tokens
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModel, AutoModelForCausalLM

from lookboth.errors import PlanError
from lookboth.masking.attention import apply_plan, get_plan, own_plan, remove_plan
from lookboth.masking.plan import MaskPlan
from lookboth.masking.proof import prove

PLANS = ["causal", "full", "0011", "2,", "0,3,*,1"]
RUNS = [(family, backend) for family in FAMILIES for backend in ("sdpa", "eager")]
RUNS = [run for run in RUNS if run[0] not in NEEDS_EAGER or run[1] == "eager"]


def states(model: Any, ids: torch.Tensor, **batch: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=ids, **batch)[0]


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize(("family", "backend"), RUNS)
def test_every_family_and_backend_obeys_the_plan(family: str, backend: str, plan: str) -> None:
    proof = prove(tiny_model(family, backend=backend), plan)
    assert proof.ok, proof.describe()


@pytest.mark.parametrize("family", ["llama", "gemma2", "gemma3"])
def test_flex_attention_obeys_the_plan(family: str) -> None:
    with torch.compiler.set_stance("force_eager"):
        proof = prove(tiny_model(family, 2, "flex_attention"), "2,*")
    assert proof.ok, proof.describe()


@pytest.mark.parametrize("num_layers", [1, 2, 3, 5])
def test_any_depth_obeys_a_mixed_plan(num_layers: int) -> None:
    reach = (0, None, 2, 0, 1)[:num_layers]
    proof = prove(tiny_model("qwen3", num_layers), MaskPlan(reach))
    assert proof.ok, proof.describe()


@pytest.mark.parametrize("head", ["Model", "ModelForCausalLM", "ModelForTokenClassification"])
def test_any_head_takes_a_plan(head: str) -> None:
    model = tiny_model(head=head)
    ids = tokens(1, 6)
    before = states(model, ids)
    assert apply_plan(model, "0011") is model
    assert get_plan(model) == MaskPlan((0, 0, None, None))
    assert not torch.equal(before, states(model, ids))
    assert remove_plan(model) is model
    assert get_plan(model) is None
    assert torch.equal(before, states(model, ids))


@pytest.mark.parametrize("wrap_first", [True, False])
def test_peft_before_or_after(wrap_first: bool) -> None:
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    model = tiny_model(head="ModelForTokenClassification")
    if wrap_first:
        model = apply_plan(get_peft_model(model, lora), "0011")
    else:
        model = get_peft_model(apply_plan(model, "0011"), lora)
    model.eval()
    assert model.config.use_cache is False
    proof = prove(model)
    assert proof.ok, proof.describe()
    assert str(proof.plan) == "0011"


@pytest.mark.parametrize("wrap_first", [True, False])
@pytest.mark.parametrize("task", ["TOKEN_CLS", None])
def test_peft_saves_the_plan_with_its_adapter(tmp_path: Path, wrap_first: bool, task: str | None) -> None:
    def load() -> Any:
        return tiny_model(head="ModelForTokenClassification" if task else "Model")

    lora = LoraConfig(r=2, target_modules=["q_proj"], task_type=task, init_lora_weights=False)
    if wrap_first:
        model = apply_plan(get_peft_model(load(), lora), "0011").eval()
    else:
        model = get_peft_model(apply_plan(load(), "0011"), lora).eval()
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(load(), tmp_path).eval()
    assert get_plan(again) is None
    assert str(get_plan(apply_plan(again))) == "0011"
    torch.testing.assert_close(states(again, tokens(2, 9)), states(model, tokens(2, 9)))
    assert str(get_plan(apply_plan(copy.deepcopy(model)))) == "0011"

    apply_plan(again, "causal").save_pretrained(tmp_path / "causal")
    assert str(get_plan(apply_plan(PeftModel.from_pretrained(load(), tmp_path / "causal")))) == "causal"
    remove_plan(again).save_pretrained(tmp_path / "none")
    with pytest.raises(PlanError, match="contains none"):
        apply_plan(PeftModel.from_pretrained(load(), tmp_path / "none"))


def test_adapters_of_different_plans_are_not_guessed_between(tmp_path: Path) -> None:
    lora = LoraConfig(r=2, target_modules=["q_proj"], task_type="TOKEN_CLS")
    for plan in ("0011", "full"):
        model = apply_plan(get_peft_model(tiny_model(head="ModelForTokenClassification"), lora), plan)
        model.save_pretrained(tmp_path / plan)
    both = PeftModel.from_pretrained(tiny_model(head="ModelForTokenClassification"), tmp_path / "0011", "a")
    both.load_adapter(tmp_path / "full", "b")
    with pytest.raises(PlanError, match="different plans"):
        apply_plan(both)
    assert str(get_plan(apply_plan(both, "0001"))) == "0001"


def test_all_zero_is_bit_for_bit_the_stock_model_in_a_padded_batch() -> None:
    ids, mask = tokens(3, 8), torch.ones(3, 8, dtype=torch.long)
    mask[0, :3], mask[1, 5:] = 0, 0
    for family, backend in RUNS:
        stock = tiny_model(family, backend=backend)
        planned = apply_plan(copy.deepcopy(stock), "causal")
        assert torch.equal(states(stock, ids, attention_mask=mask), states(planned, ids, attention_mask=mask))


def test_models_of_one_configuration_keep_their_own_plans() -> None:
    config = tiny_config("llama")
    ids = tokens(1, 7)
    one, two, stock = (AutoModel.from_config(config).eval() for _ in range(3))
    before = states(stock, ids)
    apply_plan(one, "0011")
    apply_plan(two, "0,3,*,1")
    for model, plan in ((one, "0011"), (two, "0,3,*,1")):
        assert str(get_plan(model)) == plan
        assert prove(model, plan).ok
    assert get_plan(stock) is None
    assert torch.equal(before, states(stock, ids))
    assert config.use_cache is True


def test_a_copied_model_keeps_the_plan_and_lets_go_of_it_alone() -> None:
    model = apply_plan(tiny_model(), "0011")
    twin = copy.deepcopy(model)
    remove_plan(twin)
    assert prove(model, "0011").ok
    assert prove(twin).layers[3].measured == "causal"


def test_a_new_plan_replaces_the_old_and_the_cache_setting_comes_back() -> None:
    model = tiny_model()
    apply_plan(model, "full")
    apply_plan(model, "0001")
    assert prove(model, "0001").ok
    assert model.config.use_cache is False
    remove_plan(model)
    assert model.config.use_cache is True
    assert model.config._attn_implementation == "sdpa"
    assert "lookboth_plan" not in model.config.to_dict()
    assert not model._forward_pre_hooks
    assert not model._forward_hooks


def test_save_and_reload_keeps_the_plan(tmp_path: Path) -> None:
    model = apply_plan(tiny_model(head="ModelForCausalLM"), "0,3,*,1")
    ids = tokens(2, 8)
    model.save_pretrained(tmp_path)
    assert "lookboth_sdpa" not in (tmp_path / "config.json").read_text()  # unknown where lookboth is not
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert get_plan(loaded) is None
    apply_plan(loaded)
    assert str(get_plan(loaded)) == "0,3,*,1"
    assert torch.equal(states(model, ids), states(loaded, ids))


def test_a_saved_plan_that_no_longer_fits_is_refused() -> None:
    model = tiny_model(num_layers=3)
    model.config.lookboth_plan = "0,0,*,*"
    with pytest.raises(PlanError, match="4 layers but LlamaModel has 3"):
        apply_plan(model)


def test_generation_with_a_causal_plan_decodes_with_a_cache_as_stock() -> None:
    model = tiny_model(head="ModelForCausalLM")
    ids = tokens(1, 5)
    wanted = model.generate(ids, max_new_tokens=5, do_sample=False)
    assert torch.equal(wanted, apply_plan(model, "causal").generate(ids, max_new_tokens=5, do_sample=False))


def test_a_plan_that_looks_right_refuses_the_cache() -> None:
    model = apply_plan(tiny_model(head="ModelForCausalLM"), "0011")
    with pytest.raises(PlanError, match="key-value cache"):
        model.generate(tokens(1, 5), max_new_tokens=3, do_sample=False, use_cache=True)


def test_a_configuration_with_a_plan_does_not_run_without_it() -> None:
    planned = apply_plan(tiny_model(), "0011")
    with pytest.raises(PlanError, match="apply_plan"):
        AutoModel.from_config(planned.config)(tokens(1, 5))


def test_switching_the_backend_off_is_noticed() -> None:
    model = apply_plan(tiny_model(), "0011")
    model.set_attn_implementation("eager")
    with pytest.raises(PlanError, match="deactivated plan"):
        model(tokens(1, 5))
    apply_plan(model, "0011")
    assert prove(model, "0011").ok


def test_a_four_dimensional_mask_is_refused() -> None:
    model = apply_plan(tiny_model(), "0011")
    with pytest.raises(PlanError, match="4-D"):
        model(tokens(1, 5), attention_mask=torch.ones(1, 1, 5, 5, dtype=torch.bool))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions(dtype: torch.dtype) -> None:
    model = tiny_model("gemma3").to(dtype)
    weights = [weight.clone() for weight in model.parameters()]
    proof = prove(model, "0,2,*,1")
    assert proof.ok, proof.describe()
    after = list(model.parameters())
    assert all(weight.dtype == dtype for weight in after)
    assert all(torch.equal(old, new) for old, new in zip(weights, after, strict=True))
    ids, mask = tokens(2, 8), torch.ones(2, 8, dtype=torch.long)
    mask[0, :3] = 0
    assert states(apply_plan(model, "full"), ids, attention_mask=mask).isfinite().all()


class TestFlash:
    """Flash attention is not here; a stand-in under its name shows what it would be handed."""

    @pytest.fixture
    def calls(self, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

        seen: list[dict[str, Any]] = []
        sdpa = ALL_ATTENTION_FUNCTIONS["sdpa"]

        def flash(module: Any, query: Any, key: Any, value: Any, mask: Any, **kwargs: Any) -> Any:
            seen.append({"is_causal": kwargs["is_causal"], "name": module.config._attn_implementation})
            assert module.layer_idx == (len(seen) - 1) % 4
            return sdpa(module, query, key, value, None, **kwargs)

        monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, "flash_attention_2", flash)
        return seen

    def model(self, plan: str, family: str = "llama") -> Any:
        model = tiny_model(family)
        model.config._attn_implementation_internal = "flash_attention_2"
        return apply_plan(model, plan)

    def test_causal_and_bidirectional_layers(self, calls: list[dict[str, Any]]) -> None:
        ids = tokens(1, 9)
        flash = states(self.model("0011"), ids)
        assert [call["is_causal"] for call in calls] == [True, True, False, False]
        assert {call["name"] for call in calls} == {"flash_attention_2"}
        assert torch.equal(flash, states(apply_plan(tiny_model(), "0011"), ids))

    def test_what_it_cannot_express_is_refused(self, calls: list[dict[str, Any]]) -> None:
        with pytest.raises(PlanError, match="look-ahead of 2"):
            self.model("2,")(tokens(1, 9))
        with pytest.raises(PlanError, match="sliding window of 5"):
            self.model("full", "mistral")(tokens(1, 9))
        positions = torch.tensor([[0, 1, 2, 0, 1]])
        with pytest.raises(PlanError, match="packed rows in a batch"):
            self.model("full")(tokens(2, 5), position_ids=positions.expand(2, -1))
        assert states(self.model("full"), tokens(1, 5), position_ids=positions).isfinite().all()


@pytest.mark.parametrize("plan", ["0011", "full", "causal"])
@pytest.mark.parametrize("backend", ["sdpa", "eager"])
def test_a_decoder_that_its_configuration_makes_bidirectional_takes_a_plan(backend: str, plan: str) -> None:
    model = tiny_model("qwen3", backend=backend, is_causal=False)
    assert own_plan(model) == MaskPlan((None,) * 4)
    proof = prove(apply_plan(model, plan), plan)
    assert proof.ok, proof.describe()


def test_gpt2_that_upcasts_its_scores_does_so_under_a_plan() -> None:
    options = {"backend": "eager", "reorder_and_upcast_attn": True}
    model = tiny_model("gpt2", **options).to(torch.bfloat16)
    ids = tokens(2, 9)
    stock = states(model, ids)
    assert not torch.equal(stock, states(tiny_model("gpt2", backend="eager").to(torch.bfloat16), ids))
    assert torch.equal(states(apply_plan(model, "causal"), ids), stock)
    assert prove(tiny_model("gpt2", **options), "0011").ok
