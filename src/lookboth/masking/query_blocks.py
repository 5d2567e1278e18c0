"""Eager attention on a CPU: long rows in blocks of queries, each with the keys that it may attend to."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lookboth.compat import is_usual_attention

BLOCK = 64  # queries
# The backward pass computes each block again and sums the key gradients of all blocks, so larger blocks are faster:
# 1,024 tokens of SmolLM2-135M take 1.5 times as long in blocks of 64, and 0.9 in blocks of 256, as at once.
BLOCK_WITH_GRADIENTS = 256
# Shortest rows, in tokens, that gain (SmolLM2-135M, bf16, CPU: 256 tokens take 0.74 of the time, 512 tokens 0.64).
LONG = 128
LONG_WITH_GRADIENTS = 512


def attend(
    stock: Any,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Return the output of the eager attention function `stock`, computed in blocks where that is faster.

    Args:
        stock: transformers' eager attention function of this module.
        module: an attention module.
        query: shape (batch, heads, queries, head size).
        key, value: shape (batch, key-value heads, keys, head size).
        mask: added to the scores, shape (batch or 1, heads or 1, queries, keys).

    Returns:
        States of shape (batch, queries, heads, head size), and the attention weights, or None if computed in blocks.
    """
    if query.device.type != "cpu" or _is_traced(query):
        states, weights = stock(module, query, key, value, mask, **kwargs)
        return states, weights
    compute = _attend_in_groups if _has_groups(stock, module, query, mask) else stock
    if not _pays(module, query, key, mask, kwargs):
        return compute(module, query, key, value, mask, **kwargs)
    blocks = []
    size = BLOCK_WITH_GRADIENTS if torch.is_grad_enabled() else BLOCK
    for start in range(0, query.shape[2], size):
        rows = None if mask is None else mask[:, :, start : start + size]
        keys = _visible_keys(rows, key.shape[2])
        rows = None if rows is None else rows[..., keys]
        block = (query[:, :, start : start + size], key[:, :, keys], value[:, :, keys], rows)
        blocks.append(_block_states(partial(compute, module, **kwargs), *block))
    return torch.cat(blocks, dim=1), None


def _visible_keys(rows: Tensor | None, count: int) -> slice:
    """Return the keys from the first to the last that some query of a block may attend to.

    The others have weight 0: those after the block in a causal layer, those of other texts in a packed row. All keys
    are kept for a block with padding that may attend to none, because the stock function attends to all of them then.

    Args:
        rows: the block's rows of the mask, shape (batch or 1, heads or 1, queries, keys).
        count: number of keys.
    """
    if rows is None or not rows.is_floating_point():
        return slice(0, count)
    allowed = rows.detach() > torch.finfo(rows.dtype).min
    if not allowed.any(dim=-1).all():
        return slice(0, count)
    found = allowed.flatten(0, 2).any(dim=0).nonzero()
    return slice(int(found[0]), int(found[-1]) + 1)


def _block_states(compute: Callable[..., tuple[Tensor, Any]], *block: Tensor | None) -> Tensor:
    """Return the states of a block of queries; the backward pass computes its scores again instead of keeping them.

    The scores of all blocks, and keys and values repeated for each, are most of the memory of a long row.
    """
    if not torch.is_grad_enabled():
        return compute(*block)[0]
    states: Tensor = checkpoint(lambda *given: compute(*given)[0], *block, use_reentrant=False)
    return states


def keeps_scores(length: int) -> bool:
    """Whether a training on a CPU keeps the attention scores of rows of `length` tokens for the backward pass."""
    return length < LONG_WITH_GRADIENTS


def _is_traced(x: Tensor) -> bool:
    """Whether the operations on `x` become a graph, which would contain a loop over a fixed number of blocks.

    It is asked for every layer, and transformers' `is_tracing` takes several times as long. Tensors of torch.export and
    torch.fx have types of their own.
    """
    return type(x) is not Tensor or torch.jit.is_tracing() or torch.compiler.is_compiling()  # type: ignore[attr-defined]


def _has_groups(stock: Any, module: nn.Module, query: Tensor, mask: Tensor | None) -> bool:
    """Whether `_attend_in_groups` computes what `stock` does: without gradients."""
    return (
        not torch.is_grad_enabled()
        # Dropout.
        and not module.training
        and (mask is None or mask.dtype == query.dtype)
        and is_usual_attention(stock)
    )


def _attend_in_groups(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    *,
    scaling: float,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """Compute the usual eager attention; queries of the same key head are rows of one product.

    The usual function copies keys and values for every query head, and keeps the results of all its steps.
    """
    batch, heads, length, width = query.shape
    key_heads = key.shape[1]
    # `bmm` takes less time to call than `matmul`.
    grouped, keys = query.reshape(batch * key_heads, -1, width), key.reshape(batch * key_heads, -1, width)
    scores = torch.bmm(grouped, keys.transpose(1, 2)).mul_(scaling).view(batch, heads, length, -1)
    if mask is not None:
        scores.add_(mask)
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    values = value.reshape(batch * key_heads, -1, value.shape[3])
    states = torch.bmm(weights.view(batch * key_heads, -1, key.shape[2]), values)
    # Multi-head latent attention has values of another width than queries.
    return states.view(batch, heads, length, value.shape[3]).transpose(1, 2).contiguous(), weights


def _pays(module: nn.Module, query: Tensor, key: Tensor, mask: Tensor | None, kwargs: dict[str, Any]) -> bool:
    """Whether blocks are faster here, and the scores of a query depend only on its own row of the mask."""
    length = query.shape[2]
    if length < (LONG_WITH_GRADIENTS if torch.is_grad_enabled() else LONG) or key.shape[2] != length:
        return False
    if kwargs.get("output_attentions"):
        return False
    if mask is not None and mask.shape[2:] != (length, length):
        return False
    config: Any = module.config if hasattr(module, "config") else None
    # A bias per pair of tokens (position_bias) would have to be cut into the same blocks.
    biased = any(isinstance(given, Tensor) and given.dim() > 2 for given in kwargs.values())
    return not biased and not getattr(config, "output_attentions", False)
