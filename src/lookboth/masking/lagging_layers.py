"""Layers that compute the rows of a text whose look-ahead has arrived, and keep the other rows waiting."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lookboth.masking.masks import LayerMasks
from lookboth.masking.notation import Reach


class RowMasks(LayerMasks):
    """The masks of some rows of one text: queries from `first` to the end, keys from the start of the text."""

    def _check_no_past(self, reach: Reach) -> None:
        """Accept rows with a past: `LaggingLayer` runs them when their look-ahead has arrived."""


@dataclass
class LaggingLayer:
    """A layer that computes the rows whose look-ahead has arrived, and keeps the others.

    Args:
        reach: tokens to the right that a row may attend to.
        waiting: input rows that are not final, shape (1, n, hidden); None: no rows yet.
        context: for each per-token argument of the layer (rotary positions, say), its rows from the first row that is
            not final up to the newest token of the text.
        done: number of final rows.
    """

    reach: int
    waiting: Tensor | None = None
    context: list[Tensor] = field(default_factory=list)
    done: int = 0

    def run(self, step: "LayerStep", rows: Tensor) -> Tensor:
        """Return the states that are final now, (1, m, hidden); m may be 0.

        Args:
            step: the layer with its arguments in this pass.
            rows: final states of the layer below, (1, n, hidden).
        """
        self._remember(step)
        rows = rows if self.waiting is None else torch.cat((self.waiting, rows), dim=1)
        num_final = rows.shape[1] if step.last else max(0, rows.shape[1] - self.reach)
        states = rows[:, :0]
        if num_final:
            args, kwargs = self._arguments(step, rows.shape[1])
            states = step.forward(rows, args, kwargs)[:, :num_final]
        self.waiting = rows[:, num_final:]
        self.context = [kept[:, num_final:] for kept in self.context]
        self.done += num_final
        return states

    def _remember(self, step: "LayerStep") -> None:
        found = [tensor for tensor in _values(step.given) if step.is_per_token(tensor)]
        if self.waiting is None:
            self.context = found
        elif not step.last:
            pairs = zip(self.context, found, strict=True)
            self.context = [torch.cat(pair, dim=1) for pair in pairs]

    def _arguments(self, step: "LayerStep", num_rows: int) -> Any:
        """Return the arguments of the layer with the masks and per-token values of its own rows."""
        context = iter(self.context)

        def of_rows(value: Any) -> Any:
            if step.is_per_token(value):
                return next(context)[:, :num_rows]
            if isinstance(value, LayerMasks):
                return _row_masks(value, self.done, self.done + num_rows)
            return value

        return _mapped(step.given, of_rows)


@dataclass(frozen=True, slots=True)
class LayerStep:
    """One layer in one pass.

    Args:
        forward: the layer's own forward function, of its input rows, args and keyword args.
        given: the args and keyword args it gets in this pass, for the newest tokens of the text.
        num_new: number of newest tokens.
        last: whether the text ends here, so that all rows are final; the one new token is then not part of the text.
    """

    forward: Callable[[Tensor, tuple[Any, ...], dict[str, Any]], Tensor]
    given: tuple[tuple[Any, ...], dict[str, Any]]
    num_new: int
    last: bool

    def is_per_token(self, value: Any) -> bool:
        """Whether an argument is a tensor with one row per new token, (1, n, ...)."""
        return isinstance(value, Tensor) and value.ndim >= 2 and value.shape[:2] == (1, self.num_new)


def _row_masks(masks: LayerMasks, first: int, end: int) -> LayerMasks:
    """Return the masks of rows [first, end); layers with equal rows share them."""
    if (first, end) not in masks.of_rows:
        sizes = {"q_length": end - first, "kv_length": end, "q_offset": first, "kv_offset": 0}
        masks.of_rows[first, end] = RowMasks(masks.backend, {**masks.arguments, **sizes})
    return masks.of_rows[first, end]


def _values(value: Any) -> Iterator[Any]:
    """Yield every value in nested arguments."""
    if isinstance(value, (tuple, list, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _values(part)
    else:
        yield value


def _mapped(value: Any, function: Callable[[Any], Any]) -> Any:
    """Apply a function to every value in nested arguments, in the order of `_values`."""
    if isinstance(value, dict):
        return {key: _mapped(part, function) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(_mapped(part, function) for part in value)
    return function(value)
