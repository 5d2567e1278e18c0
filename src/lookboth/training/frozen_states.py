"""Cached states of frozen layers: each text passes them once, and the trained layers start from the cache."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lookboth.compat import replace_forward
from lookboth.config import TrainConfig
from lookboth.data import place_inputs
from lookboth.errors import ConfigError, first_line
from lookboth.masking import STATE, find_stack, is_stock
from lookboth.models import LabelerModel
from lookboth.training.batches import RunBatches
from lookboth.training.cached_texts import CachedTexts, Key
from lookboth.training.process_group import ProcessGroup, shards_weights

LOGGER = logging.getLogger(__name__)
# Cached states by number of frozen layers and text, while several trainings share them.
_SHARED: ContextVar[dict[int, dict[Key, Tensor]] | None] = ContextVar("_SHARED", default=None)


class Obstacle(NamedTuple):
    """Reason why states cannot be cached, and what to type if they must be."""

    why: str
    remedy: str = "Leave it out"


@contextmanager
def share_frozen_states() -> Iterator[None]:
    """Let all trainings inside the context share the states of frozen layers, so that each text passes them once.

    All trainings must have the same backbone, plan and precision; only their texts, labels and seeds may differ.
    """
    token = _SHARED.set({})
    try:
        yield
    finally:
        _SHARED.reset(token)


def keep_frozen_states(
    model: LabelerModel, batches: RunBatches, config: TrainConfig
) -> AbstractContextManager[Any]:
    """Return a context in which `model` runs its frozen lower layers once per text, or a null context.

    A trial on the first batches, with and without the cache, decides whether the model supports it.

    Args:
        model: the model with its adapter, under the plan of training.
        batches: batches of the whole training.
        config: training section of the recipe.

    Raises:
        ConfigError: training.cache_frozen = true and the states cannot be cached.
    """
    wanted, num_frozen = config.cache_frozen, count_frozen(model.backbone)
    # With a single epoch every text passes once, so a cache would only cost memory.
    if wanted is False or (wanted == "auto" and (num_frozen == 0 or len(batches.epoch_ends) < 2)):
        return nullcontext()
    states = FrozenStates(model, num_frozen)
    needed, obstacle = 0, _known_obstacle(model, num_frozen)
    if obstacle is None:
        obstacle = _try_out(states, batches)
    if obstacle is None:
        needed = states.token_bytes * sum(map(len, {piece.input_ids for piece in batches.pieces}))
        states.spare = int(config.cache_gb * 1e9) - needed
        obstacle = _too_large(needed, config.cache_gb) if states.spare < 0 else None
    if obstacle is None:
        states.share(int(config.cache_gb * 1e9))
        LOGGER.info(
            f"states of the {num_frozen} frozen layers are computed once per text: {needed / 1e9:.2f} GB"
        )
        return states
    if wanted is True:
        raise ConfigError(f"training.cache_frozen = true: {obstacle.why}. {obstacle.remedy}.")
    LOGGER.info(f"states of the {num_frozen} frozen layers are not cached: {obstacle.why}")
    return nullcontext()


def share_lower_states(
    model: LabelerModel, batches: RunBatches, num_layers: int, cache_gb: float
) -> AbstractContextManager[Any]:
    """Return a context in which plans that agree on the lower layers share the states of these, without
    training.

    Args:
        model: a model whose weights do not change inside the context.
        batches: batches for the trial; if the model does not support the cache, nothing changes.
        num_layers: number of lower layers to share.
        cache_gb: maximum size of the cache in GB.
    """
    states = FrozenStates(model, num_layers)
    states.spare = int(cache_gb * 1e9)
    if num_layers == 0 or _known_obstacle(model, num_layers) or _try_out(states, batches, training=False):
        return nullcontext()
    return states


def count_frozen(backbone: nn.Module) -> int:
    """Return how many layers, counted from the input, have no trained weights in or below them."""
    if is_stock(backbone):
        return 0
    layers = find_stack(backbone).layers
    trained = {id(weight) for weight in backbone.parameters() if weight.requires_grad}
    of_layers = [trained & {id(weight) for weight in layer.parameters()} for layer in layers]
    # Trained weights outside the layers, such as embeddings, may be below all of them.
    if trained - set().union(*of_layers):
        return 0
    return next((number for number, weights in enumerate(of_layers) if weights), len(layers))


class FrozenStates:
    """Cache of the states after the frozen lower layers of a model; active as a context manager.

    The states of a text depend only on its tokens and on the reach of these layers. They do not depend on the
    other texts of the batch or on the layout of rows. So the cache key is (reach, tokens), for any batch. A
    batch of cached texts runs the stock forward pass with embeddings, masks and positions, but each frozen
    layer returns the cached states. Any other batch runs all layers.

    Args:
        model: a LabelerModel.
        num_frozen: number of frozen layers, counted from the input.

    Attributes:
        token_bytes: bytes of the state of one token, known after the trial.
        num_cut: number of forward passes that used cached states.
        spare: bytes left for texts outside the training data (dev); the space of training texts is already
            reserved.
    """

    def __init__(self, model: LabelerModel, num_frozen: int) -> None:
        self.model, self.num_frozen = model, num_frozen
        self.backbone: Any = find_stack(model.backbone).backbone
        self.token_bytes = self.spare = self.num_cut = 0
        self._kept: dict[Key, Tensor] = {}
        self._is_shared = False
        self._texts: CachedTexts | None = None
        # States the frozen layers return in this pass, (b, t, hidden).
        self._given: Tensor | None = None
        # Output of the last frozen layer in this pass.
        self._computed: Any = None
        self._undo: list[Callable[[], None]] = []

    def share(self, limit: int) -> None:
        """Use the states of the trainings around this one, if there are any, up to `limit` bytes in all.

        Called after the trial, which must compute its own states.
        """
        shared = _SHARED.get()
        if shared is not None:
            self._kept, self._is_shared = shared.setdefault(self.num_frozen, {}), True
            self.spare = limit - sum(states.nbytes for states in self._kept.values())

    def __enter__(self) -> "FrozenStates":
        backbone = self.model.backbone
        self._undo.append(backbone.register_forward_pre_hook(self._before, with_kwargs=True).remove)
        self._undo.append(backbone.register_forward_hook(self._after).remove)
        for layer in find_stack(self.backbone).layers[: self.num_frozen]:
            self._undo.append(replace_forward(layer, self._bypass(layer.forward)))
        return self

    def __exit__(self, *_: object) -> None:
        while self._undo:
            self._undo.pop()()
        if not self._is_shared:
            self._kept.clear()

    def _before(self, backbone: Any, args: tuple[Any, ...], inputs: dict[str, Any]) -> None:
        """Identify the texts of a batch and lay out their states if all are cached."""
        plan = self.backbone.__dict__.get(STATE)
        reach = () if plan is None else plan.plan.reach[: self.num_frozen]
        self._texts, self._given = CachedTexts.of(inputs, reach), None
        # A newly applied plan is confirmed by a pass through all layers.
        if (plan is None or plan.confirmed) and all(key in self._kept for key in self._texts.keys):
            self._given = self._texts.lay_out([self._kept[key] for key in self._texts.keys]).to(
                inputs["input_ids"].device
            )
            self.num_cut += 1

    def _after(self, backbone: Any, args: tuple[Any, ...], output: Any) -> None:
        """Cache the states that were computed in this pass."""
        if self._given is None and self._texts is not None:
            self._keep(self._texts)
        self._texts = self._given = self._computed = None

    def _keep(self, texts: "CachedTexts") -> None:
        states = self._computed[0] if isinstance(self._computed, tuple) else self._computed
        if not isinstance(states, Tensor) or states.shape[:-1] != texts.attended.shape:
            return
        self.token_bytes = states.shape[-1] * states.element_size()
        # The cache is in CPU memory: GPU memory is needed for training.
        flat = states.detach()[texts.attended.to(states.device)].cpu()
        for key, part in zip(texts.keys, flat.split(texts.lengths), strict=True):
            # Space for the training texts of a single training is already reserved.
            reserved = self.model.training and not self._is_shared
            if key in self._kept or not (reserved or part.nbytes <= self.spare):
                continue
            self.spare -= 0 if reserved else part.nbytes
            self._kept[key] = part.clone()

    def _bypass(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """Return a forward function for a frozen layer: it returns the cached states if there are any."""
        # Length of the tuple that the layer returns; 0: a tensor.
        width = 0

        def hand_on(*args: Any, **kwargs: Any) -> Any:
            nonlocal width
            if self._given is not None:
                return (self._given, *[None] * (width - 1)) if width else self._given
            self._computed = output = forward(*args, **kwargs)
            width = len(output) if isinstance(output, tuple) else 0
            return output

        return hand_on


def _known_obstacle(model: LabelerModel, num_frozen: int) -> Obstacle | None:
    if num_frozen == 0:
        return Obstacle("all layers are trained", "Set adapter.layers = 'top:N', or adapter.kind = 'head'")
    if model.head.mix is not None:
        return Obstacle("head.layers = 'mix' reads every layer", "Set head.layers = 'last'")
    if ProcessGroup.current().size > 1 or shards_weights():
        return Obstacle("each process gets other texts in every epoch", "Start one process")
    return None


def _too_large(needed: int, cache_gb: float) -> Obstacle:
    why = f"they take {needed / 1e9:.2f} GB, more than training.cache_gb = {cache_gb}"
    return Obstacle(why, f"Set training.cache_gb = {needed / 1e9 + 0.1:.1f} if there is enough memory")


def _try_out(states: FrozenStates, batches: RunBatches, *, training: bool = True) -> Obstacle | None:
    """Return the obstacle that a trial finds: run a batch without cache, another batch, then the first batch
    with cache.

    The other batch detects models that store state in their layers, which a pass with cache would then read.
    """
    model, device = states.model, states.backbone.device
    last = find_stack(model.backbone).layers[states.num_frozen - 1]
    outputs: list[Tensor] = []
    # In each pass, whether the frozen layers draw random numbers.
    drawn: list[bool] = []
    start = torch.empty(0)
    hooks = (
        model.backbone.register_forward_hook(lambda *a: outputs.append(a[2].last_hidden_state)),
        last.register_forward_hook(lambda *_: drawn.append(not torch.equal(start, _random_state(device)))),
    )
    model.train(training)
    error = ""
    with torch.no_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []), states:
        for number in (0, len(batches) // 2, 0):
            inputs = place_inputs(batches[number], device)
            # The same dropout in the head, so that outputs can be compared.
            torch.manual_seed(0)
            start = _random_state(device)
            try:
                model(**inputs)
            # Any model may fail in any way when its layers are bypassed; that is a reason not to cache.
            except Exception as problem:
                if states.num_cut == 0:
                    raise
                error = f": {first_line(problem)}"
    for hook in hooks:
        hook.remove()
    if any(drawn) or len(drawn) < 3:
        return Obstacle("they draw random numbers (dropout) and differ each time")
    attended = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"])).bool()
    # With an open head each of the three passes also runs the texts of the labels, after the words.
    again = outputs[-max(1, len(outputs) // 3)]
    if error or states.num_cut == 0 or not _are_close(outputs[0][attended], again[attended]):
        name = type(states.backbone).__name__
        return Obstacle(f"{name} computes different results from cached states{error}")
    return None


def _are_close(whole: Tensor, cut: Tensor) -> bool:
    # The two passes may use different kernels, so allow for rounding in fp32 and in half precision.
    rounding = 1e-4 if whole.dtype == torch.float32 else 3e-2
    return bool((whole - cut).float().norm() <= rounding * whole.float().norm())


def _random_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
