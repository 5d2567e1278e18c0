"""The form of a model that predicts faster on a CPU: fewer and larger products, of weights packed once.

Linear layers that read the same tensor (queries, keys and values; gate and up) become one product. oneDNN computes with
weights in its own layout; from torch's layout it converts them for every batch, which for one text takes a third of the
product's time. Outside `FastForm.active` the model is the one that was loaded, with its modules, names and weights.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lookboth.compat import (
    adapter_configs,
    has_native_bf16,
    has_onednn_product,
    onednn_product,
    pack_weight,
    weight_states,
    with_forwards,
)
from lookboth.models.joined_layer import JoinedLayer, join_layers
from lookboth.models.products import OneDnnLinear, onednn_is_faster
from lookboth.models.shared_backbone import row_pairs, stock_of

# Bytes of the weights of a model's linear layers. The packed weights take as much memory again.
LARGEST = 2 << 30


class FastForm:
    """The fast form of a backbone.

    The first pass inside `active` runs as loaded and shows which layers read the same tensor. Their weights are packed
    after it, so that a single prediction does not wait for that.

    Args:
        backbone: a model; if its layers cannot be packed or are not on a CPU, it always runs as loaded.
        dtype: dtype of its arithmetic; layers with other weights run as loaded.
    """

    def __init__(self, backbone: nn.Module, dtype: torch.dtype) -> None:
        self._backbone, self._dtype = backbone, dtype
        self._products: list[SharedProduct] = []
        self._joined: list[JoinedLayer] = []
        self._is_possible = _can_be_packed(backbone, dtype)
        # Several threads may predict at once: the first replaces the forward functions, the last restores them.
        self._lock = threading.Lock()
        self._num_active = 0
        self._undo = ExitStack()

    def __reduce__(self) -> Any:
        """Copy and pickle without the packed weights."""
        return FastForm, (self._backbone, self._dtype)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Compute in the fast form inside the context, without gradients."""
        if not self._is_possible:
            yield
        elif self._products:
            self._enter()
            try:
                yield
            finally:
                self._leave()
        else:
            with _readers(self._backbone, self._dtype) as groups:
                yield
            self._pack(groups)

    def _enter(self) -> None:
        with self._lock:
            if not self._num_active:
                self._undo.enter_context(with_forwards(self._forwards()))
            self._num_active += 1

    def _forwards(self) -> list[tuple[nn.Module, Callable[..., Tensor]]]:
        """Return modules with their new forward functions, without those whose weights have changed."""
        current = [product for product in self._products if product.is_current()]
        packed = set(map(id, current))
        forwards: list[tuple[nn.Module, Callable[..., Tensor]]] = [
            pair for product in current for pair in product.forwards
        ]
        for one in self._joined:
            if all(id(product) in packed for product in one.products) and (forward := one.forward_now()):
                forwards.append((one.layer, forward))
        return forwards

    def _leave(self) -> None:
        with self._lock:
            self._num_active -= 1
            if not self._num_active:
                self._undo.close()

    def _pack(self, groups: Sequence[Sequence[nn.Linear]]) -> None:
        with self._lock:
            if not self._products:
                products = [SharedProduct(layers) for layers in groups]
                self._joined = join_layers(self._backbone, products)
                self._products = products


class SharedProduct:
    """One product in place of several linear layers that read the same tensor.

    Args:
        layers: linear layers with weights of one dtype and one input width.
    """

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        self.layers = tuple(layers)
        self._states = weight_states(layers)
        self._dtype = layers[0].weight.dtype
        self._sizes = [layer.out_features for layer in layers]
        self._weight = pack_weight(torch.cat([layer.weight.detach() for layer in layers]))
        self._bias = _joined_bias(layers)
        # Each layer with its new forward function.
        self.forwards: list[tuple[nn.Module, Callable[[Tensor], Tensor]]] = [
            (layer, self._forward_of(index)) for index, layer in enumerate(layers)
        ]
        self._last = _LastProduct()

    def is_current(self) -> bool:
        """Whether no weight has changed since the weights were packed."""
        return weight_states(self.layers) == self._states

    def multiply(self, x: Tensor) -> Tensor:
        """Return the results of all layers next to each other, shape (..., out)."""
        return onednn_product(x, self._weight, self._bias)

    def _forward_of(self, index: int) -> Callable[[Tensor], Tensor]:
        stock = self.layers[index].forward

        def forward(x: Tensor) -> Tensor:
            if x.dtype != self._dtype or x.dim() < 2 or not x.numel():
                return stock(x)
            return self._result(x, index)

        return forward

    def _result(self, x: Tensor, index: int) -> Tensor:
        last = self._last
        if x is not last.read or index not in last.waiting:
            product = self.multiply(x)
            if len(self.layers) == 1:
                return product
            last.read, last.waiting = x, dict(enumerate(product.split(self._sizes, dim=-1)))
        result = last.waiting.pop(index)
        if not last.waiting:
            last.read = None
        return result


class _LastProduct(threading.local):
    """The tensor that this thread read last, and the results that its layers have not taken yet, by index."""

    def __init__(self) -> None:
        self.read: Tensor | None = None
        self.waiting: dict[int, Tensor] = {}


def _can_be_packed(backbone: nn.Module, dtype: torch.dtype) -> bool:
    """Whether a backbone has linear layers that gain, is small enough, and has no adapter apart from the weights."""
    # Each labeler on a shared backbone would pack all weights again.
    is_shared = row_pairs(stock_of(backbone)) is not None
    if not has_onednn_product() or adapter_configs(backbone) or is_shared:
        return False
    size = sum(
        module.get_parameter("weight").nbytes for module in backbone.modules() if _gains(module, dtype)
    )
    return 0 < size <= LARGEST


def _gains(module: nn.Module, dtype: torch.dtype) -> bool:
    """Whether a module is a plain linear layer of this dtype, which oneDNN computes faster on this processor."""
    # Subclasses, such as quantized layers, have their own forward pass.
    if type(module) not in {nn.Linear, OneDnnLinear}:
        return False
    weight = module.get_parameter("weight")
    if weight.dtype != dtype or weight.device.type != "cpu" or weight.is_inference():
        return False
    return has_native_bf16() if dtype == torch.bfloat16 else dtype == torch.float32 and onednn_is_faster()


@contextmanager
def _readers(backbone: nn.Module, dtype: torch.dtype) -> Iterator[list[list[nn.Linear]]]:
    """Collect the linear layers that run inside the context; layers that read one tensor in turn are one group."""
    groups: list[list[nn.Linear]] = []
    group_of: dict[nn.Module, list[nn.Linear]] = {}
    last: Tensor | None = None
    group: list[nn.Linear] = []
    thread = threading.get_ident()

    def note(layer: nn.Linear, args: tuple[Tensor, ...]) -> None:
        nonlocal last, group
        if threading.get_ident() != thread:
            return
        read = args[0] if args else None
        if read is None or read is not last:
            group = group_of.get(layer, [])
        last = read
        if layer not in group_of:
            group_of[layer] = group
            group.append(layer)
            if len(group) == 1:
                groups.append(group)

    hooks = [module.register_forward_pre_hook(note) for module in backbone.modules() if _gains(module, dtype)]
    try:
        yield groups
    finally:
        for hook in hooks:
            hook.remove()


def _joined_bias(layers: Sequence[nn.Linear]) -> Tensor | None:
    if all(layer.bias is None for layer in layers):
        return None
    biases = [
        layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias.detach()
        for layer in layers
    ]
    return torch.cat(biases)
