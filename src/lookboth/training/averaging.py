"""Averages of the trained weights over steps; the averages are scored and saved instead of the last weights."""

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
from lookboth.training.process_group import on_rank_zero

# Key in the optimizer state: checkpoints contain that state, so a resumed run restores the average.
_EMA = "ema"


class Averager(TrainerCallback):
    """Callback that maintains the weight average of a recipe and puts it into the model for evaluations.

    Args:
        model: being trained.
        config: `ema` is the decay of an exponential moving average over steps (Polyak averaging);
            `average_evals` is the number of recent evaluations whose weights are averaged. With neither the
            weights are used as they are.
        folder: folder for the weights of the last evaluations.
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
        """Update the moving average with the weights of this step."""
        self.optimizer = optimizer
        if self.decay is not None:
            _move_average(optimizer, self.decay, state.global_step)

    @contextmanager
    def averaged(self, step: int) -> Iterator[None]:
        """Replace the weights by their average inside the context, at an evaluation after `step`."""
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
            # A weight that has not had a gradient has no average and keeps its value.
            return {name: state[p][_EMA] for name, p in parameters.items() if _EMA in state[p]}
        return self._mean_of_evaluations(trained, step) if self.count > 1 else {}

    def _mean_of_evaluations(self, trained: dict[str, torch.Tensor], step: int) -> dict[str, torch.Tensor]:
        stored = save({name: weight.cpu().contiguous() for name, weight in trained.items()})
        on_rank_zero(lambda: self._keep(step, stored))
        files = [file for number, file in self._files() if number <= step]
        states = [load_file(file) for file in files]
        return {name: torch.stack([state[name].float() for state in states]).mean(0) for name in trained}

    def _keep(self, step: int, stored: bytes) -> None:
        """Write the weights of an evaluation and delete old ones, and those of steps that a resumed run repeats."""
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
    """Update the average of each weight.

    The effective decay starts low and grows with the step, so that the average quickly forgets the initial
    weights.
    """
    rate = 1 - min(decay, (1 + step) / (10 + step))
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = optimizer.state[parameter]
            if _EMA in state:
                state[_EMA].lerp_(parameter.detach(), rate)
            # An optimizer initializes a weight whose state is empty; adding the average first would prevent that.
            elif state:
                state[_EMA] = parameter.detach().clone()


@torch.no_grad()
def _assign(parameters: dict[str, nn.Parameter], weights: dict[str, torch.Tensor]) -> None:
    for name, parameter in parameters.items():
        parameter.copy_(weights[name])
