"""Contracts with torch."""

import copy

import pytest
import torch
from torch import nn

from lookboth.compat import has_native_bf16, has_onednn_product, is_patched, onednn_product, replace_forward
from lookboth.compat.torch_internals import share_children


def test_bf16_is_native_where_torch_lists_its_instructions() -> None:
    if not hasattr(torch.cpu, "get_capabilities"):
        pytest.skip("a torch without the public list")
    assert has_native_bf16() == bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("bias", [None, torch.randn(3)])
def test_the_product_of_onednn_is_that_of_a_linear_layer(bias: torch.Tensor | None, transposed: bool) -> None:
    if not has_onednn_product():
        pytest.skip("a torch without oneDNN")
    weight = torch.randn(5, 3).t() if transposed else torch.randn(3, 5)
    x = torch.randn(7, 5)
    torch.testing.assert_close(onednn_product(x, weight, bias), nn.functional.linear(x, weight, bias))


def test_what_is_replaced_in_one_of_two_modules_with_shared_children_is_replaced_in_the_other() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    model.register_parameter("scale", nn.Parameter(torch.ones(1)))
    shell = share_children(model)
    assert [name for name, _ in shell.named_modules()] == ["", "0", "1"]
    setattr(shell, "0", nn.Identity())
    assert isinstance(model[0], nn.Identity)
    shell.scale = nn.Parameter(torch.zeros(1))
    assert model.scale is shell.scale


def test_a_replaced_forward_is_called_and_undone() -> None:
    layer, x = nn.Linear(2, 2), torch.ones(1, 2)
    stock = layer(x)
    undo = replace_forward(layer, lambda x: x + 1)
    assert torch.equal(layer(x), x + 1)
    assert is_patched(layer)
    inner = replace_forward(layer, lambda x: x + 2)
    assert torch.equal(layer(x), x + 2)
    inner()
    assert torch.equal(layer(x), x + 1)
    undo()
    assert torch.equal(layer(x), stock)
    assert not is_patched(layer)


def test_handles_of_hooks_remove_them_also_from_a_copy_of_the_model() -> None:
    """`masking.attention` keeps handles in the state of a plan, which is copied with the model."""
    calls: list[str] = []
    model = nn.Linear(2, 2)
    model.handles = [  # type: ignore[assignment]
        model.register_forward_hook(lambda *_: calls.append("after")),
        model.register_forward_pre_hook(lambda *_, **__: calls.append("before"), with_kwargs=True),
        model.register_state_dict_pre_hook(lambda *_: calls.append("state")),
    ]
    other = copy.deepcopy(model)
    for handle in other.handles:
        handle.remove()
    other(torch.ones(1, 2))
    other.state_dict()
    assert calls == []
    model(torch.ones(1, 2))
    model.state_dict()
    assert calls == ["before", "after", "state"]
