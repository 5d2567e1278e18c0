"""Internals of torch. Seen to work with torch 2.13."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._device import _device_constructors

# The function of a rotary embedding's class, in the modeling files of most families.
_FREQUENCIES = "compute_default_rope_parameters"


def has_native_bf16() -> bool:
    """Whether this CPU has instructions for bf16 (AVX-512 BF16).

    Relies on `torch.cpu._is_avx512_bf16_supported`; the public `torch.cpu.get_capabilities` is newer than the oldest
    torch that lookboth supports. Where the function is missing, fp32 is used, which is slower and never wrong.
    """
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


def has_onednn_product() -> bool:
    """Whether `onednn_product` can be called in this build of torch."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def onednn_product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return xWᵀ + b computed by oneDNN, without gradient.

    Relies on the operator `mkldnn::_linear_pointwise`, which torch.compile puts in place of linear layers.

    Args:
        x: fp32 or bf16 on the CPU, shape (..., in).
        weight: dtype of `x`, shape (out, in), any strides, or packed by `pack_weight`.
        bias: dtype of `x`, shape (out,).
    """
    product: Tensor = torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, "none", [], "")
    return product


def pack_weight(weight: Tensor) -> Tensor:
    """Return the weight of a linear layer in the layout in which oneDNN computes on this processor.

    Relies on the operator `mkldnn::_reorder_linear_weight`, with which torch.compile prepares the weights of
    `onednn_product`. Only `onednn_product` takes the result.

    Args:
        weight: fp32 or bf16 on the CPU, shape (out, in).
    """
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight)
    return packed


def weight_states(layers: Sequence[nn.Module]) -> list[tuple[int, int, int]]:
    """Return for each weight and bias which tensor it is, where its values are, and how often they were changed.

    Relies on the counter `Tensor._version` of autograd, which changes through `Tensor.data` do not count, and on the
    dictionary `_parameters`, which is faster than attributes.

    Args:
        layers: layers whose own parameters were not made in inference mode.
    """
    return [
        (id(weight), weight.data_ptr(), weight._version)
        for layer in layers
        for weight in layer._parameters.values()
        if weight is not None
    ]


def share_children(module: nn.Module) -> nn.Module:
    """Return a plain module with the same children and parameters: what is replaced in one is replaced in the other.

    Relies on the dictionaries `_modules` and `_parameters`, which torch reads at every access.
    """
    shell = nn.Module()
    shell._modules, shell._parameters = module._modules, module._parameters
    return shell


def replace_forward(module: nn.Module, forward: Callable[..., Any]) -> Callable[[], None]:
    """Let one module run `forward` instead of its own; return the function that undoes it.

    Relies on `__call__` looking `forward` up on the instance. Another library (accelerate) may have replaced it in the
    same way; that replacement is put back.
    """
    before = module.__dict__.get("forward")
    module.__dict__["forward"] = forward

    def undo() -> None:
        del module.__dict__["forward"]
        if before is not None:
            module.__dict__["forward"] = before

    return undo


@contextmanager
def with_forwards(forwards: Sequence[tuple[nn.Module, Callable[..., Any]]]) -> Iterator[None]:
    """Let several modules run other functions in place of their `forward` inside the context.

    Relies on the same as `replace_forward`, in less time for many modules.
    """
    before = [module.__dict__.get("forward") for module, _ in forwards]
    for module, forward in forwards:
        module.__dict__["forward"] = forward
    try:
        yield
    finally:
        for (module, _), own in zip(forwards, before, strict=True):
            if own is None:
                del module.__dict__["forward"]
            else:
                module.__dict__["forward"] = own


def is_patched(module: nn.Module) -> bool:
    """Whether some library has replaced the `forward` of this one module (see `replace_forward`)."""
    return "forward" in module.__dict__


def is_hooked(module: nn.Module) -> bool:
    """Whether a module has a hook, or, other than a linear layer, a function in place of its `forward`.

    Linear layers have one in the fast form itself. Relies on the dictionaries in which modules keep their hooks.
    """
    hooks = module._forward_hooks or module._forward_pre_hooks
    return bool(hooks) or (is_patched(module) and not isinstance(module, nn.Linear))


@contextmanager
def without_meta_values() -> Iterator[None]:
    """Compute no values for tensors without memory (on the device "meta") inside the context.

    Random weights and rotary frequencies on "meta" are computed by Python code, for which torch imports its compiler
    and sympy: a second before a model can be loaded. Weights stay without values; the frequencies, which depend on
    nothing but numbers, are computed on the CPU. Relies on `Tensor.normal_`, by which embeddings and models draw their
    weights, on the name of the function in modeling files that computes the frequencies, and on
    `torch.utils._device._device_constructors`, which is the list of functions that obey `with torch.device(...)`.
    """
    # Made at its first use and kept: made inside the context it would never again contain the real torch.arange.
    _device_constructors()
    draw, count = Tensor.normal_, torch.arange

    def normal(tensor: Tensor, *arguments: Any, **options: Any) -> Tensor:
        return tensor if tensor.is_meta else draw(tensor, *arguments, **options)

    def arange(*bounds: Any, **options: Any) -> Tensor:
        if sys._getframe(1).f_code.co_name == _FREQUENCIES:
            options["device"] = options.get("device") or "cpu"
        return count(*bounds, **options)

    tensors: Any = Tensor
    tensors.normal_, torch.arange = normal, arange
    try:
        yield
    finally:
        # Tensors inherit this method.
        del tensors.normal_
        torch.arange = count
