"""Token budgets of a batch, messages for out-of-memory errors, and a context without garbage collection."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lookboth.errors import first_line

# Tokens per batch whose activations fit the cache of a CPU. In a server also the longest batch a request waits for.
SMALL_BATCH = 512
# Tokens per batch that keep a GPU busy. In bf16 also for a CPU: reading the weights, once per batch, takes the time.
LARGE_BATCH = 2048
# Tokens per batch of bulk labeling on a GPU, where throughput counts and no caller waits for a batch.
BULK_BATCH = 8192

_ADVICE = (
    "In training, halve training.batch_tokens and double training.accumulation (the optimizer step keeps its size), or "
    "set training.gradient_checkpointing = true. In labeling, use fewer tokens per batch "
    f"(bulk: --batch-tokens {SMALL_BATCH}; serve: --set batch_tokens={SMALL_BATCH}; in Python: "
    f"batch_tokens={SMALL_BATCH})"
)


def out_of_memory(error: Exception) -> str | None:
    """Return a message with advice for an out-of-memory error of a GPU or the machine; None for other errors."""
    # Without torch in sys.modules the error cannot be from torch, and importing it would take seconds.
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        # After " GPU " the message lists details of torch's allocator.
        found = first_line(error).partition(" GPU ")[0]
        return f"{found} {_ADVICE}, or type --device cpu."
    if isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error):
        return f"this machine is out of memory ({first_line(error)[:200]}). {_ADVICE}."
    return None


@contextmanager
def without_collection() -> Iterator[None]:
    """Disable the garbage collector inside this block or function, which creates many objects that stay alive.

    Python collects whenever the number of objects has grown by a threshold. While hundreds of thousands of words are
    read, collecting takes half of the time and frees nothing.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
