"""Finds packed texts by position ids that restart, whether or not transformers would look for them.

transformers looks only when there is neither an attention mask nor a cache, and not for every family;
elsewhere the texts of a packed row would silently see each other. Where positions do not tell, a plan is refused.
"""

import threading
from collections.abc import Iterator, Mapping
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


def find_segments(position_ids: Any, attention_mask: Any, length: int | None = None) -> Tensor | None:
    """Return the number of the text each token belongs to, or None when no row holds two texts.

    Args:
        position_ids: shape (B, T), (1, T) or (T,); shape (4, B, T) or (3, B, T) in models with one row per axis of
            an image (Qwen2-VL), with or without a first row that counts tokens; None: the tokens are counted.
        attention_mask: padding mask, shape (B, T) or (B, past + T), 1 = token; None when nothing is padded; what
            holds such a mask as `arguments["attention_mask"]` where the masks are made already.
        length: T, where it is known.

    Raises:
        PlanError: these position ids do not tell where a text begins.

    >>> find_segments(torch.tensor([[0, 1, 2, 0, 1]]), None)
    tensor([[0, 0, 0, 1, 1]])
    >>> find_segments(torch.tensor([[1, 1, 0, 1, 2]]), torch.tensor([[0, 0, 1, 1, 1]])) is None
    True
    >>> find_segments(torch.tensor([[0, 1, 0, 1]]).expand(3, 1, 4), None)
    tensor([[0, 0, 1, 1]])
    """
    if position_ids is None:
        return None
    axes = _axes(position_ids, length)
    if axes.shape[-1] < 2:
        return None
    attended = _attended(attention_mask, axes.shape[-1])
    if attended is None and axes.shape[0] == 1:
        borders = axes[0].diff(dim=-1) != 1
    else:
        attended = torch.ones_like(axes[0], dtype=torch.bool) if attended is None else attended
        borders = _restarts(axes, attended.to(axes.device))
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


def _axes(position_ids: Any, length: int | None) -> Tensor:
    """Return positions with their axes first, (1, B, T), or (3, B, T) where a row may hold images."""
    shape = tuple(getattr(position_ids, "shape", ()))
    if isinstance(position_ids, Tensor) and length in (None, *shape[-1:]):
        if position_ids.ndim in (1, 2):
            return position_ids.reshape(1, -1, shape[-1])
        if position_ids.ndim == 3 and shape[0] == 4:
            return position_ids[:1]
        if position_ids.ndim == 3 and shape[0] == 3:
            same = (position_ids == position_ids[:1]).all()
            return position_ids[:1] if not is_tracing(same) and bool(same) else position_ids
    found = f"shape {shape}" if shape else type(position_ids).__name__
    raise PlanError(
        f"position_ids of {found} do not tell where a text of a packed row begins. Under a mask plan they have the "
        "shape (batch, tokens), or (3, batch, tokens) or (4, batch, tokens) in models that count the axes of images. "
        "Pass those, or None where no row holds two texts."
    )


def _attended(attention_mask: Any, length: int) -> Tensor | None:
    """Return which of the last `length` tokens are attended, (B, T); None when all are.

    Masks that were made outside the text model (Gemma 3 with images) remember the padding mask they were made of.
    """
    if isinstance(attention_mask, Mapping):
        attention_mask = next(iter(attention_mask.values()), None)
    arguments = getattr(attention_mask, "arguments", None)
    if isinstance(arguments, Mapping):
        attention_mask = arguments.get("attention_mask")
    if not isinstance(attention_mask, Tensor) or attention_mask.ndim != 2:
        return None  # no padding mask: the attention function refuses what did not come through the plan
    return attention_mask.bool()[:, -length:]


def _restarts(axes: Tensor, attended: Tensor) -> Tensor:
    """Return where an attended token is counted no further, on any axis, than the attended token before it.

    Raises:
        PlanError: several axes, and a token that neither goes on nor starts to count again.
    """
    axes = axes.expand(-1, attended.shape[0], -1)
    attended = attended.expand_as(axes[0])
    places = torch.arange(attended.shape[1], device=attended.device).expand_as(attended)
    last = places.masked_fill(~attended, -1).cummax(-1).values[:, :-1]
    before = axes.gather(-1, last.clamp(min=0).expand(len(axes), -1, -1))
    borders = attended[:, 1:] & (last >= 0) & (axes[:, :, 1:] <= before).all(0)
    if len(axes) > 1 and not is_tracing(borders):
        first = axes.gather(-1, attended.long().argmax(-1, keepdim=True).expand(len(axes), -1, -1))
        if bool((borders & ~(axes[:, :, 1:] == first).all(0)).any()):
            raise PlanError(
                "position_ids of shape (3, batch, tokens) do not tell whether a text or an image begins here: no axis "
                "counts on, and none starts again. Put a row before them that counts the tokens of each text from its "
                "first position: shape (4, batch, tokens)."
            )
    return borders
