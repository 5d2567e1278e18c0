"""Incremental passes: the states of one pass over the whole text, as soon as their look-ahead has arrived."""

import random

import pytest
import torch
from families import FAMILIES, NEEDS_EAGER, WINDOW, tiny_model, tokens

from lookboth.compat import cache_argument
from lookboth.errors import PlanError
from lookboth.masking import IncrementalPass, MaskPlan, apply_plan, change_backend, prove_incremental

LENGTH = 24  # tokens; several sliding windows of the tiny models


def whole(model, ids):
    with torch.inference_mode():
        return model(input_ids=ids, use_cache=False).last_hidden_state[0]


def in_chunks(model, ids, plan, chance):
    """Return the states of `ids` pushed in random chunks, and check when each one comes."""
    text, found, start = IncrementalPass(model), [], 0
    while start < len(ids):
        end = min(len(ids), start + chance.choice((1, 1, 2, 3, 7)))
        found.append(text.push(ids[start:end]))
        start = end
        assert sum(map(len, found)) == max(0, end - plan.total_look_ahead())
    return torch.cat([*found, text.close()])


@pytest.mark.parametrize("family", FAMILIES)
def test_states_are_those_of_one_pass(family):
    chance = random.Random(family)
    model = tiny_model(family, backend="eager" if family in NEEDS_EAGER else chance.choice(("sdpa", "eager")))
    for seed in range(3):
        plan = MaskPlan(tuple(chance.choice((0, 0, 1, 2, 4)) for _ in range(4)))
        apply_plan(model, plan)
        ids = tokens(1, LENGTH, seed=seed)
        expected = whole(model, ids)
        found = in_chunks(model, ids[0].tolist(), plan, chance)
        assert torch.allclose(found, expected, atol=1e-5 * float(expected.abs().max())), (family, str(plan))
        prove_incremental(model)


def test_two_texts_take_turns():
    model = apply_plan(tiny_model(), "0,1,0,2")
    one, two = tokens(1, 9, seed=1), tokens(1, 9, seed=2)
    first, second = IncrementalPass(model), IncrementalPass(model)
    found = [[], []]
    for index in range(9):
        found[0].append(first.push([int(one[0, index])]))
        found[1].append(second.push([int(two[0, index])]))
    for ids, text, states in ((one, first, found[0]), (two, second, found[1])):
        assert torch.allclose(torch.cat([*states, text.close()]), whole(model, ids), atol=1e-4)


def test_the_model_is_unchanged_after_a_pass():
    model = apply_plan(tiny_model(), "0,1,0,2")
    ids = tokens(1, LENGTH)
    before = whole(model, ids)
    IncrementalPass(model).push(ids[0].tolist())
    assert torch.equal(whole(model, ids), before)


def test_a_text_shorter_than_its_look_ahead():
    model = apply_plan(tiny_model(), "4,")
    ids = tokens(1, 2)
    text = IncrementalPass(model)
    assert len(text.push(ids[0].tolist())) == 0
    assert torch.allclose(text.close(), whole(model, ids), atol=1e-4)
    assert len(text.close()) == 0


def test_a_chunked_model_keeps_its_chunks():
    """A window slides with the rows of each layer, not with the newest token."""
    model = apply_plan(tiny_model("mistral"), "0,2,0,1")
    ids = tokens(1, 4 * WINDOW)
    text = IncrementalPass(model)
    found = torch.cat([*(text.push([token]) for token in ids[0].tolist()), text.close()])
    assert torch.allclose(found, whole(model, ids), atol=1e-4)


def test_unlimited_layers_are_refused():
    model = apply_plan(tiny_model(), "0011")
    with pytest.raises(PlanError, match=r"'0011' has no limit in layers 2, 3.*plan = 'causal'"):
        IncrementalPass(model)


def test_a_stock_model_and_another_backend_are_refused():
    model = tiny_model()
    with pytest.raises(PlanError, match="no mask plan"):
        IncrementalPass(model)
    change_backend(apply_plan(model, "causal"), "flex_attention")
    with pytest.raises(PlanError, match="flex_attention; allowed are sdpa and eager"):
        IncrementalPass(model)


def test_encoders_are_refused():
    from transformers import BertConfig, BertModel

    model = apply_plan(
        BertModel(BertConfig(vocab_size=32, hidden_size=32, num_hidden_layers=2, num_attention_heads=2)),
        "causal",
    )
    with pytest.raises(PlanError, match="BertModel cannot label a stream: the layers of an encoder"):
        IncrementalPass(model)


def test_shared_keys_are_refused():
    model = apply_plan(tiny_model(), "causal")
    model.config.num_kv_shared_layers = 2
    with pytest.raises(PlanError, match="share keys and values"):
        IncrementalPass(model)


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows + rows.mean(dim=1, keepdim=True),  # mixes tokens outside attention
        lambda rows: rows * torch.arange(1, rows.shape[1] + 1)[:, None],  # counts positions in the batch
    ],
)
def test_the_proof_refuses_layers_that_compute_something_else(change):
    model = apply_plan(tiny_model(), "0,1,0,2")
    model.layers[2].mlp.register_forward_hook(lambda module, args, output: change(output))
    with pytest.raises(PlanError, match="LlamaModel cannot label a stream: its states differ"):
        prove_incremental(model)


def test_the_proof_refuses_layers_that_return_more_than_states():
    model = apply_plan(tiny_model(), "0,1,0,2")
    stock = model.layers[3].forward

    def forward(*args, **kwargs):
        states = stock(*args, **kwargs)
        return states if kwargs[cache_argument(model)] is None else (states, None)

    model.layers[3].forward = forward
    with pytest.raises(PlanError, match="TypeError: its layers return more than their states"):
        prove_incremental(model)
