"""Bounds on memory that would otherwise grow with each new batch shape."""

import ctypes
import os
import sys
import time
from contextlib import suppress

# Seconds between two calls of malloc_trim, which takes up to 35 ms.
_SECONDS = 10.0
# oneDNN and torch's layer over it each cache compiled matrix products for 1,024 shapes, and batches have any shape.
_CACHES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64", "LRU_CACHE_CAPACITY": "64"}


def bound_caches() -> None:
    """Limit the caches of compiled matrix products to 64 shapes, unless the environment sets other limits.

    Call it before a model runs: the libraries read their limits once.
    """
    for name, bound in _CACHES.items():
        os.environ.setdefault(name, bound)


class FreeMemory:
    """Returns freed memory to the operating system at intervals; glibc otherwise keeps it."""

    def __init__(self) -> None:
        self._due = time.monotonic() + _SECONDS

    def give_back(self) -> None:
        """Return free memory to the system if `_SECONDS` have passed; do nothing without glibc."""
        if time.monotonic() < self._due or not sys.platform.startswith("linux"):
            return
        with suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        self._due = time.monotonic() + _SECONDS
