"""Runs a model and records the input and output states of every layer, for `proof.py`."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lookboth.errors import LookbothError, PlanError, first_line
from lookboth.masking.structure import Stack, find_stack, first_position

HALF_PRECISION = (torch.float16, torch.bfloat16)
FLATTER = (
    64  # divides attention scores; those of known models are below it, so each weight is about 1 / tokens
)


@dataclass(slots=True)
class ProbeRun:
    """The states of one forward pass: per layer the input (..., B, T, hidden) and the output (B, T, values)."""

    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)


class Probe:
    """A model with its parts found for probing; `run` records the states of every layer.

    Args:
        model: any model `apply_plan` accepts.
        seed: seed of the random token ids.
    """

    def __init__(self, model: nn.Module, seed: int = 0) -> None:
        self.model = model
        self.stack: Stack = find_stack(model)
        self.num_layers = len(self.stack.layers)
        # Users call the outermost model, and a wrapper (Gemma 3 with images) may build masks before its text model.
        self.called = next(module for module in model.modules() if isinstance(module, PreTrainedModel))
        embeddings: Any = self.stack.backbone.get_input_embeddings()
        self.device = embeddings.weight.device
        self.first_position = first_position(model)
        self._ids = torch.tensor(_plain_ids(self.called.config, embeddings))
        self._random = torch.Generator().manual_seed(seed)

    @property
    def config(self) -> Any:
        """The current configuration. `apply_plan` replaces it, so it is looked up each time."""
        return self.stack.config

    @property
    def window(self) -> int | None:
        """The smallest sliding window or chunk of the model in tokens; None without windows and chunks."""
        sizes = (getattr(self.config, name, None) for name in ("sliding_window", "attention_chunk_size"))
        return min((size for size in sizes if size), default=None)

    def accepts(self, name: str) -> bool:
        """Whether the model, or the backbone it passes keyword arguments to, takes an argument of this name."""
        own = inspect.signature(self.called.forward).parameters
        passes_on = any(parameter.kind is parameter.VAR_KEYWORD for parameter in own.values())
        inner = inspect.signature(self.stack.backbone.forward).parameters
        return name in own or (passes_on and name in inner)

    def tokens(self, *shape: int) -> Tensor:
        """Return random token ids of this shape."""
        return self._ids[torch.randint(len(self._ids), shape, generator=self._random)].to(self.device)

    def other_tokens(self, ids: Tensor) -> Tensor:
        """Return random token ids that differ from `ids` everywhere."""
        places = torch.searchsorted(self._ids, ids.cpu().contiguous())
        # A shift by 1 to n - 1 places, modulo n, never leads back to the same id.
        shift = torch.randint(1, len(self._ids), ids.shape, generator=self._random)
        return self._ids[(places + shift) % len(self._ids)].to(ids.device)

    def run(self, ids: Tensor, *, forced: Sequence[Tensor] | None = None, **batch: Any) -> ProbeRun:
        """Run the model up to the end of its backbone and record every layer.

        Args:
            ids: token ids, shape (B, T).
            forced: per layer the input states that replace the output of the layer below.
            batch: attention_mask, position_ids.

        Raises:
            PlanError: the model does not run on token ids alone.
        """
        run = ProbeRun()

        def before(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            # Some families pass the states by position, others by keyword.
            states = args[0] if args else kwargs["hidden_states"]
            if forced is not None:
                states = forced[len(run.inputs)]
            run.inputs.append(states)
            return ((states, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": states})

        def after(layer: Any, args: tuple[Any, ...], output: Any) -> None:
            run.outputs.append(_by_token(output if isinstance(output, Tensor) else output[0]))

        handles: list[Any] = []
        for layer in self.stack.layers:
            handles.append(layer.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(layer.register_forward_hook(after))
        handles.append(self.stack.backbone.register_forward_hook(_stop))
        try:
            if self.accepts("use_cache"):
                batch["use_cache"] = False
            self.called(input_ids=ids, **batch)
        except _BackboneDone:
            pass
        except LookbothError:
            raise
        # Model code raises anything here: xmod requires a language, BLIP-2 an image.
        except Exception as error:
            raise PlanError(
                f"{type(self.called).__name__} cannot be run on token ids alone, so nothing can be proved: "
                f"{type(error).__name__}: {first_line(error)}"
            ) from error
        finally:
            for handle in handles:
                handle.remove()
        self._check(run, ids)
        return run

    def _check(self, run: ProbeRun, ids: Tensor) -> None:
        shapes = {tuple(states.shape[:2]) for states in run.outputs}
        if len(run.outputs) != self.num_layers or shapes != {tuple(ids.shape)}:
            raise PlanError(
                f"{type(self.stack.backbone).__name__} ran {len(run.outputs)} of {self.num_layers} layers "
                f"on states of shape {sorted(shapes)} for ids of shape {tuple(ids.shape)}; a proof needs "
                "states of shape (batch, tokens, hidden) from every layer."
            )


class _BackboneDone(Exception):
    """Ends a forward pass before the vocabulary head, whose scores are not used."""


def _stop(backbone: Any, args: tuple[Any, ...], output: Any) -> None:
    raise _BackboneDone


def _plain_ids(config: Any, embeddings: Any) -> list[int]:
    """Return the token ids of plain text, without padding and without placeholders for images or sound.

    In the RoBERTa family a padding token inside a text does not get a position; a placeholder requires an image.
    """
    named = (vars(part) for part in (config, config.get_text_config(decoder=True)))
    special = {
        value
        for settings in named
        for key, value in settings.items()
        if key.endswith(("token_id", "token_index")) and isinstance(value, int)
    }
    special.add(embeddings.padding_idx)
    ids = range(embeddings.weight.shape[0])
    # A tiny vocabulary may consist of special tokens only.
    return [id for id in ids if id not in special] or list(ids)


def _by_token(states: Tensor) -> Tensor:
    """Return states with the batch dimension first; some families (Gemma 3n) stack several streams before it."""
    return states if states.ndim == 3 else states.movedim((-3, -2), (0, 1)).flatten(2)


@contextmanager
def ready_to_probe(model: nn.Module, *, widen: bool = True) -> Iterator[None]:
    """Run the body in evaluation mode, without gradients, and with half-precision weights in float32.

    Conversion to float32 is exact, and the original tensors are restored at the end.

    Args:
        model: the model to probe.
        widen: False if its attention kernel accepts half precision only.
    """
    training = {module: module.training for module in model.modules()}
    tensors = [*model.parameters(), *model.buffers()]
    # Quantized weights are packed integers, and meta tensors have no data; neither can be converted.
    widen &= not getattr(model, "is_quantized", False) and all(not tensor.is_meta for tensor in tensors)
    half = [(tensor, tensor.data) for tensor in tensors if widen and tensor.dtype in HALF_PRECISION]
    try:
        model.eval()
        for tensor, data in half:
            tensor.data = data.float()
        with torch.no_grad():
            yield
    finally:
        for tensor, data in half:
            tensor.data = data
        for module, mode in training.items():
            module.training = mode


@contextmanager
def flat_scores(stack: Stack) -> Iterator[None]:
    """Run the body with scaled-down attention scores, so that every token that is not masked gets a weight.

    With large scores (Gemma 4 does not scale its own) the softmax rounds most weights to exactly 0, as a mask does.
    Masked tokens stay masked at any scale.
    """
    steep: list[tuple[Any, float]] = [
        (module, scaling)
        for module in stack.ruled
        if isinstance(scaling := vars(module).get("scaling"), float)
    ]
    try:
        for module, scaling in steep:
            # At most 1 / sqrt(head size), the usual scale, which Gemma 4 omits.
            size = vars(module).get("head_dim") or 1
            module.scaling = min(scaling, size**-0.5) / FLATTER
        yield
    finally:
        for module, scaling in steep:
            module.scaling = scaling
