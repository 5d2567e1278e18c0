"""Memory that oneDNN and glibc keep for batches of many shapes. Seen to work with torch 2.13 and glibc 2.36."""

import ctypes
import os
from contextlib import suppress

# Variables and entries to keep; the default of both is 1024, and those of one batch shape take a megabyte. Two batches
# of bulk labeling rarely have the same shape, and the layers of a model need the same few entries.
_CACHES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64", "LRU_CACHE_CAPACITY": "1"}


def keep_few_products() -> None:
    """Let oneDNN keep few of the products that it has prepared, so that batches of any shapes take constant memory.

    Call it before the first product. Values that the user has set are kept. Relies on the environment variables of
    oneDNN and of torch's layer above it (ideep), which are read at the first product.
    """
    for name, entries in _CACHES.items():
        os.environ.setdefault(name, entries)


def return_free_memory() -> None:
    """Return memory that is free to the system, which glibc otherwise keeps in pieces between those in use.

    Relies on `malloc_trim` of glibc; without it, nothing happens.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
