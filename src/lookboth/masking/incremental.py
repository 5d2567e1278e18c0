"""Incremental passes: the final states of a text while its tokens arrive, for plans with finite look-ahead.

A layer of reach r computes the final state of a token once the r tokens to its right have arrived at that layer. It
keeps keys and values of the rows that are final there, and its last r input rows, which run again with the next
tokens. So each layer lags behind the one below by its reach, and a new token costs 1 + r rows per layer.

The layers run inside the backbone's own forward pass. There each layer gets the rows it waits for in place of the new
ones, with their masks and their positions; no model file is copied. What a family computes in another way shows in
`prove_incremental`, which compares with one pass over the whole text.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from lookboth.compat import cache_argument, keep_first_keys, replace_forward
from lookboth.errors import PlanError
from lookboth.masking.applied_plan import STATE
from lookboth.masking.attention import get_plan
from lookboth.masking.lagging_layers import LaggingLayer, LayerStep
from lookboth.masking.plan import MaskPlan
from lookboth.masking.structure import FAMILIES, Stack, find_stack, first_position

# Other backends take a mask for whole texts only.
BACKENDS = ("sdpa", "eager")


class IncrementalPass:
    """The state of one text: pass its tokens on as they come, and get the states of its last layer as they are final.

    Not for training. The plan must be active in every call; several texts may take turns on one backbone.

    Args:
        backbone: a decoder under a plan in which every layer has finite look-ahead.

    Raises:
        PlanError: a layer has unlimited look-ahead, or this model or backend cannot be run incrementally.
    """

    def __init__(self, backbone: nn.Module) -> None:
        self._stack, plan = _require_incremental(backbone)
        self._backbone: Any = backbone
        self._layers = [LaggingLayer(reach) for reach in plan]
        self._cache = DynamicCache()
        self._first_position = first_position(backbone)
        self.num_tokens = 0
        self._newest = 0
        self._no_state = torch.empty(0, 0)

    def push(self, ids: Sequence[int]) -> Tensor:
        """Return the states that are final after the next tokens, (n, hidden), in order of the text.

        Args:
            ids: at least one token id.
        """
        start = self._first_position + self.num_tokens
        self.num_tokens += len(ids)
        self._newest = ids[-1]
        states = self._pass(ids, range(start, start + len(ids)), last=False)
        self._no_state = states[:0]
        return states

    def close(self, ids: Sequence[int] = ()) -> Tensor:
        """Return the states of all tokens that were not final, (n, hidden); the text ends with `ids`."""
        states = [self.push(ids)] if ids else []
        if self._layers[-1].done < self.num_tokens:
            # A model cannot run on no tokens, so it gets one that no layer attends to.
            position = self._first_position + self.num_tokens - 1
            states.append(self._pass([self._newest], [position], last=True))
        return torch.cat(states) if states else self._no_state

    @torch.inference_mode()
    def _pass(self, ids: Sequence[int], positions: Sequence[int], *, last: bool) -> Tensor:
        device = self._backbone.get_input_embeddings().weight.device
        before = self._layers[-1].done
        with self._lagging(len(ids), last=last):
            output = self._backbone(
                input_ids=torch.tensor([list(ids)], device=device),
                position_ids=torch.tensor([list(positions)], device=device),
                use_cache=True,
                **{cache_argument(self._backbone): self._cache},
            )
        return output.last_hidden_state.flatten(0, 1)[: self._layers[-1].done - before]

    @contextmanager
    def _lagging(self, num_new: int, *, last: bool) -> Iterator[None]:
        state = getattr(self._stack.backbone, STATE)
        state.incremental = True
        with ExitStack() as undo:
            undo.callback(setattr, state, "incremental", False)
            for index, module in enumerate(self._stack.layers):
                undo.callback(replace_forward(module, self._forward_of(index, module, num_new, last=last)))
            yield

    def _forward_of(
        self, index: int, module: nn.Module, num_new: int, *, last: bool
    ) -> Callable[..., Tensor]:
        layer, is_top, stock = self._layers[index], index == len(self._layers) - 1, module.forward

        def run(*args: Any, **kwargs: Any) -> Tensor:
            # Some families pass the states by position, others by keyword.
            rows: Tensor = args[0] if args else kwargs.pop("hidden_states")
            # The token that ends a text is none of its rows.
            rows = rows[:, :0] if last and index == 0 else rows
            step = LayerStep(partial(_plain_states, stock), (args[1:], kwargs), num_new, last)
            states = layer.run(step, rows)
            keep_first_keys(self._cache, index, layer.done)
            return _padded(states, num_new) if is_top else states

        return run


def _require_incremental(backbone: nn.Module) -> tuple[Stack, list[int]]:
    """Return the stack of a backbone and the reach of each layer.

    Raises:
        PlanError: a layer has unlimited look-ahead, or the model or its backend cannot be run incrementally.
    """
    stack, plan = find_stack(backbone), get_plan(backbone)
    name = type(stack.backbone).__name__
    if plan is None:
        raise not_incremental(name, "it has no mask plan; call apply_plan(model, 'causal')")
    require_finite(plan)
    if stack.is_encoder or stack.own_attention:
        raise not_incremental(name, "the layers of an encoder do not keep keys and values")
    if getattr(stack.config, "num_kv_shared_layers", 0):
        raise not_incremental(name, "some of its layers share keys and values")
    if "position_ids" not in inspect.signature(stack.backbone.forward).parameters:
        raise not_incremental(name, "it does not take position_ids")
    backend = getattr(stack.backbone, STATE).backend
    if backend not in BACKENDS:
        raise PlanError(
            f"A stream cannot use the attention backend {backend}; allowed are {' and '.join(BACKENDS)}. "
            "Load the model with attn_implementation='sdpa'."
        )
    return stack, [reach for reach in plan.reach if reach is not None]


def require_finite(plan: MaskPlan) -> None:
    """Refuse a plan with layers of unlimited reach.

    Raises:
        PlanError: the message names the layers and a plan to train.
    """
    unlimited = [str(layer) for layer, reach in enumerate(plan.reach) if reach is None]
    if unlimited:
        raise PlanError(
            f"A stream needs a plan with finite look-ahead, and plan '{plan}' has no limit in "
            f"layer{'s' * (len(unlimited) > 1)} {', '.join(unlimited)}: there every tag depends on the whole text. "
            "Train a labeler with plan = 'causal', or with look-ahead such as plan = '0,0,1,1' (1 token in each "
            "layer of the upper half)."
        )


def not_incremental(name: str, why: str) -> PlanError:
    """Return the error for a model that cannot be run incrementally."""
    return PlanError(
        f"{name} cannot label a stream: {why}. Label whole texts with predict, or use a decoder such as {FAMILIES}."
    )


def _plain_states(
    stock: Callable[..., Any], rows: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Tensor:
    states = stock(rows, *args, **kwargs)
    if not isinstance(states, Tensor):
        raise TypeError("its layers return more than their states")
    return states


def _padded(states: Tensor, multiple: int) -> Tensor:
    """Add rows of zeros up to a multiple of the rows of this pass, because GPT-2 restores their shape at the end."""
    lacking = -states.shape[1] % multiple if states.shape[1] else multiple
    return torch.nn.functional.pad(states, (0, 0, 0, lacking))
