"""The arithmetic of a forward pass: half precision by autocast, without redundant casts.

Importing this module limits forked processes to one thread. OpenMP's other threads exist in the parent only, so a
child would wait for them forever; torch's own data loader does the same (`torch.utils.data._utils.worker`).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from lookboth.compat import cast_lora_inputs

if hasattr(os, "register_at_fork"):  # not on Windows, which never forks
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


@dataclass(frozen=True, slots=True)
class _OutsideAutocast:
    """A flag that is true while autocast is off.

    Gradient checkpointing runs layers again in the backward pass, after `compute_in` has ended, and restores autocast.
    A flag that followed `compute_in` would cause other casts in the second run than in the first.

    Args:
        device_type: device type of the autocast.
    """

    device_type: str

    def __bool__(self) -> bool:
        return not torch.is_autocast_enabled(self.device_type)


@contextmanager
def compute_in(dtype: torch.dtype, backbone: nn.Module) -> Iterator[None]:
    """Compute in `dtype` inside the context: bf16 and fp16 by autocast, fp32 without.

    Under autocast PEFT would cast the input of every LoRA pair to the fp32 of its weights, and autocast would cast it
    back to half precision. This takes a tenth of a training step on a CPU, so the cast of LoRA pairs is disabled
    while autocast is on.

    Args:
        dtype: torch.bfloat16, torch.float16 or torch.float32.
        backbone: the model that is about to run.
    """
    if dtype == torch.float32:
        yield
        return
    # The flag is never reset: checkpointed layers run again after this context has ended.
    device_type = next(backbone.parameters()).device.type
    cast_lora_inputs(backbone, _OutsideAutocast(device_type))
    with torch.autocast(device_type, dtype=dtype):
        yield
