"""The arithmetic of a forward pass: bf16 where it is native, without casts that change nothing."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

_LORA_FLAG = "cast_input_dtype_enabled"  # PEFT's; `peft.helpers.disable_input_dtype_casting` sets it as well


@contextmanager
def compute_in(dtype: torch.dtype, backbone: nn.Module) -> Iterator[None]:
    """Run what is inside in `dtype`: bf16 by autocast, or fp32 as it stands.

    Under autocast PEFT would turn the input of every LoRA pair to the fp32 of its weights, and autocast back to
    bf16: a tenth of the time of a training step on a CPU.

    Args:
        dtype: torch.bfloat16 or torch.float32.
        backbone: the model that is about to run.
    """
    if dtype != torch.bfloat16:
        yield
        return
    pairs = [module for module in backbone.modules() if getattr(module, _LORA_FLAG, False)]
    for module in pairs:
        setattr(module, _LORA_FLAG, False)
    try:
        with torch.autocast(next(backbone.parameters()).device.type, dtype=torch.bfloat16):
            yield
    finally:
        for module in pairs:
            setattr(module, _LORA_FLAG, True)
