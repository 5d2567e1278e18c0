"""Memory that oneDNN and glibc keep for batches of many shapes. Seen to work with torch 2.13 and glibc 2.36."""

import ctypes
import os
from contextlib import suppress
from typing import Literal

_VARIABLES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
# Numbers of prepared products kept in oneDNN and in torch's layer above it (ideep). The default of both is 1024, and
# those of one batch shape take a megabyte and more. Two batches rarely have the same shape, and the layers of a model
# need the same few entries; single texts of one length come again, and a training step has some 60 different products,
# forward and backward.
_KEPT = {"bulk": (64, 1), "serving": (64, 64), "training": (128, 128)}


def keep_few_products(work: Literal["bulk", "serving", "training"]) -> None:
    """Let oneDNN keep few of the products that it has prepared, so that batches of any shapes take constant memory.

    Call it before the first product, in a process of its own: processes that it starts inherit the setting. Values that
    the user has set are kept. Relies on environment variables that are read at the first product.

    Args:
        work: the work of this process.
    """
    for name, entries in zip(_VARIABLES, _KEPT[work], strict=True):
        os.environ.setdefault(name, str(entries))


def return_free_memory() -> None:
    """Return memory that is free to the system, which glibc otherwise keeps in pieces between those in use.

    Relies on `malloc_trim` of glibc; without it, nothing happens.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
