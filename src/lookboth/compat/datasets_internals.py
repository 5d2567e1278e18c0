"""Internals of Hugging Face datasets. Seen to work with datasets 5.2."""

import sys
from typing import Any, Literal


def is_lazy(batch: Any, kind: Literal["LazyRow", "LazyBatch"]) -> bool:
    """Whether `Dataset.map` gave its function a single row (LazyRow) or a batch of rows (LazyBatch).

    Relies on two classes of `datasets.formatting.formatting`. A plain dictionary is neither; datasets is not imported.
    """
    formatting = sys.modules.get("datasets.formatting.formatting")
    return formatting is not None and isinstance(batch, getattr(formatting, kind))
