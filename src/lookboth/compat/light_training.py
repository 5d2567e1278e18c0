"""A short start of `lookboth train`: the trainer of transformers and PEFT without datasets and torch's compiler.

Seen to work with transformers 5.23, accelerate 1.15, PEFT 0.21, bitsandbytes 0.50 and torch 2.13.
"""

import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from lookboth.compat.light_start import import_light, is_own_process

_COMPILER = "torch._dynamo"
_TENSORS = "torch.distributed.tensor"
# Tests of accelerate and transformers: module, name, and the library without which the answer is no.
_TESTS = (
    ("accelerate.accelerator", "is_compiled_module", _COMPILER),
    ("accelerate.utils.other", "is_compiled_module", _COMPILER),
    ("accelerate.utils.other", "has_compiled_regions", _COMPILER),
    ("accelerate.utils.other", "is_torch_distributed_available", "torch.distributed.fsdp"),
    ("accelerate.accelerator", "model_has_dtensor", _TENSORS),
    ("transformers.trainer", "has_mixed_dtensor", _TENSORS),
    ("peft.tuners.tuners_utils", "_torch_supports_distributed", _TENSORS),
)
_TRAINER = "transformers.trainer"
# Imported by the trainer to recognize the data sets of this library; lookboth passes it its own.
_DATA_SETS = "datasets"


def import_training() -> None:
    """Import the trainer of transformers, and PEFT: in 2 seconds less in a process of one command, else as usual.

    bitsandbytes, which PEFT imports to recognize layers of 4 bits, compiles functions with torch's code generator when
    it is imported; here it does so at their first call.

    Relies on the same as `import_modeling`, and on the trainer using data sets only in `isinstance`.
    """
    if not is_own_process():
        return
    import_light((_TRAINER,), (_DATA_SETS,))
    with _late_compilation():
        import_module("peft")
    for place, name, library in _TESTS:
        _test_once_imported(vars(import_module(place)), name, library)


def _test_once_imported(module: dict[str, Any], name: str, library: str) -> None:
    """Let a test for objects of a library, such as compiled modules, look for them only after the library is imported.

    Relies on the test being looked up by name in this module: a function, or a truth value.
    """
    test = module.get(name)
    if callable(test):
        module[name] = functools.wraps(test)(lambda *of: library in sys.modules and test(*of))
    elif test:
        module[name] = _Imported(library)


class _Imported:
    """Is true once a library is imported."""

    def __init__(self, library: str) -> None:
        self.library = library

    def __bool__(self) -> bool:
        return self.library in sys.modules


@contextmanager
def _late_compilation() -> Iterator[None]:
    """Let `torch.compile` return functions that are compiled at their first call inside the context."""
    import torch

    real = torch.compile

    def compile_late(function: Any = None, **options: Any) -> Any:
        if function is None:
            return functools.partial(compile_late, **options)
        compiled = functools.cache(lambda: real(function, **options))
        return functools.wraps(function)(lambda *arguments, **named: compiled()(*arguments, **named))

    torch.compile = compile_late  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.compile = real
