"""The backend "varlen": the kernel is a GPU's, so a plain loop stands in for it; everything around it is real."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from encoders import encoder
from families import batches, tiny_model, tokens

from lookboth.compat import cache_argument
from lookboth.errors import PlanError
from lookboth.labelers.inspect import prove_model
from lookboth.masking import varlen
from lookboth.masking.attention import apply_plan
from lookboth.masking.backends import NEEDED, build_layer_masks
from lookboth.masking.proof import prove
from lookboth.masking.varlen import VARLEN, Texts

PLANS = ("causal", "full", "0011", "2,0,*,1", "middle")


def loop(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    borders: torch.Tensor,
    _: torch.Tensor,
    longest: int,
    __: int,
    *,
    scale: float | None,
    window_size: tuple[int, int],
    enable_gqa: bool,
) -> torch.Tensor:
    """What torch's documentation says of varlen_attn, text by text."""
    assert enable_gqa == (query.shape[1] != key.shape[1])
    assert query.dtype == key.dtype == value.dtype
    left, right = window_size
    seen = torch.empty_like(query)
    ends = borders.tolist()
    assert longest == max(b - a for a, b in pairwise(ends))
    assert ends[-1] == len(query) == len(key)
    for start, end in pairwise(ends):
        part = slice(start, end)
        place = torch.arange(end - start)
        ahead = place[None, :] - place[:, None]
        allowed = torch.ones_like(ahead, dtype=torch.bool)
        if left >= 0:
            allowed &= -ahead <= left
        if right >= 0:
            allowed &= ahead <= right
        q, k, v = (states[part].transpose(0, 1) for states in (query, key, value))
        seen[part] = torch.nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=allowed, scale=scale, enable_gqa=enable_gqa
        ).transpose(0, 1)
    return seen


def loop_of_halves(query: torch.Tensor) -> Any:
    """The loop, refusing what the kernel refuses, but for the GPU."""
    assert query.dtype == torch.bfloat16
    return loop


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(varlen, "_kernel", lambda query: loop)


def planned(plan: str, backend: str, family: str = "llama") -> Any:
    model = tiny_model(family, backend="eager")
    model.config._attn_implementation_internal = backend
    return apply_plan(model, plan)


def states(model: Any, **batch: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(**batch, use_cache=False).last_hidden_state


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen3"])
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("batch", batches())
def test_it_sees_what_eager_attention_sees(kernel: None, family: str, plan: str, batch: str) -> None:
    given = batches()[batch]
    ours, eager = (states(planned(plan, backend, family), **given) for backend in (VARLEN, "eager"))
    tokens_only = given.get("attention_mask", torch.ones_like(given["input_ids"])).bool()
    torch.testing.assert_close(ours[tokens_only], eager[tokens_only])


@pytest.mark.parametrize("plan", PLANS)
def test_the_plan_is_proven(kernel: None, plan: str) -> None:
    model = tiny_model()
    model.config._attn_implementation_internal = VARLEN
    proof = prove(model, plan)
    assert proof.ok, proof.describe()


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("random_weights", [True, False])
def test_a_named_model_is_proven_in_halves(
    monkeypatch: pytest.MonkeyPatch, tiny_llama_folder: Path, plan: str, random_weights: bool
) -> None:
    monkeypatch.setattr(varlen, "_kernel", loop_of_halves)
    name = str(tiny_llama_folder)
    proof = prove_model(name, plan, attn_implementation=VARLEN, random_weights=random_weights)
    assert proof.ok, proof.describe()
    assert proof.backend == VARLEN


def test_halves_are_not_widened_for_a_kernel_of_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(varlen, "_kernel", loop_of_halves)
    model = planned("0011", VARLEN).bfloat16()
    assert prove(model, "0011").ok
    assert not prove(model, "0111").ok
    assert next(model.parameters()).dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["Bert", "Roberta"])
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("batch", [name for name in batches() if name != "packed"])
def test_encoders_see_what_they_see_in_eager_attention(
    kernel: None, name: str, plan: str, batch: str
) -> None:
    given, found = batches()[batch], []
    for backend in (VARLEN, "eager"):
        model = encoder(name, "eager")
        model.config._attn_implementation_internal = backend
        with torch.no_grad():
            found.append(apply_plan(model, plan)(**given).last_hidden_state)
    tokens_only = given.get("attention_mask", torch.ones_like(given["input_ids"])).bool()
    torch.testing.assert_close(*(states[tokens_only] for states in found))


def test_borders_of_whole_rows_are_made_where_the_states_are() -> None:
    given = dict.fromkeys(NEEDED) | {"batch_size": 2, "q_length": 3, "kv_length": 3, "device": "meta"}
    given |= {"q_offset": 0, "allow_is_causal_skip": True}
    masks = build_layer_masks(VARLEN, given)
    masks.bind(None)
    window = masks.for_reach(None)
    assert (window.texts.borders.device.type, window.texts.borders.dtype) == ("meta", torch.int32)
    there = Texts.find(2, 3, None, None, "cpu")
    assert (there.borders.tolist(), there.longest, there.places) == ([0, 3, 6], 3, None)


def test_gradients_go_through(kernel: None) -> None:
    given = batches()["padded right"]
    found = []
    for backend in (VARLEN, "eager"):
        model = planned("0011", backend)
        model(**given, use_cache=False).last_hidden_state[given["attention_mask"].bool()].sum().backward()
        found.append(model.layers[0].self_attn.q_proj.weight.grad)
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)  # of sums over all tokens


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_fp32_weights_under_autocast_reach_the_kernel_in_bf16(
    monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    monkeypatch.setattr(varlen, "_kernel", loop_of_halves)
    given = {"input_ids": tokens(2, 7)}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, eager = (states(planned("0011", backend, family), **given) for backend in (VARLEN, "eager"))
    torch.testing.assert_close(ours, eager, rtol=5e-2, atol=5e-2)


def test_without_a_gpu_it_says_what_to_do() -> None:
    with pytest.raises(PlanError, match=r"CUDA GPUs in bf16 or fp16; found torch\.float32 states on cpu"):
        states(planned("0011", VARLEN), input_ids=tokens(1, 5))


@pytest.mark.parametrize("batch", batches())
def test_the_stock_model_runs_on_it(kernel: None, batch: str) -> None:
    given = batches()[batch]
    model = tiny_model("mistral", backend="eager")
    eager = states(model, **given)
    model.config._attn_implementation_internal = VARLEN
    tokens_only = given.get("attention_mask", torch.ones_like(given["input_ids"])).bool()
    torch.testing.assert_close(states(model, **given)[tokens_only], eager[tokens_only])


def test_what_it_cannot_express_is_refused(kernel: None) -> None:
    with pytest.raises(PlanError, match="softcap"):
        states(planned("0011", VARLEN, "gemma2"), input_ids=tokens(1, 5))
    model = planned("causal", VARLEN)
    model.config.use_cache = True
    past = model(tokens(1, 5), use_cache=True).past_key_values
    with pytest.raises(PlanError, match="key-value cache"):
        model(tokens(1, 1), use_cache=True, **{cache_argument(model): past})
