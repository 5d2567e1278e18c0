"""Products in fp32 by oneDNN: the same numbers as torch's own, forward and backward, and only where they are meant."""

import pytest
import torch
from torch import nn

from lookboth.models import products
from lookboth.models.loading import load_backbone
from lookboth.models.products import OneDnnLinear, onednn_is_faster, use_faster_products, use_stock_products

needs_onednn = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="this torch has no oneDNN"
)


@pytest.fixture
def everywhere(monkeypatch):
    monkeypatch.setattr(products, "onednn_is_faster", lambda: True)


@needs_onednn
@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 7)])
def test_products_and_gradients_are_those_of_torch(shape, bias, trained, everywhere):
    torch.manual_seed(0)
    layer = nn.Linear(48, 80, bias=bias).requires_grad_(trained)
    x = torch.randn(*shape, 48, requires_grad=True)
    pull = torch.randn(*shape, 80)

    def results():
        layer.zero_grad()
        x.grad = None
        out = layer(x)
        (out * pull).sum().backward()
        return [out.detach(), x.grad, *(one.grad for one in layer.parameters() if trained)]

    stock = results()
    use_faster_products(nn.Sequential(layer))
    assert type(layer) is OneDnnLinear
    for ours, theirs in zip(results(), stock, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), stock[0], rtol=1e-5, atol=1e-5)


@needs_onednn
@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4)])
def test_a_product_may_be_changed_in_place(shape, everywhere):
    torch.manual_seed(0)
    layer = nn.Linear(4, 5)
    x = torch.randn(*shape)

    def gradient():
        layer.zero_grad()
        layer(x).mul_(3).add_(1).square().sum().backward()
        return layer.weight.grad.clone()

    stock = gradient()
    use_faster_products(nn.Sequential(layer))
    torch.testing.assert_close(gradient(), stock, rtol=1e-5, atol=1e-5)


@needs_onednn
def test_a_frozen_layer_keeps_no_input_for_the_way_back(everywhere):
    layer = OneDnnLinear(16, 16).requires_grad_(False)
    x = torch.randn(4, 16, requires_grad=True)
    kept = layer(x).grad_fn.saved_tensors
    assert [one is None for one in kept] == [True, False]


@needs_onednn
def test_what_is_not_fp32_rows_on_a_cpu_goes_the_stock_way(everywhere, monkeypatch):
    layer = OneDnnLinear(16, 16)

    def never(*_):
        raise AssertionError

    monkeypatch.setattr(products, "onednn_product", never)
    assert layer(torch.randn(16)).shape == (16,)
    assert layer(torch.empty(0, 16)).shape == (0, 16)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(2, 16)).dtype == torch.bfloat16
    assert layer.bfloat16()(torch.randn(2, 16, dtype=torch.bfloat16)).dtype == torch.bfloat16


@needs_onednn
def test_a_whole_model_says_the_same_and_is_saved_the_same(tiny_llama_folder, everywhere):
    model = load_backbone(str(tiny_llama_folder), precision="fp32")
    swapped = [module for module in model.modules() if type(module) is OneDnnLinear]
    assert swapped
    ids = torch.arange(3, 15)[None]
    ours, names = model(ids).last_hidden_state, list(model.state_dict())
    use_stock_products(model)
    assert not any(type(module) is OneDnnLinear for module in model.modules())
    assert list(model.state_dict()) == names
    torch.testing.assert_close(model(ids).last_hidden_state, ours, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("processor", "capability", "faster"),
    [
        ("vendor_id : AuthenticAMD", "AVX512", True),
        ("vendor_id : AuthenticAMD", "AVX2", False),
        ("vendor_id : GenuineIntel", "AVX512", False),
    ],
)
@needs_onednn
def test_only_where_mkl_leaves_instructions_unused(processor, capability, faster, monkeypatch):
    if not torch.backends.mkl.is_available():
        pytest.skip("this torch has no MKL")
    monkeypatch.setattr(products, "_processor", lambda: processor)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    onednn_is_faster.cache_clear()
    try:
        assert onednn_is_faster() is faster
        layer = nn.Sequential(nn.Linear(4, 4))
        use_faster_products(layer)
        assert (type(layer[0]) is OneDnnLinear) is faster
    finally:
        monkeypatch.undo()
        onednn_is_faster.cache_clear()
