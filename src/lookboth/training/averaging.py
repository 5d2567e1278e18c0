"""Averages of the trained weights over steps, which are scored and kept instead of the last ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lookboth.config import TrainConfig
from lookboth.files import write_whole
from lookboth.training.team import on_first

_EMA = "ema"  # key in the optimizer's state, which checkpoints hold


class Averager(TrainerCallback):
    """Keeps the average that a recipe asks for and puts it into the model while dev data is scored.

    Args:
        model: being trained.
        config: `ema` is the decay of an exponential moving average over steps (Polyak averaging), `average_evals`
            the number of evaluations whose weights are averaged; without either the weights stay as they are.
        folder: for the weights of the last evaluations.
    """

    def __init__(self, model: nn.Module, config: TrainConfig, folder: Path) -> None:
        self.model, self.decay, self.count = model, config.ema, config.average_evals
        self.folder = folder / "averaged"
        self.optimizer: Any = None

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        optimizer: Any = None,
        **_: Any,
    ) -> None:
        """Move the average towards the weights of this step."""
        self.optimizer = optimizer
        if self.decay is not None:
            _move_average(optimizer, self.decay, state.global_step)

    @contextmanager
    def averaged(self, step: int) -> Iterator[None]:
        """Put the average into the model for a while, at an evaluation after `step`."""
        average = self._average(step)
        trained = {name: p for name, p in self.model.named_parameters() if name in average}
        kept = {name: p.detach().clone() for name, p in trained.items()}
        _assign(trained, average)
        try:
            yield
        finally:
            _assign(trained, kept)

    def _average(self, step: int) -> dict[str, torch.Tensor]:
        trained = {name: p.detach() for name, p in self.model.named_parameters() if p.requires_grad}
        if self.decay is not None:
            state = self.optimizer.state
            parameters = {name: p for name, p in self.model.named_parameters() if name in trained}
            return {name: state[p][_EMA] for name, p in parameters.items() if _EMA in state[p]}
        return self._mean_of_evaluations(trained, step) if self.count > 1 else {}

    def _mean_of_evaluations(self, trained: dict[str, torch.Tensor], step: int) -> dict[str, torch.Tensor]:
        stored = save({name: weight.cpu().contiguous() for name, weight in trained.items()})
        on_first(lambda: self._keep(step, stored))
        files = [file for number, file in self._files() if number <= step]
        states = [load_file(file) for file in files]
        return {name: torch.stack([state[name].float() for state in states]).mean(0) for name in trained}

    def _keep(self, step: int, stored: bytes) -> None:
        """Write the weights of an evaluation, and remove those too old or of steps that a kill undid."""
        write_whole(self.folder / f"step-{step}.safetensors", [stored], follow_links=False)
        recent = [file for number, file in self._files() if number <= step][-self.count :]
        for _, file in self._files():
            if file not in recent:
                file.unlink()

    def _files(self) -> list[tuple[int, Path]]:
        return sorted(
            (int(file.stem.partition("-")[2]), file) for file in self.folder.glob("step-*.safetensors")
        )


@torch.no_grad()
def _move_average(optimizer: Any, decay: float, step: int) -> None:
    """Update the average of each weight; it begins short, so that the first weights are soon forgotten."""
    rate = 1 - min(decay, (1 + step) / (10 + step))
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = optimizer.state[parameter]
            if _EMA in state:
                state[_EMA].lerp_(parameter.detach(), rate)
            elif state:  # else the optimizer takes it for a weight that it has begun with
                state[_EMA] = parameter.detach().clone()


@torch.no_grad()
def _assign(parameters: dict[str, nn.Parameter], weights: dict[str, torch.Tensor]) -> None:
    for name, parameter in parameters.items():
        parameter.copy_(weights[name])
