"""Gates: open they are the plan, shut they are causal, between they weigh what is on the right, with a gradient."""

import pytest
import torch
from transformers import AutoModel

from lookboth.errors import PlanError
from lookboth.masking.attention import apply_plan
from lookboth.masking.gates import set_gates

IDS = torch.tensor([[3, 5, 7, 9, 11, 2], [4, 6, 8, 2, 2, 2]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]], dtype=torch.bool)


@pytest.fixture
def model(tiny_llama_folder):
    return apply_plan(
        AutoModel.from_pretrained(tiny_llama_folder, attn_implementation="eager").eval(), "full"
    )


def states(model, mask=MASK):
    return model(input_ids=IDS, attention_mask=mask).last_hidden_state[MASK]


@pytest.mark.parametrize("mask", [MASK, None])
def test_open_is_the_plan_and_shut_is_causal(model, mask):
    num_layers = model.config.num_hidden_layers
    full = states(model, mask)
    set_gates(model, torch.ones(num_layers))
    torch.testing.assert_close(states(model, mask), full)
    set_gates(model, torch.zeros(num_layers))
    shut = states(model, mask)
    set_gates(model, None)
    assert torch.equal(states(model, mask), full)
    causal = states(apply_plan(model, "causal"), mask)
    torch.testing.assert_close(shut, causal, atol=1e-4, rtol=0)
    assert not torch.allclose(full, causal, atol=1e-3)


def test_each_layer_has_its_own(model):
    num_layers = model.config.num_hidden_layers
    only_last = torch.tensor([0.0] * (num_layers - 1) + [1.0])
    set_gates(model, only_last)
    got = states(model)
    wanted = states(apply_plan(model, "top:1"))
    torch.testing.assert_close(got, wanted, atol=1e-4, rtol=0)


def test_the_gradient_is_that_of_differences(model):
    strengths = torch.full((model.config.num_hidden_layers,), 0.4, dtype=torch.float64, requires_grad=True)

    def loss(values):
        set_gates(model, values)
        return states(model).double().square().sum()

    (gradient,) = torch.autograd.grad(loss(strengths), strengths)
    for layer in range(len(strengths)):
        step = torch.zeros_like(strengths)
        # With smaller steps the rounding of the loss, in fp32, is a tenth of the difference.
        step[layer] = 3e-2
        with torch.no_grad():
            difference = (loss(strengths + step) - loss(strengths - step)) / 6e-2
        torch.testing.assert_close(gradient[layer], difference, rtol=0.02, atol=5e-4)
    assert gradient.abs().min() > 0


def test_what_cannot_be_gated_is_refused(model, tiny_llama_folder):
    with pytest.raises(PlanError, match="one per layer"):
        set_gates(model, torch.ones(1))
    plain = AutoModel.from_pretrained(tiny_llama_folder, attn_implementation="sdpa")
    with pytest.raises(PlanError, match="No plan is active"):
        set_gates(plain, torch.ones(plain.config.num_hidden_layers))
    with pytest.raises(PlanError, match="eager"):
        set_gates(apply_plan(plain, "full"), torch.ones(plain.config.num_hidden_layers))
