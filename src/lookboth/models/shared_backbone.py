"""A backbone that several labelers use: the LoRA pairs of each are added to the outputs of its own rows.

One product with the weights serves the rows of all labelers of a batch; only the small products with the pairs are
computed labeler by labeler. The idea is that of Chen et al. 2023, "Punica: Multi-Tenant LoRA Serving" (arXiv
2310.18547).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lookboth.errors import ModelError
from lookboth.models.text_pass import TEXT_TOKENS, pass_over_text

_ROWS = "lookboth_rows"  # attribute of a backbone


class Pair(NamedTuple):
    """A LoRA pair: the output of its module changes by scaling * B A x.

    Args:
        a: shape (rank, in); b: shape (out, rank).
        scaling: see `AdapterSettings.scaling_of`.
    """

    a: Tensor
    b: Tensor
    scaling: float


class RowPairs:
    """Adds the products of LoRA pairs to the outputs of the modules of a backbone.

    Args:
        backbone: a Hugging Face model without adapter.
    """

    def __init__(self, backbone: nn.Module) -> None:
        self._modules = dict(backbone.named_modules())
        self._hooks: dict[str, Any] = {}
        self._active: Sequence[tuple[slice, Mapping[str, Pair]]] = ()
        self.is_closed = False
        # Whether rows of different labelers may be mixed in a batch.
        self.mixes = True

    def take(self, backbone: nn.Module, names: Iterable[str]) -> None:
        """Let the modules of these names in the backbone have pairs."""
        new = [name for name in names if name not in self._hooks]
        # The experts of a mixture, for example, read the tokens that were sent to them, not rows.
        self.mixes = self.mixes and _read_rows(backbone, [self._modules[name] for name in new])
        for name in new:
            self._hooks[name] = self._modules[name].register_forward_hook(partial(self._add, name))

    @contextmanager
    def using(self, active: Sequence[tuple[slice, Mapping[str, Pair]]]) -> Iterator[None]:
        """Apply pairs, by the name of their module, to rows of each batch inside the context.

        Raises:
            ModelError: the backbone is no longer shared.
        """
        if self.is_closed:
            raise ModelError(
                "the backbone of this labeler now belongs to another one. Use the labeler of this name in its pool."
            )
        before, self._active = self._active, active
        try:
            yield
        finally:
            self._active = before

    def close(self) -> None:
        """Remove the pairs from the backbone; labelers that still refer to it raise an error."""
        for hook in self._hooks.values():
            hook.remove()
        self._hooks.clear()
        self.is_closed = True

    def _add(self, name: str, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        found = [(rows, pairs[name]) for rows, pairs in self._active if name in pairs]
        # As one product if the pairs can be stacked: 16 labelers then cost little more than one.
        if len(found) == len(self._active) > 1 and len({(p.a.shape, p.scaling) for _, p in found}) == 1:
            _add_stacked(args[0], output, found)
            return
        for rows, pair in found:
            low = nn.functional.linear(args[0][rows], pair.a).mul_(pair.scaling)
            output[rows] += nn.functional.linear(low, pair.b)


class SharedBackbone(nn.Module):
    """A backbone that other labelers use as well, with the pairs of one labeler.

    Args:
        stock: the backbone, shared by `share_backbone`.
        pairs: pairs of the labeler by the name of their module.
    """

    def __init__(self, stock: nn.Module, pairs: Mapping[str, Pair]) -> None:
        super().__init__()
        self.stock, self.pairs = stock, pairs
        rows = row_pairs(stock)
        assert rows is not None
        # Kept after `release_backbone`, so that labelers that still refer to the backbone raise an error.
        self.rows = rows

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the backbone, such as its configuration."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("stock"), name)

    def forward(self, *args: Any, **inputs: Any) -> Any:
        """Run the backbone with the pairs of this labeler for all rows."""
        with self.rows.using([(slice(None), self.pairs)]):
            return self.stock(*args, **inputs)


def share_backbone(backbone: nn.Module) -> RowPairs:
    """Prepare a backbone without adapter for several labelers; `load_adapter` then keeps adapters apart from it."""
    setattr(backbone, _ROWS, rows := RowPairs(backbone))
    return rows


def row_pairs(backbone: nn.Module) -> RowPairs | None:
    """Return the pairs of a backbone that is shared; else None."""
    found: RowPairs | None = vars(backbone).get(_ROWS)
    return found


def release_backbone(backbone: nn.Module) -> None:
    """Undo `share_backbone`."""
    rows = row_pairs(backbone)
    assert rows is not None
    rows.close()
    delattr(backbone, _ROWS)


def stock_of(backbone: nn.Module) -> nn.Module:
    """Return the shared backbone of a labeler; any other backbone itself."""
    return backbone.stock if isinstance(backbone, SharedBackbone) else backbone


def pairs_of(backbone: nn.Module) -> Mapping[str, Pair]:
    """Return the pairs of a labeler on a shared backbone; none for a labeler without adapter."""
    return backbone.pairs if isinstance(backbone, SharedBackbone) else {}


def _add_stacked(x: Tensor, output: Tensor, found: Sequence[tuple[slice, Pair]]) -> None:
    """Add the products of pairs of equal rank and scaling to the outputs of all rows, in place.

    Args:
        x, output: of the module, shape (rows, tokens, width).
        found: consecutive slices that cover all rows, each with its pair.
    """
    a, b = torch.stack([pair.a for _, pair in found]), torch.stack([pair.b for _, pair in found])
    sizes = [rows.stop - rows.start for rows, _ in found]
    if len(set(sizes)) == 1 and output.is_contiguous():
        # One matrix per labeler: the tokens of all its rows.
        inputs, outputs = x.reshape(len(a), -1, x.shape[-1]), output.view(len(a), -1, output.shape[-1])
    else:
        owners = torch.repeat_interleave(torch.tensor(sizes, device=x.device))
        a, b, inputs, outputs = a[owners], b[owners], x, output
    low = torch.bmm(inputs, a.transpose(1, 2)).mul_(found[0][1].scaling)
    outputs += torch.bmm(low, b.transpose(1, 2))


def _read_rows(backbone: nn.Module, modules: Sequence[nn.Module]) -> bool:
    """Return whether each of these modules reads the states of a batch as they are, shape (rows, tokens, width)."""
    shapes: list[Sequence[int]] = []
    hooks = [
        module.register_forward_pre_hook(lambda _, args: shapes.append(args[0].shape[:-1] if args else ()))
        for module in modules
    ]
    try:
        pass_over_text(backbone, rows=2)
    finally:
        for hook in hooks:
            hook.remove()
    return len(shapes) == len(modules) and all(tuple(shape) == (2, TEXT_TOKENS) for shape in shapes)
