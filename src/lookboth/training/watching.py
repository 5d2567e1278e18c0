"""What watches the loss while the Trainer runs: one says how far it is, one ends a training that has diverged."""

import math
import time
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lookboth.errors import ConfigError
from lookboth.training.team import from_all


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
    """Says every few steps how far the run is, at what loss, and how long it still takes."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.start: tuple[int, float] = (0, 0.0)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start the clock."""
        self.start = (state.global_step, time.monotonic())

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


def _is_finite(model: nn.Module) -> bool:
    """Whether all trained weights, of this process's shards, are numbers."""
    weights = [weight.detach() for weight in model.parameters() if weight.requires_grad]
    local = [weight.to_local() if hasattr(weight, "to_local") else weight for weight in weights]
    return bool(torch.stack([weight.isfinite().all() for weight in local]).all())
