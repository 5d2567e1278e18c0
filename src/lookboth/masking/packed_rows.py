"""Finds packed texts by position ids that restart, whether or not transformers would look for them.

transformers looks only when there is neither an attention mask nor a cache, and not for every family;
elsewhere the texts of a packed row would silently see each other.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers.utils.import_utils import is_tracing

from lookboth.errors import PlanError

_FORWARD = threading.local()  # one forward pass a thread: replicas of DataParallel share their modules


def current_segments() -> Tensor | None:
    """Return the segments of the forward pass that runs in this thread, shape (B, T), or None."""
    return getattr(_FORWARD, "segments", None)


def set_current_segments(segments: Tensor | None) -> None:
    """Set the segments for the forward pass that starts, or clear them when it ends."""
    _FORWARD.segments = segments


def current_prompt() -> Tensor | None:
    """Return which tokens of the forward pass that runs in this thread may look right, (B, T), or None for all."""
    return getattr(_FORWARD, "prompt", None)


@contextmanager
def only_prompt_looks_right(prompt: Tensor | None) -> Iterator[None]:
    """Let, for the forward passes inside, only the tokens of a prompt look right, and only at each other.

    Args:
        prompt: shape (B, T), True where a token belongs to the prompt; None lifts nothing.
    """
    before = current_prompt()
    _FORWARD.prompt = prompt
    try:
        yield
    finally:
        _FORWARD.prompt = before


def find_segments(position_ids: Any, attention_mask: Any) -> Tensor | None:
    """Return the number of the text each token belongs to, or None when no row holds two texts.

    Args:
        position_ids: shape (B, T) or (1, T); None, or another rank, means that nothing is packed.
        attention_mask: padding mask, shape (B, T), 1 = token; None when nothing is padded.

    >>> find_segments(torch.tensor([[0, 1, 2, 0, 1]]), None)
    tensor([[0, 0, 0, 1, 1]])
    >>> find_segments(torch.tensor([[1, 1, 0, 1, 2]]), torch.tensor([[0, 0, 1, 1, 1]])) is None
    True
    """
    if not isinstance(position_ids, Tensor) or position_ids.ndim != 2 or position_ids.shape[1] < 2:
        return None
    if attention_mask is None:
        borders = position_ids.diff(dim=-1) != 1
    elif not _is_padding_mask(attention_mask, position_ids.shape[1]):
        return None
    else:
        borders = _restarts(position_ids, attention_mask.bool().to(position_ids.device))
    if not is_tracing(borders) and not bool(borders.any()):
        return None
    return torch.nn.functional.pad(borders.cumsum(-1), (1, 0))


def stock_segments(arguments: dict[str, Any]) -> Tensor:
    """Return segment numbers, shape (B, T), read off a stock index function: a border where i+1 sees no i.

    Args:
        arguments: what transformers gives a mask function.

    Raises:
        PlanError: a sliding window of one token, where no token sees its neighbour.
    """
    if arguments.get("local_size") == 1:
        raise PlanError(
            "This model has a sliding window of 1 token: no token sees its neighbour, so it has no right "
            "side to open. Use the plan 'causal' or a model with a wider window."
        )
    size, length, device = (arguments[name] for name in ("batch_size", "q_length", "device"))
    batch = torch.arange(size, device=device)[:, None]
    left = torch.arange(length - 1, device=device)[None, :]
    joined = arguments["mask_function"](batch, torch.zeros_like(batch), left + 1, left).expand(
        size, length - 1
    )
    return torch.nn.functional.pad((~joined).cumsum(-1), (1, 0))


def _is_padding_mask(mask: Any, length: int) -> bool:
    return isinstance(mask, Tensor) and mask.ndim == 2 and mask.shape[1] == length


def _restarts(positions: Tensor, attended: Tensor) -> Tensor:
    """Return where an attended token's position does not exceed that of the attended token before it."""
    positions = positions.expand(attended.shape[0], -1)
    places = torch.arange(attended.shape[1], device=attended.device).expand_as(attended)
    last = places.masked_fill(~attended, -1).cummax(-1).values[:, :-1]
    before = positions.gather(-1, last.clamp(min=0))
    return attended[:, 1:] & (last >= 0) & (positions[:, 1:] <= before)
