"""What to do when memory runs out, of a GPU or of the machine, as one message."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lookboth.errors import first_line

_ADVICE = (
    "In training, halve training.batch_tokens and double training.accumulation (the step stays as large), or set "
    "training.gradient_checkpointing = true. In labeling, compute fewer tokens at once "
    "(bulk: --batch-tokens 512; serve: --set batch_tokens=512; in Python: batch_tokens=512)"
)


def out_of_memory(error: Exception) -> str | None:
    """Return what to say of an error that means that memory ran out; None for any other."""
    torch = sys.modules.get("torch")  # who never imported it had no error of it
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        found = first_line(error).partition(" GPU ")[0]  # behind it stands what PyTorch's allocator holds
        return f"{found} {_ADVICE}, or type --device cpu."
    if isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error):
        return f"this machine is out of memory ({first_line(error)[:200]}). {_ADVICE}."
    return None


@contextmanager
def without_collection() -> Iterator[None]:
    """Make no pauses to look for garbage inside this block or function, which makes many objects that all live on.

    Python looks at all objects there are whenever their number has grown by so much; while hundreds of thousands of
    words are read, half of the time goes into that and nothing is ever found.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
