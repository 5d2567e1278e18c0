"""Keys and values of a causal language model, stored per text; a shared prefix is encoded once."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from lookboth.compat import cache_argument, is_patched, make_cache, replace_forward
from lookboth.errors import ModelError
from lookboth.masking import max_positions


class KeyValues(NamedTuple):
    """Keys and values of some tokens of one text in all layers.

    Args:
        keys, values: shape (layers, heads, tokens, head size); the head sizes may differ.
    """

    keys: Tensor
    values: Tensor

    @property
    def num_tokens(self) -> int:
        """Return the number of tokens."""
        return self.keys.shape[2]

    def take(self, places: Tensor) -> "KeyValues":
        """Return a copy for the tokens at `places`, shape (n,)."""
        return KeyValues(self.keys.index_select(2, places), self.values.index_select(2, places))


class Prefix(NamedTuple):
    """Token ids shared by the start of many prompts, with their keys and values; None without tokens."""

    ids: tuple[int, ...]
    past: KeyValues | None


class Feed(NamedTuple):
    """New tokens of one text.

    Args:
        past: keys and values of the tokens between the prefix and the new ones; None if there are none.
        tokens: the new tokens, at least one.
        wanted: indices of the new tokens whose next-token scores are needed.
    """

    past: KeyValues | None
    tokens: Sequence[int]
    wanted: Sequence[int]

    @property
    def num_past(self) -> int:
        """Return the number of tokens between the prefix and the new ones."""
        return self.past.num_tokens if self.past else 0


class Fed(NamedTuple):
    """The output of one batch of feeds.

    Args:
        logits: next-token logits after every wanted token, feed by feed, shape (m, v), for v requested
            tokens.
        new: keys and values of the batch after the prefix, each (layers, batch, heads, s + n, head size).
        num_past: s, the number of slots for the past of each text; its new tokens follow.
    """

    logits: Tensor
    new: KeyValues
    num_past: int

    def past_of(self, row: int, feed: Feed, num_kept: int) -> KeyValues:
        """Return the past of a text extended by its first `num_kept` new tokens."""
        device = self.new.keys.device
        places = torch.cat(
            (
                torch.arange(feed.num_past, device=device),
                torch.arange(self.num_past, self.num_past + num_kept, device=device),
            )
        )
        return KeyValues(self.new.keys[:, row], self.new.values[:, row]).take(places)


def encode_prefix(model: Any, ids: Sequence[int]) -> Prefix:
    """Run the model over `ids` once, so that texts with this prefix can reuse the keys and values.

    Args:
        model: a causal language model of transformers.
        ids: token ids, shape (p,).
    """
    # Models reject an empty input.
    if not ids:
        return Prefix((), None)
    # No token is wanted, so the vocabulary does not matter.
    fed = run_feeds(model, Prefix((), None), [Feed(None, ids, [])], [0])
    return Prefix(tuple(ids), KeyValues(fed.new.keys[:, 0], fed.new.values[:, 0]))


def common_prefix(texts: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Return the longest common prefix of the texts that leaves at least one token in each.

    >>> common_prefix([[1, 2, 3], [1, 2, 4, 5], [1, 2]])
    (1,)
    """
    # Models reject an empty input, so each text keeps a token of its own.
    limit = min((len(text) for text in texts), default=1) - 1
    length = next((i for i in range(limit) if len({text[i] for text in texts}) > 1), limit)
    return tuple(texts[0][:length]) if texts else ()


@torch.inference_mode()
def run_feeds(model: Any, prefix: Prefix, feeds: Sequence[Feed], vocabulary: Sequence[int]) -> Fed:
    """Run the model over new tokens of several texts in one batch, and score `vocabulary` as next tokens.

    The slots of each text are [prefix | own past, padded | new tokens, padded]. Padding is masked and every
    token has the position of its own text, so the result does not depend on the other texts.
    """
    device = model.get_input_embeddings().weight.device
    num_prefix = len(prefix.ids)
    past_slots, width = max(feed.num_past for feed in feeds), max(len(feed.tokens) for feed in feeds)
    _check_length(model, num_prefix + max(feed.num_past + len(feed.tokens) for feed in feeds))
    ids = torch.zeros(len(feeds), width, dtype=torch.long)
    positions = torch.zeros_like(ids)
    attended = torch.zeros(len(feeds), num_prefix + past_slots + width, dtype=torch.long)
    attended[:, :num_prefix] = 1
    for row, feed in enumerate(feeds):
        size, first = len(feed.tokens), num_prefix + feed.num_past
        ids[row, :size] = torch.tensor(feed.tokens)
        # Positions of padding are clamped to stay within the table of positions.
        positions[row] = torch.arange(first, first + width).clamp(max=first + size - 1)
        attended[row, num_prefix:first] = 1
        attended[row, num_prefix + past_slots : num_prefix + past_slots + size] = 1
    cache = _fill_cache(prefix, feeds, past_slots)
    wanted = torch.tensor(
        [row * width + place for row, feed in enumerate(feeds) for place in feed.wanted], dtype=torch.long
    )
    with _narrow_head(model, wanted.to(device), torch.tensor(vocabulary, device=device)):
        try:
            output = model(
                input_ids=ids.to(device),
                attention_mask=attended.to(device),
                position_ids=positions.to(device),
                use_cache=True,
                **{cache_argument(model): cache},
            )
        # Recurrent layers look for a state in the cache (transformers 5.24).
        except IndexError as error:
            raise _not_reusable() from error
    return Fed(output.logits[0], _read_cache(cache, num_prefix), past_slots)


def attention_window(model: Any) -> int | None:
    """Return the smallest attention window of any layer in tokens; None if all layers have full attention."""
    config = model.config.get_text_config(decoder=True)
    kinds = getattr(config, "layer_types", None)
    # Some configurations name a window that no layer uses.
    if (kinds and set(kinds) == {"full_attention"}) or getattr(config, "use_sliding_window", True) is False:
        return None
    windows = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    return min((window for window in windows if window), default=None)


def split_for_padding(model: Any, prefix: Prefix, feeds: Sequence[Feed]) -> list[list[int]]:
    """Return how to split a batch so that padding never counts as distance.

    A single text has no padding. A batch has padding between past and new tokens. Sliding windows count it as
    soon as the batch is longer than the window, and so do models without position ids (ALiBi).
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
            f"prompt and answer need {length} tokens, but this model has {limit} positions. Use fewer or shorter "
            f"demonstrations (generative.k), or set generative.max_tokens = {limit // 2}."
        )


def _fill_cache(prefix: Prefix, feeds: Sequence[Feed], past_slots: int) -> DynamicCache:
    parts = []
    if prefix.past:
        # `expand` shares the memory of the prefix between all rows.
        parts.append([t[:, None].expand(-1, len(feeds), -1, -1, -1) for t in prefix.past])
    if past_slots:
        parts.append([_pad([feed.past and feed.past[side] for feed in feeds], past_slots) for side in (0, 1)])
    if not parts:
        return DynamicCache()
    return make_cache(zip(*(_join(side) for side in zip(*parts, strict=True)), strict=True))


def _join(parts: Sequence[Tensor]) -> Iterator[Tensor]:
    """Yield the tokens of all parts per layer; a single part is not copied."""
    for layers in zip(*parts, strict=True):
        yield layers[0] if len(layers) == 1 else torch.cat(layers, dim=-2)


def _pad(pasts: Sequence[Tensor | None], past_slots: int) -> Tensor:
    """Return shape (layers, batch, heads, past_slots, head size), padded with zeros."""
    known = next(past for past in pasts if past is not None)
    layers, heads, _, size = known.shape
    padded = known.new_zeros(layers, len(pasts), heads, past_slots, size)
    for row, past in enumerate(pasts):
        if past is not None:
            padded[:, row, :, : past.shape[2]] = past
    return padded


def _read_cache(cache: DynamicCache, first: int) -> KeyValues:
    """Return the cache content from slot `first` on."""
    try:
        layers: list[Any] = cache.layers
        keys = torch.stack([layer.keys[:, :, first:] for layer in layers])
        values = torch.stack([layer.values[:, :, first:] for layer in layers])
    except (RuntimeError, TypeError, AttributeError) as error:
        raise _not_reusable() from error
    return KeyValues(keys, values)


def _not_reusable() -> ModelError:
    return ModelError(
        "this model does not keep keys and values of one shape in every layer (shared, sliding or recurrent "
        "layers), so constrained decoding cannot reuse them. Set generative.decoding = 'free'."
    )


@contextmanager
def _narrow_head(model: Any, wanted: Tensor, vocabulary: Tensor) -> Iterator[None]:
    """Make the vocabulary layer score only the wanted tokens, as one row, for the given vocabulary.

    The full logits (batch x tokens x vocabulary) would cost more than the rest of a pass of a small model.
    Scaling and capping of logits in the model still apply.
    """
    head = model.get_output_embeddings()
    stock, patched = head.forward, is_patched(head)

    def narrow(hidden: Tensor) -> Tensor:
        chosen = hidden.flatten(0, 1)[wanted][None]
        # The rows of the weight can be selected only in a plain linear layer.
        if type(head) is not nn.Linear or patched:
            return stock(chosen)[..., vocabulary]
        bias = None if head.bias is None else head.bias[vocabulary]
        return nn.functional.linear(chosen, head.weight[vocabulary], bias)

    undo = replace_forward(head, narrow)
    try:
        yield
    finally:
        undo()
