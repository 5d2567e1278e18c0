"""Internals of transformers' Trainer. Seen to work with transformers 5.23 and accelerate 1.15."""

from typing import Any

import torch
from torch import nn
from transformers import Trainer, TrainingArguments


class LossScalingTrainer(Trainer):
    """The stock Trainer with optional loss scaling, for fp16 that the model computes by itself.

    The fp16 of accelerate would also wrap `forward` in autocast, the head included, and has no scaler on a CPU.

    Relies on `create_accelerator_and_postprocess`, after which `accelerator.scaler` is given to the optimizer and
    scales the loss; on `_clip_grad_norm`, which is called before each clipping; and on `optimizer.optimizer`, the torch
    optimizer inside that of accelerate.

    Args:
        scale_losses: whether losses are scaled, so that small fp16 gradients do not become 0.
        **kwargs: as of `Trainer`.
    """

    def __init__(self, *, scale_losses: bool, **kwargs: Any) -> None:
        self.scale_losses = scale_losses
        super().__init__(**kwargs)

    def create_accelerator_and_postprocess(self) -> None:
        """Give the accelerator a loss scaler."""
        super().create_accelerator_and_postprocess()
        if self.scale_losses:
            self.accelerator.scaler = torch.amp.GradScaler(self.accelerator.device.type)

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        if self.scale_losses:
            wrapper: Any = self.optimizer
            self.accelerator.scaler.unscale_(wrapper.optimizer)
        return super()._clip_grad_norm(model)


def use_one_gpu(arguments: TrainingArguments) -> None:
    """Let a Trainer use the first GPU only; by default it cuts each batch into one part per GPU.

    Relies on `arguments._n_gpu`, from which the public property `n_gpu` is read.
    """
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1
