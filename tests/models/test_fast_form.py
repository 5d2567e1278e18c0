"""The fast form computes the same states and tags as the plain one, for every family, plan and batch."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
import torch
from encoders import encoder
from masking.families import FAMILIES, batches, tiny_model, tokens
from tiny import tiny_labeler
from torch import nn

from lookboth.compat import has_native_bf16, has_onednn_product, is_patched
from lookboth.labelers.labeler import Labeler
from lookboth.labelers.labeler_pool import LabelerPool
from lookboth.masking.attention import apply_plan, under_plan
from lookboth.masking.plan import MaskPlan
from lookboth.models import fast_form
from lookboth.models.fast_form import FastForm

pytestmark = pytest.mark.skipif(not has_onednn_product(), reason="a torch without oneDNN")

PLANS = ["causal", "full", "0,3,*,1"]
TEXTS = [
    "Ada Lovelace was born in London and worked with Charles Babbage .",
    "Toyota opened a new plant near New York in 1993 , it said on Monday . " * 20,
    "x",
    "",
]


@pytest.fixture(autouse=True)
def gains(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both dtypes gain, as on a processor with AVX-512 that is not from Intel."""
    monkeypatch.setattr(fast_form, "onednn_is_faster", lambda: True)


def linear_layers(model: nn.Module) -> list[nn.Linear]:
    return [module for module in model.modules() if isinstance(module, nn.Linear)]


@torch.inference_mode()
def states(model: Any, form: FastForm | None, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    if form is None:
        return model(**batch).last_hidden_state
    with form.active():
        return model(**batch).last_hidden_state


def assert_same(model: Any, dtype: torch.dtype = torch.float32) -> FastForm:
    """Compare the states of all tokens of every batch and plan."""
    form = FastForm(model, dtype)
    for plan in PLANS:
        with under_plan(model, MaskPlan.parse(plan, model.config.num_hidden_layers)):
            for kind, batch in batches().items():
                given = batch.get("attention_mask", torch.ones_like(batch["input_ids"])).bool()
                plain, fast = (states(model, one, batch)[given] for one in (None, form))
                torch.testing.assert_close(fast, plain, msg=f"{plan}, {kind}", **_tolerance(dtype))
    return form


def _tolerance(dtype: torch.dtype) -> dict[str, float]:
    return {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 0.1, "atol": 0.1}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(family: str) -> None:
    model = tiny_model(family, backend="eager" if family == "gemma2" else "sdpa")
    form = assert_same(model)
    # The layers of GPT-2 are not linear layers of torch; it runs as loaded.
    assert bool(form._products) == bool(linear_layers(model))


@pytest.mark.skipif(not has_native_bf16(), reason="a processor without bf16")
@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma3", "gpt_neox"])
def test_half_precision(family: str) -> None:
    model = tiny_model(family, backend="eager").to(torch.bfloat16)
    assert assert_same(model, torch.bfloat16)._products


@pytest.mark.parametrize("name", ["Bert", "ModernBert"])
def test_encoders(name: str) -> None:
    model = encoder(name)
    form = FastForm(model, torch.float32)
    for batch in (batches()["one length"], batches()["padded right"]):
        given = batch.get("attention_mask", torch.ones_like(batch["input_ids"])).bool()
        torch.testing.assert_close(states(model, form, batch)[given], states(model, None, batch)[given])
    assert form._products


def test_layers_that_read_one_tensor_are_one_product() -> None:
    model = tiny_model("llama")
    form = assert_same(model)
    named = {module: name for name, module in model.named_modules()}
    groups = [[named[layer].rpartition(".")[2] for layer in product.layers] for product in form._products]
    assert groups == [["q_proj", "k_proj", "v_proj"], ["o_proj"], ["gate_proj", "up_proj"], ["down_proj"]] * 4


def test_a_layer_that_runs_later_joins_no_other_group() -> None:
    """As in a mixture of experts, where the texts decide which layers run."""

    class Chosen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 3), nn.Linear(3, 2), nn.Linear(4, 5, bias=False)

        def forward(self, x: torch.Tensor, *, all_three: bool) -> list[torch.Tensor]:
            return [self.a(x), *([self.c(x)] if all_three else []), self.b(self.a(x))]

    model, x = Chosen(), torch.randn(6, 4)
    form = FastForm(model, torch.float32)
    with torch.inference_mode(), form.active():
        model(x, all_three=False)
        model(x, all_three=True)
    assert [product.layers for product in form._products] == [(model.a, model.c), (model.b,)]
    for all_three in (False, True, False):
        plain = model(x, all_three=all_three)
        with torch.inference_mode(), form.active():
            torch.testing.assert_close(model(x, all_three=all_three), plain)


def ready(model: Any) -> FastForm:
    form = FastForm(model, torch.float32)
    states(model, form, batches()["one length"])
    assert form._products
    return form


def test_outside_the_model_is_the_one_that_was_loaded() -> None:
    model = tiny_model("llama")
    names, form = list(model.state_dict()), ready(model)
    with suppress(KeyError), form.active():
        assert all(map(is_patched, linear_layers(model)))
        raise KeyError
    assert not any(map(is_patched, model.modules()))
    assert list(model.state_dict()) == names


def _in_place(model: Any) -> None:
    with torch.no_grad():
        model.layers[1].self_attn.k_proj.weight.mul_(-2)


def _replaced(model: Any) -> None:
    layer = model.layers[1].mlp.up_proj
    layer.weight = nn.Parameter(layer.weight.detach() * -2)


def _moved(model: Any) -> None:
    layer = model.layers[1].mlp.down_proj
    layer.weight.data = layer.weight.data * -2


@pytest.mark.parametrize("change", [_in_place, _replaced, _moved])
def test_weights_that_were_changed_are_used(change: Any) -> None:
    model, batch = apply_plan(tiny_model("llama"), "0011"), batches()["one length"]
    form = ready(model)
    before = states(model, form, batch)
    change(model)
    after = states(model, form, batch)
    torch.testing.assert_close(after, states(model, None, batch), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(after, before)


@pytest.mark.parametrize("make", [copy.deepcopy, lambda form: pickle.loads(pickle.dumps(form))])
def test_a_copy_packs_its_own_weights(make: Any) -> None:
    model, batch = tiny_model("llama"), batches()["one length"]
    copied = make(ready(model))
    _in_place(copied._backbone)
    assert not copied._products
    for _ in range(2):
        found = states(copied._backbone, copied, batch)
        torch.testing.assert_close(found, states(copied._backbone, None, batch), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found, states(model, None, batch))


def test_what_gains_nothing_runs_as_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    for layer in linear_layers(model):
        layer.__class__ = type("Quantized", (nn.Linear,), {})
    assert not FastForm(model, torch.float32)._is_possible
    assert not FastForm(tiny_model("llama"), torch.bfloat16)._is_possible
    monkeypatch.setattr(fast_form, "LARGEST", 1000)
    assert not FastForm(tiny_model("llama"), torch.float32)._is_possible


@pytest.mark.parametrize("plan", ["causal", "full", "0011", "0,1,2,0"])
def test_labelers_give_the_spans_of_the_plain_form(tiny_llama_folder: Any, tmp_path: Any, plan: str) -> None:
    tiny_labeler(tiny_llama_folder, plan=plan).save_pretrained(tmp_path)
    plain, fast = (Labeler.from_pretrained(tmp_path, device="cpu", precision="fp32") for _ in range(2))
    assert fast.model.fast_form is not None
    plain.model.fast_form = None
    for texts in (TEXTS, TEXTS[::-1], TEXTS[:1]):
        for one, other in zip(plain.predict(texts), fast.predict(texts), strict=True):
            assert one.tags == other.tags
            scores = [[span.score for span in prediction.spans] for prediction in (one, other)]
            assert scores[0] == pytest.approx(scores[1], abs=1e-4)
            spans = [[span._replace(score=0) for span in prediction.spans] for prediction in (one, other)]
            assert spans[0] == spans[1]
    assert fast.model.fast_form._products
    if plan == "0,1,2,0":
        assert _streamed(fast) == _streamed(plain)


def _streamed(labeler: Labeler) -> list[str]:
    stream = labeler.open_stream()
    updates = [stream.push(word) for word in TEXTS[0].split()]
    return [word.tag for update in (*updates, stream.finish()) for word in update.words]


def test_a_labeler_that_will_be_trained_has_no_fast_form(tiny_llama_folder: Any, tmp_path: Any) -> None:
    tiny_labeler(tiny_llama_folder).save_pretrained(tmp_path)
    assert Labeler.from_pretrained(tmp_path, device="cpu", merge=False).model.fast_form is None


def test_labelers_that_share_a_backbone_have_no_packed_weights(tiny_llama_folder: Any, tmp_path: Any) -> None:
    for seed in (0, 1):
        tiny_labeler(tiny_llama_folder, seed=seed).save_pretrained(tmp_path / str(seed))
    pool = LabelerPool(device="cpu", precision="fp32")
    pool.add({str(seed): tmp_path / str(seed) for seed in (0, 1)})
    forms = [labeler.model.fast_form for labeler in pool.labelers.values()]
    assert not any(form._is_possible for form in forms)
    pool.remove("1")
    assert pool["0"].model.fast_form._is_possible


def test_several_threads_at_once() -> None:
    model = tiny_model("llama")
    inputs = [{"input_ids": tokens(2, 9, seed=seed)} for seed in range(8)]
    plain = [states(model, None, batch) for batch in inputs]
    form = FastForm(model, torch.float32)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for found, wanted in zip(
                pool.map(lambda one: states(model, form, one), inputs), plain, strict=True
            ):
                torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    assert form._products
    assert not any(map(is_patched, model.modules()))
