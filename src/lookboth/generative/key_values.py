"""Keys and values of a causal language model, kept text by text: a shared prefix is encoded once for all."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from lookboth.errors import ModelError
from lookboth.masking import max_positions


class KeyValues(NamedTuple):
    """What every layer keeps of some tokens of one text.

    Args:
        keys, values: shape (layers, heads, tokens, head size); the head sizes may differ.
    """

    keys: Tensor
    values: Tensor

    @property
    def num_tokens(self) -> int:
        """Return for how many tokens."""
        return self.keys.shape[2]

    def take(self, places: Tensor) -> "KeyValues":
        """Return those of the tokens at `places`, shape (n,), copied."""
        return KeyValues(self.keys.index_select(2, places), self.values.index_select(2, places))


class Prefix(NamedTuple):
    """Tokens that many prompts begin with, and what the model keeps of them; None where there are none."""

    ids: tuple[int, ...]
    past: KeyValues | None


class Feed(NamedTuple):
    """New tokens of one text.

    Args:
        past: of the tokens between the prefix and these, None where there are none.
        tokens: at least one.
        wanted: indices of the tokens after which continuations are scored.
    """

    past: KeyValues | None
    tokens: Sequence[int]
    wanted: Sequence[int]

    @property
    def num_past(self) -> int:
        """Return the number of tokens between the prefix and these."""
        return self.past.num_tokens if self.past else 0


class Fed(NamedTuple):
    """What came of one batch of feeds.

    Args:
        logits: after every wanted token, feed by feed, shape (m, v), for the v tokens that were asked for.
        new: keys and values of the whole batch after the prefix, each (layers, batch, heads, s + n, head size).
        num_past: s, the room of each text for its past; its new tokens begin there.
    """

    logits: Tensor
    new: KeyValues
    num_past: int

    def past_of(self, row: int, feed: Feed, num_kept: int) -> KeyValues:
        """Return the past of a text with its first `num_kept` new tokens."""
        device = self.new.keys.device
        places = torch.cat(
            (
                torch.arange(feed.num_past, device=device),
                torch.arange(self.num_past, self.num_past + num_kept, device=device),
            )
        )
        return KeyValues(self.new.keys[:, row], self.new.values[:, row]).take(places)


def encode_prefix(model: Any, ids: Sequence[int]) -> Prefix:
    """Run the model over `ids` once, so that texts which begin with them need not.

    Args:
        model: a causal language model of transformers.
        ids: token ids, shape (p,).
    """
    if not ids:
        return Prefix((), None)
    fed = run_feeds(model, Prefix((), None), [Feed(None, ids, [])], [0])
    return Prefix(tuple(ids), KeyValues(fed.new.keys[:, 0], fed.new.values[:, 0]))


def common_prefix(texts: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Return the tokens all texts begin with, leaving each at least one token of its own.

    >>> common_prefix([[1, 2, 3], [1, 2, 4, 5], [1, 2]])
    (1,)
    """
    limit = min((len(text) for text in texts), default=1) - 1
    length = next((i for i in range(limit) if len({text[i] for text in texts}) > 1), limit)
    return tuple(texts[0][:length]) if texts else ()


@torch.inference_mode()
def run_feeds(model: Any, prefix: Prefix, feeds: Sequence[Feed], vocabulary: Sequence[int]) -> Fed:
    """Run the model over new tokens of several texts at once, and score the tokens of `vocabulary` after them.

    Each text has the slots [prefix | own past, padded | new tokens, padded]; padding is masked and every token has
    the position it has in its own text, so nothing depends on what else is in the batch.
    """
    device = model.get_input_embeddings().weight.device
    num_prefix = len(prefix.ids)
    room, width = max(feed.num_past for feed in feeds), max(len(feed.tokens) for feed in feeds)
    _check_length(model, num_prefix + max(feed.num_past + len(feed.tokens) for feed in feeds))
    ids = torch.zeros(len(feeds), width, dtype=torch.long)
    positions = torch.zeros_like(ids)
    seen = torch.zeros(len(feeds), num_prefix + room + width, dtype=torch.long)
    seen[:, :num_prefix] = 1
    for row, feed in enumerate(feeds):
        size, first = len(feed.tokens), num_prefix + feed.num_past
        ids[row, :size] = torch.tensor(feed.tokens)
        positions[row] = torch.arange(first, first + width).clamp(max=first + size - 1)
        seen[row, num_prefix:first] = 1
        seen[row, num_prefix + room : num_prefix + room + size] = 1
    cache = _fill_cache(prefix, feeds, room)
    wanted = torch.tensor(
        [row * width + place for row, feed in enumerate(feeds) for place in feed.wanted], dtype=torch.long
    )
    with _narrow_head(model, wanted.to(device), torch.tensor(vocabulary, device=device)):
        output = model(
            input_ids=ids.to(device),
            attention_mask=seen.to(device),
            position_ids=positions.to(device),
            past_key_values=cache,
            use_cache=True,
        )
    return Fed(output.logits[0], _read_cache(cache, num_prefix), room)


def attention_window(model: Any) -> int | None:
    """Return how many tokens back the layers with the shortest window see, None where all see everything."""
    config = model.config.get_text_config(decoder=True)
    kinds = getattr(config, "layer_types", None)
    if (kinds and set(kinds) == {"full_attention"}) or getattr(config, "use_sliding_window", True) is False:
        return None
    windows = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    return min((window for window in windows if window), default=None)


def split_for_padding(model: Any, prefix: Prefix, feeds: Sequence[Feed]) -> list[list[int]]:
    """Return how a batch is split so that padding is never counted as distance.

    A text alone has no padding. Together they have, which a window counts once it is too narrow for everything, and
    so do models that are not told positions (ALiBi).
    """
    window = attention_window(model)
    slots = len(prefix.ids) + max(feed.num_past for feed in feeds) + max(len(feed.tokens) for feed in feeds)
    takes_positions = "position_ids" in inspect.signature(model.forward).parameters
    if takes_positions and (window is None or slots <= window):
        return [list(range(len(feeds)))]
    return [[row] for row in range(len(feeds))]


def _check_length(model: Any, length: int) -> None:
    limit = max_positions(model)
    if limit is not None and length > limit:
        raise ModelError(
            f"prompt and answer need {length} tokens, but this model has {limit} positions. Show fewer or shorter "
            f"demonstrations (generative.k), or set generative.max_tokens = {limit // 2}."
        )


def _fill_cache(prefix: Prefix, feeds: Sequence[Feed], room: int) -> DynamicCache:
    cache = DynamicCache()
    parts = []
    if prefix.past:
        parts.append([t[:, None].expand(-1, len(feeds), -1, -1, -1) for t in prefix.past])
    if room:
        parts.append([_pad([feed.past and feed.past[side] for feed in feeds], room) for side in (0, 1)])
    if not parts:
        return cache
    for keys, values in zip(*(_join(side) for side in zip(*parts, strict=True)), strict=True):
        layer = DynamicLayer()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        cache.layers.append(layer)
    return cache


def _join(parts: Sequence[Tensor]) -> Iterator[Tensor]:
    """Yield each layer's tokens of all parts; a single part is not copied."""
    for layers in zip(*parts, strict=True):
        yield layers[0] if len(layers) == 1 else torch.cat(layers, dim=-2)


def _pad(pasts: Sequence[Tensor | None], room: int) -> Tensor:
    """Return shape (layers, batch, heads, room, head size); what no token fills is zero."""
    known = next(past for past in pasts if past is not None)
    layers, heads, _, size = known.shape
    padded = known.new_zeros(layers, len(pasts), heads, room, size)
    for row, past in enumerate(pasts):
        if past is not None:
            padded[:, row, :, : past.shape[2]] = past
    return padded


def _read_cache(cache: DynamicCache, first: int) -> KeyValues:
    """Return what the cache holds from slot `first` on."""
    try:
        layers: list[Any] = cache.layers
        keys = torch.stack([layer.keys[:, :, first:] for layer in layers])
        values = torch.stack([layer.values[:, :, first:] for layer in layers])
    except (RuntimeError, TypeError, AttributeError) as error:
        raise ModelError(
            "this model does not keep keys and values of one shape in every layer (shared, sliding or recurrent "
            "layers), so constrained decoding cannot reuse them. Set generative.decoding = 'free'."
        ) from error
    return KeyValues(keys, values)


@contextmanager
def _narrow_head(model: Any, wanted: Tensor, vocabulary: Tensor) -> Iterator[None]:
    """Let the vocabulary layer score only the wanted tokens, as one row of a batch, for only a few continuations.

    What the model does to logits afterwards (scaling, capping) stays its own affair.
    """
    head = model.get_output_embeddings()
    stock, patched = head.forward, head.__dict__.get("forward")

    def narrow(hidden: Tensor) -> Tensor:
        chosen = hidden.flatten(0, 1)[wanted][None]
        if type(head) is not nn.Linear or patched:
            return stock(chosen)[..., vocabulary]
        bias = None if head.bias is None else head.bias[vocabulary]
        return nn.functional.linear(chosen, head.weight[vocabulary], bias)

    head.forward = narrow
    try:
        yield
    finally:
        del head.forward
        if patched:
            head.forward = patched
