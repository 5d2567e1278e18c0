"""Memory that would otherwise grow with every new shape of a batch, kept small."""

import ctypes
import os
import sys
import time
from contextlib import suppress

_SECONDS = 10.0  # between two returns of free memory; one takes up to 35 ms
# oneDNN and torch's layer over it each keep a compiled product for 1,024 shapes, and batches have any shape.
_CACHES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64", "LRU_CACHE_CAPACITY": "64"}


def bound_caches() -> None:
    """Bound the caches of libraries to 64 shapes, unless the environment says otherwise.

    To be called before a model is run: they read their bounds once.
    """
    for name, bound in _CACHES.items():
        os.environ.setdefault(name, bound)


class FreeMemory:
    """Returns freed memory to the system now and then; glibc keeps blocks of activations, of any size, for itself."""

    def __init__(self) -> None:
        self._due = time.monotonic() + _SECONDS

    def give_back(self) -> None:
        """Return free memory if the last time was some seconds ago; does nothing where the C library is not glibc."""
        if time.monotonic() < self._due or not sys.platform.startswith("linux"):
            return
        with suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        self._due = time.monotonic() + _SECONDS
