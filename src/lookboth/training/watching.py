"""What watches the loss while the Trainer runs: one says how far it is, one ends a training that has diverged."""

import math
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lookboth.errors import ConfigError
from lookboth.training.team import from_all

_MEASURED = 3  # steps
_WORTH_SAYING = 10  # seconds


class Diverged(ConfigError):
    """A training whose numbers grew beyond all bounds; it cannot come back."""


def diverged(found: str, *, lr_key: str, lr: float) -> Diverged:
    """Return what to raise.

    Args:
        found: what is no finite number, and where.
        lr_key: the key of the recipe that says the learning rate; lr: its value.
    """
    return Diverged(f"The training diverged ({found}). Lower {lr_key} ({lr:g} here).")


class Watch(TrainerCallback):
    """Ends a training when a loss that is logged, or at some steps a weight, is no finite number.

    Args:
        model: being trained.
        at_steps: after which weights are looked at.
        lr_key, lr: as in `diverged`.
    """

    def __init__(self, model: nn.Module, at_steps: Collection[int], *, lr_key: str, lr: float) -> None:
        self.model, self.at_steps, self.lr_key, self.lr = model, at_steps, lr_key, lr

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Look at the loss."""
        loss = float((logs or {}).get("loss", 0))
        if not math.isfinite(loss):
            self._end(f"loss {loss} at step {state.global_step}")

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Look at the weights where it is time to."""
        step = state.global_step
        if step in self.at_steps and not all(from_all(_is_finite(self.model))):  # each may have other shards
            self._end(f"a weight is no finite number at step {step}")

    def _end(self, found: str) -> None:
        raise diverged(found, lr_key=self.lr_key, lr=self.lr)


class Progress(TrainerCallback):
    """Says after some steps how long a run will take, and every few steps how far it is, and at what loss."""

    def __init__(self, say: Callable[[str], None], step_tokens: Sequence[int]) -> None:
        self.say, self.step_tokens = say, step_tokens
        self.start: tuple[int, float] = (0, 0.0)
        self.second: float | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start the clock."""
        self.start = (state.global_step, time.monotonic())

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Say, once, about how long the steps will take, by the time of the second to the fourth."""
        begun = self.start[0] + 1  # the first step also sets things up
        if state.global_step == begun:
            self.second = time.monotonic()
        elif state.global_step == begun + _MEASURED and self.second is not None:
            measured = sum(self.step_tokens[begun : begun + _MEASURED])
            left = sum(self.step_tokens[begun + _MEASURED :])
            seconds = (time.monotonic() - self.second) / max(1, measured) * left
            if seconds < _WORTH_SAYING:
                return
            self.say(
                f"about {spoken(seconds)} for the {state.max_steps - state.global_step:,} steps left, dev scores not "
                "counted"
            )

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Say it."""
        if not logs or "loss" not in logs or state.global_step == self.start[0]:
            return
        step, clock = self.start
        left = (time.monotonic() - clock) / (state.global_step - step) * (state.max_steps - state.global_step)
        self.say(
            f"step {state.global_step}/{state.max_steps}: loss {float(logs['loss']):.4f}, "
            f"{left // 60:.0f}:{left % 60:02.0f} left"
        )


def spoken(seconds: float) -> str:
    """Return a duration as a person says it.

    >>> spoken(42), spoken(600), spoken(9000)
    ('42 seconds', '10 minutes', '2.5 hours')
    """
    if seconds < 100:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 6000 else f"{seconds / 3600:.1f} hours"


def _is_finite(model: nn.Module) -> bool:
    """Whether all trained weights, of this process's shards, are numbers."""
    weights = [weight.detach() for weight in model.parameters() if weight.requires_grad]
    local = [weight.to_local() if hasattr(weight, "to_local") else weight for weight in weights]
    return bool(torch.stack([weight.isfinite().all() for weight in local]).all())
