"""Eager attention in blocks of queries gives what it gives at once, whatever the model, plan and batch."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from encoders import encoder
from families import FAMILIES, batches, tiny_model, tokens

from lookboth.compat import cache_argument
from lookboth.masking import query_blocks
from lookboth.masking.attention import apply_plan
from lookboth.masking.backends import RULE
from lookboth.masking.proof import prove

PLANS = ["causal", "full", "0,3,*,1"]


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Blocks of two queries in rows of four tokens and more; set LONG to turn them off."""
    monkeypatch.setattr(query_blocks, "BLOCK", 2)
    monkeypatch.setattr(query_blocks, "BLOCK_WITH_GRADIENTS", 2)
    monkeypatch.setattr(query_blocks, "LONG", 4)
    monkeypatch.setattr(query_blocks, "LONG_WITH_GRADIENTS", 4)
    return monkeypatch


def states(model: Any, **batch: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(**batch).last_hidden_state


def compare(blocks: pytest.MonkeyPatch, model: Any, kinds: Sequence[str] = tuple(batches())) -> None:
    """Compare the states of all tokens in blocks and at once, and make sure that there were blocks."""
    queries: list[int] = []
    for module in model.modules():
        if hasattr(module, RULE):
            getattr(module, RULE).stock = counted(getattr(module, RULE).stock, queries)
    for kind in kinds:
        batch = batches()[kind]
        blocks.setattr(query_blocks, "LONG", 4)
        ours = states(model, **batch)
        assert {*queries} == {1, 2}
        queries.clear()
        blocks.setattr(query_blocks, "LONG", 1000)
        tokens_only = batch.get("attention_mask", torch.ones_like(batch["input_ids"])).bool()
        torch.testing.assert_close(ours[tokens_only], states(model, **batch)[tokens_only])
        assert {*queries} == {9}
        queries.clear()


def counted(stock: Any, queries: list[int]) -> Any:
    def attention(module: Any, query: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        queries.append(query.shape[2])
        return stock(module, query, *args, **kwargs)

    return attention


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("plan", PLANS)
def test_every_decoder(blocks: pytest.MonkeyPatch, family: str, plan: str) -> None:
    compare(blocks, apply_plan(tiny_model(family, backend="eager"), plan))


@pytest.mark.parametrize("name", ["Bert", "Roberta", "ModernBert"])
@pytest.mark.parametrize("plan", PLANS)
def test_encoders(blocks: pytest.MonkeyPatch, name: str, plan: str) -> None:
    compare(blocks, apply_plan(encoder(name, backend="eager"), plan), kinds=("one length", "padded right"))


@pytest.mark.parametrize("family", ["llama", "gemma2", "mistral"])
def test_the_plan_is_proven(blocks: pytest.MonkeyPatch, family: str) -> None:
    proof = prove(tiny_model(family, backend="eager"), "0,3,*,1")
    assert proof.ok, proof.describe()


def test_gradients_go_through(blocks: pytest.MonkeyPatch) -> None:
    found = []
    for long in (4, 1000):
        blocks.setattr(query_blocks, "LONG_WITH_GRADIENTS", long)
        model = apply_plan(tiny_model(backend="eager"), "0011")
        model(**batches()["padded right"], use_cache=False).last_hidden_state.square().sum().backward()
        found.append(model.layers[0].self_attn.q_proj.weight.grad)
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)  # of sums over all tokens


@pytest.mark.parametrize(("plan", "products"), [("causal", 4 + 8 + 12), ("full", 3 * 12)])
def test_a_block_computes_with_the_keys_it_may_attend_to(
    blocks: pytest.MonkeyPatch, plan: str, products: int
) -> None:
    """Twelve tokens in blocks of four; the number of computed scores counts the products of queries and keys."""
    blocks.setattr(query_blocks, "BLOCK", 4)
    model, keys = apply_plan(tiny_model(backend="eager"), plan), []
    for module in model.modules():
        if hasattr(module, RULE):
            getattr(module, RULE).stock = with_keys(getattr(module, RULE).stock, keys)
    states(model, input_ids=tokens(1, 12), attention_mask=torch.ones(1, 12, dtype=torch.long))
    assert sum(keys) == len(model.layers) * products


@pytest.mark.parametrize("plan", PLANS)
def test_a_block_of_a_packed_row_computes_with_the_keys_of_its_texts(
    blocks: pytest.MonkeyPatch, plan: str
) -> None:
    """Texts of 4, 2 and 6 tokens in one row: no block of two queries has keys of another text."""
    model, keys = apply_plan(tiny_model(backend="eager"), plan), []
    for module in model.modules():
        if hasattr(module, RULE):
            getattr(module, RULE).stock = with_keys(getattr(module, RULE).stock, keys)
    positions = torch.tensor([[*range(4), *range(2), *range(6)]])
    states(model, input_ids=tokens(1, 12), position_ids=positions)
    assert sum(keys) <= len(model.layers) * (2 * 4 + 1 * 2 + 3 * 6)


def with_keys(stock: Any, keys: list[int]) -> Any:
    def attention(module: Any, query: torch.Tensor, key: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        keys.append(key.shape[2])
        return stock(module, query, key, *args, **kwargs)

    return attention


@pytest.mark.parametrize("asked", ["call", "config"])
def test_whoever_asks_for_attention_weights_gets_them_whole(blocks: pytest.MonkeyPatch, asked: str) -> None:
    model = tiny_model(backend="eager")
    if asked == "config":
        model.config.output_attentions = True
    apply_plan(model, "0011")
    with torch.no_grad():
        out = model(
            input_ids=tokens(1, 9),
            use_cache=False,
            **({"output_attentions": True} if asked == "call" else {}),
        )
    assert [weights.shape for weights in out.attentions] == [(1, 4, 9, 9)] * 4


def test_a_cached_prompt_is_not_cut(blocks: pytest.MonkeyPatch) -> None:
    """Queries are fewer than keys: the last tokens of a text whose beginning is in the cache."""
    model = apply_plan(tiny_model(backend="eager"), "causal")
    ids = tokens(1, 12)
    with torch.no_grad():
        past = model(input_ids=ids[:, :4], use_cache=True).past_key_values
        rest = model(input_ids=ids[:, 4:], use_cache=True, **{cache_argument(model): past}).last_hidden_state
    torch.testing.assert_close(rest, states(model, input_ids=ids)[:, 4:])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_key_heads_that_are_not_repeated_give_the_same_states(
    family: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model(family, backend="eager").to(dtype)
    for plan in PLANS:
        apply_plan(model, plan)
        for batch in batches().values():
            with monkeypatch.context() as patched:
                patched.setattr(query_blocks, "is_usual_attention", lambda _: False)
                stock = states(model, **batch)
            found = states(model, **batch)
            torch.testing.assert_close(found, stock, rtol=1e-2, atol=1e-4)


def test_which_families_have_the_usual_attention() -> None:
    """The others have their own steps: a softcap, an attention to nothing, or one key head per query head."""
    usual = set()
    for family in FAMILIES:
        model = apply_plan(tiny_model(family, backend="eager"), "causal")
        rules = [getattr(module, RULE) for module in model.modules() if hasattr(module, RULE)]
        if query_blocks.is_usual_attention(rules[0].stock):
            usual.add(family)
    assert usual == {"llama", "mistral", "qwen2", "qwen3", "phi3", "olmo", "olmo2"}
