"""A decoder layer in the fast form: one function with fewer calls that computes what the modules of the layer do.

For one text most of the time outside the products goes into calls from Python and into small operations. This function
calls no modules, and adds positions to queries and keys in one operation.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lookboth.compat import LayerParts, asks_for_more, attention_function, is_hooked, layer_parts


class Product(Protocol):
    """One product in place of several linear layers (see `fast_form.SharedProduct`)."""

    @property
    def layers(self) -> tuple[nn.Linear, ...]:
        """The linear layers, in the order of the columns of the result."""

    def multiply(self, x: Tensor) -> Tensor:
        """Return the results of all linear layers next to each other."""


class JoinedLayer:
    """A decoder layer of Llama's form as one function.

    Args:
        parts: the modules of the layer.
        products: a product for each group of its linear layers.
    """

    def __init__(self, parts: LayerParts, products: Sequence[Product]) -> None:
        self.layer, self.products = parts.layer, tuple(products)
        self._parts = parts
        self._to_heads, self._from_heads, self._to_gates, self._from_gates = products
        self._dtype = products[0].layers[0].weight.dtype
        self._num_queries = products[0].layers[0].out_features // parts.attention.head_dim
        self._inside = tuple(module for module in parts.layer.modules() if module is not parts.layer)
        self._stock = parts.layer.forward

    def forward_now(self) -> Callable[..., Tensor] | None:
        """Return the forward function of the layer for the attention function of now; None: the layer runs as loaded.

        It runs as loaded if a module inside has a hook or another function in place of its own.
        """
        attend = attention_function(self._parts.attention)
        if attend is None or any(map(is_hooked, self._inside)):
            return None
        return partial(self._forward, attend)

    def _forward(
        self, attend: Callable[..., Any], hidden_states: Tensor, attention_mask: Any = None, **kwargs: Any
    ) -> Tensor:
        """Return the states after the layer, shape (batch, tokens, hidden); arguments as for the decoder layer."""
        if hidden_states.dtype != self._dtype or not hidden_states.numel() or asks_for_more(kwargs):
            states: Tensor = self._stock(hidden_states, attention_mask, **kwargs)
            return states
        parts, positions = self._parts, kwargs.pop("position_embeddings")
        query, key, value = self._heads(_normalize(hidden_states, parts.first_norm), *positions)
        scaling = parts.attention.scaling
        attended, _ = attend(
            parts.attention, query, key, value, attention_mask, dropout=0.0, scaling=scaling, **kwargs
        )
        # A product is a new tensor, so the states before it are added in place.
        states = self._from_heads.multiply(attended.flatten(2)).add_(hidden_states)
        gate, up = self._to_gates.multiply(_normalize(states, parts.second_norm)).chunk(2, dim=-1)
        return self._from_gates.multiply(parts.activation(gate).mul_(up)).add_(states)

    def _heads(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values, each (batch, heads, tokens, head size)."""
        heads = (
            self._to_heads.multiply(x).view(*x.shape[:2], -1, self._parts.attention.head_dim).transpose(1, 2)
        )
        num_keys = (heads.shape[1] - self._num_queries) // 2
        turned = _rotate(heads[:, :-num_keys], cos.unsqueeze(1), sin.unsqueeze(1))
        return turned[:, :-num_keys], turned[:, -num_keys:], heads[:, -num_keys:]


def join_layers(backbone: nn.Module, products: Sequence[Product]) -> list[JoinedLayer]:
    """Return the joined form of each decoder layer of a known form whose linear layers all have products."""
    by_layers: Mapping[tuple[nn.Linear, ...], Product] = {product.layers: product for product in products}
    found = [parts for module in backbone.modules() if (parts := layer_parts(module)) is not None]
    return [
        JoinedLayer(parts, [by_layers[group] for group in parts.linear])
        for parts in found
        if all(group in by_layers for group in parts.linear) and _has_one_dtype(parts.layer)
    ]


def _has_one_dtype(layer: nn.Module) -> bool:
    return len({weight.dtype for weight in layer.parameters()}) == 1


def _normalize(x: Tensor, norm: Any) -> Tensor:
    """Compute RMSNorm as Llama's modules do: in fp32, then the weight in the dtype of the states."""
    states = x.to(torch.float32)
    scale = states.pow(2).mean(-1, keepdim=True).add_(norm.variance_epsilon).rsqrt_()
    weight: Tensor = norm.weight
    return weight * (states * scale).to(x.dtype)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Add rotary positions to heads, as Llama's `apply_rotary_pos_emb` does to queries and keys one after the other."""
    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
    return (x * cos).add_(turned.mul_(sin))
