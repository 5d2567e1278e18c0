"""Contracts with torch."""

import copy
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from masking.families import tiny_model
from torch import nn
from transformers import AutoModel

from lookboth.compat import (
    has_native_bf16,
    has_onednn_product,
    is_hooked,
    is_patched,
    onednn_product,
    pack_weight,
    replace_forward,
    weight_states,
    with_forwards,
    without_meta_values,
)
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 48), (7, 48), (2, 300, 48)])
def test_the_product_of_packed_weights_is_that_of_a_linear_layer(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    if not has_onednn_product() or (dtype == torch.bfloat16 and not has_native_bf16()):
        pytest.skip("a torch without oneDNN, or a processor without bf16")
    x, weight = torch.randn(shape, dtype=dtype), torch.randn(80, 48, dtype=dtype)
    bias = torch.randn(80, dtype=dtype)
    with torch.inference_mode():
        for added in (None, bias):
            product = onednn_product(x, pack_weight(weight), added)
            torch.testing.assert_close(product, nn.functional.linear(x, weight, added), rtol=1e-2, atol=1e-4)


def test_the_state_of_a_weight_changes_with_the_weight() -> None:
    layer = nn.Linear(2, 2)
    states = [weight_states([layer])]
    with torch.no_grad():
        layer.weight.add_(1)
    states.append(weight_states([layer]))
    layer.bias.data = layer.bias.data + 1
    states.append(weight_states([layer]))
    layer.weight = nn.Parameter(layer.weight.detach())
    states.append(weight_states([layer]))
    assert all(one != other for index, one in enumerate(states) for other in states[:index])
    assert weight_states([layer]) == states[-1]


def test_several_replaced_forwards_are_called_and_undone() -> None:
    layers, x = [nn.Linear(2, 2), nn.Linear(2, 2)], torch.ones(1, 2)
    stock = layers[0](x)
    undo = replace_forward(layers[1], lambda x: x + 1)
    with suppress(KeyError), with_forwards([(layer, lambda x: x + 2) for layer in layers]):
        assert all(torch.equal(layer(x), x + 2) for layer in layers)
        raise KeyError
    assert torch.equal(layers[0](x), stock)
    assert torch.equal(layers[1](x), x + 1)
    undo()
    assert not any(map(is_patched, layers))


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


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt_neox", "gpt2"])
def test_a_model_loaded_without_values_on_meta_is_the_same(family: str, tmp_path: Path) -> None:
    tiny_model(family).save_pretrained(tmp_path)
    usual = AutoModel.from_pretrained(tmp_path)
    with without_meta_values():
        quick = AutoModel.from_pretrained(tmp_path)
        assert torch.nn.Embedding(3, 2).weight.abs().sum() > 0
    for tensors in ("named_parameters", "named_buffers"):
        mine, theirs = dict(getattr(quick, tensors)()), dict(getattr(usual, tensors)())
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in mine.items())


def test_hooks_and_functions_in_place_of_forward_are_seen() -> None:
    norm, linear = nn.LayerNorm(3), nn.Linear(3, 3)
    assert not is_hooked(norm)
    hook = norm.register_forward_hook(lambda *given: None)
    assert is_hooked(norm)
    hook.remove()
    hook = norm.register_forward_pre_hook(lambda *given: None)
    assert is_hooked(norm)
    hook.remove()
    for module in (norm, linear):
        replace_forward(module, lambda x: x)
    assert is_hooked(norm)
    assert not is_hooked(linear)


AFTERWARDS = """
import torch
from lookboth.compat import without_meta_values
with without_meta_values(), torch.device("meta"):
    torch.arange(2)
with torch.device("meta"):
    assert torch.arange(2).is_meta
"""


def test_ranges_on_meta_are_as_usual_afterwards() -> None:
    """In a process of its own: torch keeps its list of constructors. Gemma 4 could not be loaded any more."""
    done = subprocess.run([sys.executable, "-c", AFTERWARDS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
