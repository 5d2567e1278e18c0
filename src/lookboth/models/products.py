"""Linear layers in fp32 with oneDNN, on CPUs where torch's default library does not use AVX-512.

torch computes matrix products with MKL, which uses its AVX-512 kernels on Intel processors only. oneDNN, which torch
also contains, uses AVX-512 on every processor that has it, and is then about twice as fast.
"""

import platform
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lookboth.compat import has_onednn_product, onednn_product


def use_faster_products(backbone: nn.Module) -> None:
    """Make the linear layers of a model compute in fp32 with oneDNN where it is the faster library; in place.

    Weights, names and saved files do not change; results differ only in the order of additions. Other dtypes and
    devices, and traced, compiled or autocast code, use torch's own implementation.

    Args:
        backbone: a model; layers whose type is exactly `torch.nn.Linear` are changed.
    """
    if onednn_is_faster():
        for module in backbone.modules():
            # Subclasses, such as quantized layers, have their own forward pass.
            if type(module) is nn.Linear:
                module.__class__ = OneDnnLinear


def use_stock_products(backbone: nn.Module) -> None:
    """Undo `use_faster_products`, for comparisons."""
    for module in backbone.modules():
        if type(module) is OneDnnLinear:
            module.__class__ = nn.Linear  # type: ignore[assignment]


@cache
def onednn_is_faster() -> bool:
    """Whether this processor has AVX-512 and is not from Intel, and torch was built with both libraries."""
    return (
        torch.backends.mkl.is_available()
        and has_onednn_product()
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and "GenuineIntel" not in _processor()
    )


class OneDnnLinear(nn.Linear):
    """A linear layer that computes fp32 products on a CPU with oneDNN, forward and backward."""

    def forward(self, x: Tensor) -> Tensor:
        """Return xWᵀ + b, shape (..., out)."""
        if not self._fits(x):
            return super().forward(x)
        # Flatten outside the function: autograd forbids in-place changes of a view that a custom function returned.
        rows = x.flatten(0, -2)
        needs_grad = torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad)
        multiply = _Product.apply if needs_grad else onednn_product
        product: Tensor = multiply(rows, self.weight, self.bias)
        return product if x.dim() == 2 else product.unflatten(0, x.shape[:-1])

    def _fits(self, x: Tensor) -> bool:
        return (
            x.dtype == self.weight.dtype == torch.float32
            and x.device.type == self.weight.device.type == "cpu"
            and x.dim() > 1
            and x.numel() > 0
            and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_compiling()
            and not torch.jit.is_tracing()  # type: ignore[attr-defined]
        )


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        # The input is needed for the gradient of the weight only; frozen weights do not keep it.
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight)
        return onednn_product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            onednn_product(grad, weight.t()) if of_x else None,
            onednn_product(grad.t(), x.t()) if of_weight else None,
            grad.sum(0) if of_bias else None,
        )


def _processor() -> str:
    """Return the system's description of its processor, including the vendor name."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
