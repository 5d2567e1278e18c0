"""Runs code on the meta device as on a GPU: values are unknown, so reading one is an error, as is a tensor on the CPU.

On a GPU each of these reads waits until all queued work is done. A meta tensor has no values, so `item`, `tolist`,
`nonzero`, a boolean index and a copy to the CPU fail on it, and so does an operation that mixes the two devices.

Not rehearsed, because they read values by design: transformers' Trainer, which logs the loss every 25 steps; the checks
for diverged weights before each dev score; cached states of frozen layers, which are kept on the CPU; autocast, which
has no meta device; and constrained decoding, which decides on the host.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

# (module, function): the reason why it may read a value, and the value it gets.
ALLOWED: dict[tuple[str, str], tuple[str, Any]] = {
    ("transformers.masking_utils", "find_packed_sequence_indices"): (
        "transformers looks once per pass for texts in rows without a padding mask; it finds them here",
        False,
    ),
    ("lookboth.labelers.labeler", "score"): (
        "the scores of a batch leave the device, once per batch",
        None,
    ),
}


class Synchronized(AssertionError):
    """A value was read from the device where this is not allowed."""


@contextmanager
def no_synchronization(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    """Raise `Synchronized` if a meta tensor is read inside the context; yields the allowed reads that happened."""
    reads: list[tuple[str, str]] = []

    def guarded(name: str, original: Any) -> Any:
        def read(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if tensor.device.type != "meta":
                return original(tensor, *args, **kwargs)
            caller = sys._getframe(1)
            place = caller.f_globals["__name__"], caller.f_code.co_name
            if place not in ALLOWED:
                file = f"{Path(caller.f_code.co_filename).name}:{caller.f_lineno}"
                raise Synchronized(f"{name} in {'.'.join(place)} ({file})")
            reads.append(place)
            return torch.zeros(tensor.shape) if name == "cpu" else ALLOWED[place][1]

        return read

    with monkeypatch.context() as patch:
        for name in ("__bool__", "__int__", "__float__", "item", "tolist", "cpu"):
            patch.setattr(torch.Tensor, name, guarded(name, getattr(torch.Tensor, name)))
        yield reads
