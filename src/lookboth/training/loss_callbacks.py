"""Trainer callbacks that watch the loss: one reports progress, one stops a diverged training."""

import logging
import math
import time
from collections.abc import Collection, MutableMapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lookboth.errors import ConfigError
from lookboth.training.process_group import gather_from_ranks

LOGGER = logging.getLogger(__name__)
_MEASURED = 3  # steps whose duration is extrapolated
_SHORTEST_REPORTED = 10  # seconds; shorter trainings get no estimate


class Diverged(ConfigError):
    """A training whose loss or weights became infinite or NaN; it cannot recover."""


def diverged(found: str, *, lr_key: str, lr: float) -> Diverged:
    """Return the error to raise.

    Args:
        found: the infinite or NaN value and where it occurred.
        lr_key: recipe key of the learning rate; lr: its value.
    """
    return Diverged(f"The training diverged ({found}). Lower {lr_key} ({lr:g} here).")


class DivergenceCheck(TrainerCallback):
    """Stops a training when a logged loss, or a weight at some steps, is infinite or NaN.

    Args:
        model: the model in training.
        at_steps: steps after which to check the weights.
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
        """Check the loss."""
        loss = float((logs or {}).get("loss", 0))
        if not math.isfinite(loss):
            self._end(f"loss {loss} at step {state.global_step}")

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Check the weights at the chosen steps."""
        step = state.global_step
        # Each process checks its own shards of the weights.
        if step in self.at_steps and not all(gather_from_ranks(_is_finite(self.model))):
            self._end(f"a weight is infinite or NaN at step {step}")

    def _end(self, found: str) -> None:
        raise diverged(found, lr_key=self.lr_key, lr=self.lr)


class SectionLog(logging.LoggerAdapter[logging.Logger]):
    """Logs the progress of a training; messages start with its section of the recipe unless that is [training]."""

    def __init__(self, section: str) -> None:
        super().__init__(LOGGER, {})
        self.prefix = "" if section == "training" else f"{section}: "

    def process(self, msg: object, kwargs: MutableMapping[str, Any]) -> tuple[str, MutableMapping[str, Any]]:
        """Return the message with its section."""
        return f"{self.prefix}{msg}", kwargs


class ProgressReporter(TrainerCallback):
    """Reports an early estimate of the duration, then step, loss and time left at every log."""

    def __init__(self, log: SectionLog, step_tokens: Sequence[int]) -> None:
        self.log, self.step_tokens = log, step_tokens
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
        """Report the estimated duration once, from the time of the second to the fourth step."""
        # The first step includes one-time setup, so it is not measured.
        begun = self.start[0] + 1
        if state.global_step == begun:
            self.second = time.monotonic()
        elif state.global_step == begun + _MEASURED and self.second is not None:
            # Steps differ in size, so extrapolate by tokens.
            measured = sum(self.step_tokens[begun : begun + _MEASURED])
            left = sum(self.step_tokens[begun + _MEASURED :])
            seconds = (time.monotonic() - self.second) / max(1, measured) * left
            if seconds < _SHORTEST_REPORTED:
                return
            self.log.info(
                f"about {format_duration(seconds)} for the {state.max_steps - state.global_step:,} steps left, without "
                "dev scoring"
            )

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Report step, loss and time left."""
        if not logs or "loss" not in logs or state.global_step == self.start[0]:
            return
        step, clock = self.start
        left = (time.monotonic() - clock) / (state.global_step - step) * (state.max_steps - state.global_step)
        self.log.info(
            f"step {state.global_step}/{state.max_steps}: loss {float(logs['loss']):.4f}, "
            f"{left // 60:.0f}:{left % 60:02.0f} left"
        )


def format_duration(seconds: float) -> str:
    """Format a duration for a reader.

    >>> format_duration(42), format_duration(600), format_duration(9000)
    ('42 seconds', '10 minutes', '2.5 hours')
    """
    if seconds < 100:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 6000 else f"{seconds / 3600:.1f} hours"


def _is_finite(model: nn.Module) -> bool:
    """Return whether all trained weights, or this process's shards of them, are finite."""
    weights = [weight.detach() for weight in model.parameters() if weight.requires_grad]
    local = [weight.to_local() if hasattr(weight, "to_local") else weight for weight in weights]
    return bool(torch.stack([weight.isfinite().all() for weight in local]).all())
