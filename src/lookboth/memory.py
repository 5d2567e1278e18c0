"""What to do when memory runs out, of a GPU or of the machine, as one message."""

import sys

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
