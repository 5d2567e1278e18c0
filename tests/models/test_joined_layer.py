"""A joined layer computes what the modules of its decoder layer compute, and runs only where it can."""

from typing import Any

import pytest
import torch
from masking.families import FAMILIES, batches, tiny_model, tokens

from lookboth.compat import has_native_bf16, has_onednn_product
from lookboth.masking.attention import under_plan
from lookboth.masking.plan import MaskPlan
from lookboth.models import fast_form
from lookboth.models.fast_form import FastForm
from lookboth.models.joined_layer import join_layers

pytestmark = pytest.mark.skipif(not has_onednn_product(), reason="a torch without oneDNN")

JOINED = ["llama", "mistral", "qwen2"]
SHORT = {"input_ids": tokens(3, 9)}
LONG = {"input_ids": tokens(1, 150)}


@pytest.fixture(autouse=True)
def gains(monkeypatch: pytest.MonkeyPatch) -> None:
    """fp32 gains, as on a processor with AVX-512 that is not from Intel."""
    monkeypatch.setattr(fast_form, "onednn_is_faster", lambda: True)


def ready(family: str = "llama", dtype: torch.dtype = torch.float32, **changes: Any) -> tuple[Any, FastForm]:
    """Return a model and its fast form with packed weights."""
    model = tiny_model(family, backend="eager", **changes).to(dtype)
    form = FastForm(model, dtype)
    with torch.inference_mode(), form.active():
        model(**SHORT)
    return model, form


@torch.inference_mode()
def states(model: Any, form: FastForm, **batch: Any) -> torch.Tensor:
    with form.active():
        return model(**batch).last_hidden_state


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_of_llamas_form_are_joined(family: str) -> None:
    model, form = ready(family)
    joined = [one.layer for one in form._joined]
    assert joined == (list(model.layers) if family in JOINED else [])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", JOINED)
@pytest.mark.parametrize("bias", [False, True])
def test_the_states_are_the_same_bit_for_bit(family: str, dtype: torch.dtype, bias: bool) -> None:
    if dtype == torch.bfloat16 and not has_native_bf16():
        pytest.skip("a processor without bf16")
    model, form = ready(family, dtype, attention_bias=bias, mlp_bias=bias)
    joined = form._joined
    for plan in ("causal", "full", "0,3,*,1"):
        with under_plan(model, MaskPlan.parse(plan, 4)):
            for kind, batch in {**batches(), "long": LONG}.items():
                form._joined = joined
                found = states(model, form, **batch)
                form._joined = []
                assert torch.equal(found, states(model, form, **batch)), f"{plan}, {kind}"


def test_hooks_inside_a_layer_are_called() -> None:
    model, form = ready()
    plain, seen = states(model, form, **LONG), []
    hook = model.layers[1].mlp.register_forward_hook(lambda *given: seen.append(given))
    torch.testing.assert_close(states(model, form, **LONG), plain)
    hook.remove()
    states(model, form, **LONG)
    assert len(seen) == 1


def test_another_function_in_place_of_a_module_is_called() -> None:
    model, form = ready()
    plain = states(model, form, **LONG)
    norm = model.layers[2].post_attention_layernorm
    norm.forward = lambda x: x * 0
    assert not torch.allclose(states(model, form, **LONG), plain)


def test_a_changed_norm_is_used() -> None:
    model, form = ready()
    plain = states(model, form, **LONG)
    with torch.no_grad():
        model.layers[0].input_layernorm.weight.mul_(-2)
    found = states(model, form, **LONG)
    assert not torch.allclose(found, plain)
    with torch.inference_mode():
        torch.testing.assert_close(found, model(**LONG).last_hidden_state, rtol=1e-4, atol=1e-4)


def test_a_layer_with_weights_of_two_dtypes_runs_as_loaded() -> None:
    model, form = ready()
    model.layers[0].input_layernorm.double()
    joined = join_layers(model, form._products)
    assert [one.layer for one in joined] == list(model.layers[1:])


def test_attention_weights_and_a_cache_of_keys_are_returned() -> None:
    model, form = ready()
    with torch.inference_mode():
        plain = model(**LONG, use_cache=True, output_attentions=True, output_hidden_states=True)
        with form.active():
            first = model(**LONG, use_cache=True, output_attentions=True, output_hidden_states=True)
            again = model(**LONG, use_cache=True)
    for found in (first, again):
        assert found.past_key_values.get_seq_length() == LONG["input_ids"].shape[1]
    for ours, theirs in zip(
        first.attentions + first.hidden_states, plain.attentions + plain.hidden_states, strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
