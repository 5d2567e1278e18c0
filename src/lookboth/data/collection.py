"""Reading without a garbage collector that looks at every word again and again."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


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
