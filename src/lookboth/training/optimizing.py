"""The optimizer of a run: learning rates per group, schedule with a floor, loss scaling for fp16."""

import re
import warnings
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from lookboth.compat import LossScalingTrainer
from lookboth.config import AdapterConfig, TrainConfig
from lookboth.errors import ConfigError

_SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}
# The names in transformers of the schedules with a floor; its polynomial schedule has power 1.
_FLOORED = {"linear": ("polynomial", "lr_end"), "cosine": ("cosine_with_min_lr", "min_lr")}


class GroupedTrainer(LossScalingTrainer):
    """The stock Trainer with a learning rate per group of weights, and loss scaling for fp16.

    Args:
        lr_factors: regular expression over names of weights to their learning rate, as a multiple of the
            run's rate.
        **kwargs: arguments of `LossScalingTrainer`.
    """

    def __init__(self, *, lr_factors: Mapping[str, float], **kwargs: Any) -> None:
        self.lr_factors = lr_factors
        super().__init__(**kwargs)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Return the optimizer of transformers with its groups split by learning rate."""
        # The Trainer calls this again for an optimizer that it already has; its groups are split already.
        made = self.optimizer is not None
        optimizer = super().create_optimizer(model)
        trained = model if model is not None else self.model
        if self.lr_factors and not made and trained is not None:
            named = {id(p): name for name, p in trained.named_parameters()}
            optimizer.param_groups[:] = [
                part for group in optimizer.param_groups for part in _split(group, named, self.lr_factors)
            ]
        return optimizer


def _split(
    group: dict[str, Any], named: Mapping[int, str], factors: Mapping[str, float]
) -> Iterator[dict[str, Any]]:
    """Yield the parts of an optimizer group that share a learning rate."""
    parts: dict[float, list[nn.Parameter]] = {}
    for parameter in group["params"]:
        name = named[id(parameter)]
        factor = next((factor for key, factor in factors.items() if re.search(key, name)), 1.0)
        parts.setdefault(factor, []).append(parameter)
    for factor, parameters in parts.items():
        yield {**group, "params": parameters, "lr": group["lr"] * factor}


def lr_factors(training: TrainConfig, adapter: AdapterConfig) -> dict[str, float]:
    """Return the learning rates that differ from training.lr, as multiples of it, by patterns of weight names."""
    factors = {}
    if training.head_lr is not None:
        factors[r"^head\."] = training.head_lr / training.lr
    if adapter.lora_plus != 1:
        factors[r"\.lora_B\."] = adapter.lora_plus
    return factors


def optimizer_arguments(config: TrainConfig) -> dict[str, Any]:
    """Return optimizer and schedule of a recipe as keyword arguments of TrainingArguments.

    Raises:
        ConfigError: the optimizer needs bitsandbytes, which is not installed.
    """
    if config.optimizer not in {"adamw_torch", "adamw_torch_fused"}:
        if find_spec("bitsandbytes") is None:
            raise ConfigError(
                f"training.optimizer = {config.optimizer!r}: needs bitsandbytes, which is not installed. "
                "Type: pip install 'lookboth[quant]'"
            )
        # On a CPU a paged optimizer keeps its state in ordinary memory; it would warn once per weight.
        warnings.filterwarnings("ignore", "Paged optimizers are not supported on CPU")
    schedule, settings = _SCHEDULES[config.schedule], {}
    if config.lr_end:
        schedule, key = _FLOORED[config.schedule]
        settings[key] = config.lr_end
    return {
        "optim": config.optimizer,
        "adam_beta1": config.betas[0],
        "adam_beta2": config.betas[1],
        "adam_epsilon": config.eps,
        "learning_rate": config.lr,
        "lr_scheduler_type": schedule,
        "lr_scheduler_kwargs": settings,
        "warmup_steps": config.warmup,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.clip,
    }
