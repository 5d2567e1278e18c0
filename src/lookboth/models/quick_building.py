"""Models built on the device "meta", where tensors have shapes but no values: to count weights, or to load them."""

import copy
from collections.abc import Callable
from contextlib import suppress
from typing import Any


def build_empty(config: Any, **options: Any) -> Any:
    """Build the model of a transformers configuration without memory for its weights.

    Args:
        config: is not changed.
        **options: of `AutoModel.from_config`.
    """
    import torch
    from transformers import AutoModel

    def build() -> Any:
        # from_config may change its argument, so it gets a copy.
        with torch.device("meta"):
            return AutoModel.from_config(copy.deepcopy(config), **options)

    return build_quickly(build)


def build_quickly(build: Callable[[], Any]) -> Any:
    """Return a model, in a process of one command built without computing values on "meta".

    Args:
        build: loads a model, or builds it on "meta"; called again if that does not work without values.
    """
    from lookboth.compat import is_own_process, without_meta_values

    if is_own_process():
        # Some families cannot be built in this way, for example Gemma 4.
        with suppress(Exception), without_meta_values():
            return build()
    return build()
