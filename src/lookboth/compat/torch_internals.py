"""Internals of torch. Seen to work with torch 2.13."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


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
        x: fp32 on the CPU, shape (rows, in).
        weight: fp32, shape (out, in), any strides.
        bias: fp32, shape (out,).
    """
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product


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


def is_patched(module: nn.Module) -> bool:
    """Whether some library has replaced the `forward` of this one module (see `replace_forward`)."""
    return "forward" in module.__dict__
