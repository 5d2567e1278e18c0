"""Finds the packed texts of a row by position ids that restart.

transformers looks for packed texts only without attention mask and cache, and not in every family. Elsewhere the
texts of a packed row would silently attend to each other. Position ids that leave the borders unclear are refused.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers.utils.import_utils import is_tracing

from lookboth.errors import PlanError

# One forward pass per thread: replicas of DataParallel run in threads and share their modules.
_FORWARD = threading.local()


class KnownRows(NamedTuple):
    """What the caller of a forward pass knows of its rows, so that the device is not asked for it.

    Args:
        is_packed: whether a row holds several texts.
        is_padded: whether a row has padding.
    """

    is_packed: bool
    is_padded: bool


def known_rows() -> KnownRows | None:
    """Return what is known of the rows of this thread's forward pass; None: nothing."""
    return getattr(_FORWARD, "known", None)


def no_skip(known: KnownRows | None, arguments: Mapping[str, Any]) -> dict[str, bool]:
    """Return arguments with which a stock mask function does not ask the device whether rows have padding.

    It skips the mask only if there is none.
    """
    if known is None or not known.is_padded:
        return {}
    skips = ("allow_is_causal_skip", "allow_is_bidirectional_skip")
    return {name: False for name in skips if name in arguments}


@contextmanager
def with_known_rows(known: KnownRows | None) -> Iterator[None]:
    """Run forward passes inside this context with what is known of their rows."""
    before = known_rows()
    _FORWARD.known = known
    try:
        yield
    finally:
        _FORWARD.known = before


def current_segments() -> Tensor | None:
    """Return the segments of this thread's forward pass, shape (B, T), or None."""
    return getattr(_FORWARD, "segments", None)


def set_current_segments(segments: Tensor | None) -> None:
    """Set the segments of this thread's forward pass, or clear them with None."""
    _FORWARD.segments = segments


def current_prompt() -> Tensor | None:
    """Return which tokens of this thread's forward pass may attend to the right, (B, T); None: all of them."""
    return getattr(_FORWARD, "prompt", None)


@contextmanager
def only_prompt_looks_right(prompt: Tensor | None) -> Iterator[None]:
    """Let only the tokens of a prompt attend to the right, and only to each other, inside this context.

    Args:
        prompt: shape (B, T), True where a token belongs to the prompt; None: no restriction.
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
        position_ids: shape (B, T), (1, T) or (T,). Models with one row per axis of an image (Qwen2-VL) use shape
            (3, B, T), or (4, B, T) with a first row that counts tokens. None: positions count the tokens.
        attention_mask: padding mask, shape (B, T) or (B, past + T), 1 = token; None without padding. Masks that are
            already built are accepted if they keep their padding mask in `arguments["attention_mask"]`.
        length: T, if known.

    Raises:
        PlanError: the position ids do not determine where a text begins.

    >>> find_segments(torch.tensor([[0, 1, 2, 0, 1]]), None)
    tensor([[0, 0, 0, 1, 1]])
    >>> find_segments(torch.tensor([[1, 1, 0, 1, 2]]), torch.tensor([[0, 0, 1, 1, 1]])) is None
    True
    >>> find_segments(torch.tensor([[0, 1, 0, 1]]).expand(3, 1, 4), None)
    tensor([[0, 0, 1, 1]])
    """
    known = known_rows()
    if position_ids is None or (known is not None and not known.is_packed):
        return None
    axes = _axes(position_ids, length)
    # A row of one token, such as a step of generation, contains no border.
    if axes.shape[-1] < 2:
        return None
    attended = _attended(attention_mask, axes.shape[-1])
    # Without padding, every position that does not exceed the one before it by 1 begins a text.
    if attended is None and axes.shape[0] == 1:
        borders = axes[0].diff(dim=-1) != 1
    else:
        attended = torch.ones_like(axes[0], dtype=torch.bool) if attended is None else attended
        borders = _restarts(axes, attended.to(axes.device))
    # None instead of one segment lets the backend keep its stock mask, which is faster.
    if known is None and not is_tracing(borders) and not bool(borders.any()):
        return None
    return torch.nn.functional.pad(borders.cumsum(-1), (1, 0))


def stock_segments(arguments: dict[str, Any]) -> Tensor:
    """Return the segment numbers of a stock mask, shape (B, T): a border is where i + 1 may not attend to i.

    Args:
        arguments: the keyword arguments transformers passes to a mask function.

    Raises:
        PlanError: a sliding window of one token, in which no token attends to its neighbour.
    """
    if arguments.get("local_size") == 1:
        raise PlanError(
            "This model has a sliding window of 1 token: no token attends to its neighbour, so a plan cannot extend "
            "the window to the right. Use the plan 'causal' or a model with a wider window."
        )
    size, length, device = (arguments[name] for name in ("batch_size", "q_length", "device"))
    batch = torch.arange(size, device=device)[:, None]
    left = torch.arange(length - 1, device=device)[None, :]
    joined = arguments["mask_function"](batch, torch.zeros_like(batch), left + 1, left).expand(
        size, length - 1
    )
    return torch.nn.functional.pad((~joined).cumsum(-1), (1, 0))


def _axes(position_ids: Any, length: int | None) -> Tensor:
    """Return positions with their axes first: (1, B, T), or (3, B, T) where a row may contain images."""
    shape = tuple(getattr(position_ids, "shape", ()))
    if isinstance(position_ids, Tensor) and length in (None, *shape[-1:]):
        if position_ids.ndim in (1, 2):
            return position_ids.reshape(1, -1, shape[-1])
        # The first of four rows counts the tokens of each text.
        if position_ids.ndim == 3 and shape[0] == 4:
            return position_ids[:1]
        if position_ids.ndim == 3 and shape[0] == 3:
            # Without images the three axes are equal, and one of them is enough.
            same = (position_ids == position_ids[:1]).all()
            return position_ids[:1] if not is_tracing(same) and bool(same) else position_ids
    found = f"shape {shape}" if shape else type(position_ids).__name__
    raise PlanError(
        f"position_ids of {found} do not determine where a text of a packed row begins. Under a mask plan the shape "
        "is (batch, tokens), or (3, batch, tokens) or (4, batch, tokens) in models with one row per axis of an image. "
        "Pass such position_ids, or None if no row holds two texts."
    )


def _attended(attention_mask: Any, length: int) -> Tensor | None:
    """Return which of the last `length` tokens are not padding, (B, T); None when all are tokens.

    Masks that were built outside the text model (Gemma 3 with images) keep the padding mask they were built from.
    """
    if isinstance(attention_mask, Mapping):
        attention_mask = next(iter(attention_mask.values()), None)
    arguments = getattr(attention_mask, "arguments", None)
    if isinstance(arguments, Mapping):
        attention_mask = arguments.get("attention_mask")
    if not isinstance(attention_mask, Tensor) or attention_mask.ndim != 2:
        # Not a padding mask. The attention function refuses masks that the plan did not build.
        return None
    return attention_mask.bool()[:, -length:]


def _restarts(axes: Tensor, attended: Tensor) -> Tensor:
    """Return where the position of a token does not exceed that of the token before it, on any axis.

    Padding tokens are skipped.

    Raises:
        PlanError: several axes, and a token that neither continues nor restarts the count.
    """
    axes = axes.expand(-1, attended.shape[0], -1)
    attended = attended.expand_as(axes[0])
    places = torch.arange(attended.shape[1], device=attended.device).expand_as(attended)
    # Index of the nearest attended token before each token; -1 without one.
    last = places.masked_fill(~attended, -1).cummax(-1).values[:, :-1]
    before = axes.gather(-1, last.clamp(min=0).expand(len(axes), -1, -1))
    borders = attended[:, 1:] & (last >= 0) & (axes[:, :, 1:] <= before).all(0)
    if len(axes) > 1 and not is_tracing(borders):
        first = axes.gather(-1, attended.long().argmax(-1, keepdim=True).expand(len(axes), -1, -1))
        if bool((borders & ~(axes[:, :, 1:] == first).all(0)).any()):
            raise PlanError(
                "position_ids of shape (3, batch, tokens) do not determine whether a text or an image begins: no axis "
                "continues the count, and none restarts it. Add a first row that counts the tokens of each text from "
                "its first position: shape (4, batch, tokens)."
            )
    return borders
