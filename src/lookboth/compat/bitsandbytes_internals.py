"""Internals of bitsandbytes. Seen to work with bitsandbytes 0.50."""

from torch import nn

_REPACKS = "support_avx512bf16_for_cpu"


def keep_quantized_layout(model: nn.Module) -> None:
    """Keep bitsandbytes from repacking 4-bit weights on a CPU at the first evaluation.

    Repacking rounds their scales to bf16, so that training would resume from other weights, and fails for layers whose
    width is not a multiple of 64. Relies on the attribute `support_avx512bf16_for_cpu` of its layers.
    """
    for module in model.modules():
        if hasattr(module, _REPACKS):
            setattr(module, _REPACKS, False)
