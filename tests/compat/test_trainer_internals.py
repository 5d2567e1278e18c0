"""Contracts with transformers' Trainer and with accelerate."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import TrainingArguments

from lookboth.compat import LossScalingTrainer, launch_settings, shard_by_layers, use_one_gpu
from lookboth.compat.accelerate_internals import LaunchSettings


class Linear(nn.Module):
    """A model whose loss has a large gradient, so that clipping matters."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.weight = nn.Parameter(torch.randn(4))

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": 100 * ((x * self.weight).sum(-1) - labels).square().mean()}


def arguments(folder: Path, **changes: Any) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder), use_cpu=True, report_to=[], disable_tqdm=True, save_strategy="no", **changes
    )


def trained(folder: Path, *, scale_losses: bool) -> tuple[torch.Tensor, Any]:
    torch.manual_seed(1)
    items = [{"x": torch.randn(4), "labels": torch.randn(())} for _ in range(8)]
    trainer = LossScalingTrainer(
        scale_losses=scale_losses,
        model=Linear(),
        args=arguments(folder, optim="sgd", learning_rate=0.1, max_grad_norm=0.5, num_train_epochs=1),
        train_dataset=items,
    )
    trainer.train()
    return trainer.model.weight.detach(), trainer.accelerator.scaler


def test_scaled_losses_are_scaled_back_before_gradients_are_clipped(tmp_path: Path) -> None:
    plain, none = trained(tmp_path, scale_losses=False)
    scaled, scaler = trained(tmp_path, scale_losses=True)
    assert none is None
    assert scaler.get_scale() > 1
    assert not torch.equal(plain, Linear().weight)
    torch.testing.assert_close(scaled, plain)


def test_gradients_really_are_scaled(tmp_path: Path) -> None:
    """The optimizer must step through the scaler: it leaves out a step whose gradients are not finite."""

    class Infinite(Linear):
        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"loss": super().forward(x, labels)["loss"] * torch.inf}

    model = Infinite()
    before = model.weight.detach().clone()
    trainer = LossScalingTrainer(
        scale_losses=True,
        model=model,
        args=arguments(tmp_path, optim="sgd", max_steps=1),
        train_dataset=[{"x": torch.ones(4), "labels": torch.ones(())}],
    )
    scale = trainer.accelerator.scaler.get_scale()
    trainer.train()
    assert torch.equal(model.weight, before)
    assert trainer.accelerator.scaler.get_scale() < scale


def test_a_trainer_is_told_to_use_one_gpu(tmp_path: Path) -> None:
    made = arguments(tmp_path, per_device_train_batch_size=3)
    assert made.device.type == "cpu"  # the devices are counted once, here
    made._n_gpu = 2
    assert (made.n_gpu, made.train_batch_size) == (2, 6)
    use_one_gpu(made)
    assert (made.n_gpu, made.train_batch_size) == (1, 3)


def test_no_gpu_stays_no_gpu(tmp_path: Path) -> None:
    made = arguments(tmp_path)
    before = made.n_gpu
    use_one_gpu(made)
    assert made.n_gpu == before


def test_fsdp_wraps_the_layers_that_are_named() -> None:
    from accelerate.utils.fsdp_utils import fsdp2_prepare_auto_wrap_policy
    from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy

    model = nn.Sequential(nn.TransformerEncoderLayer(4, 2, 4), nn.Linear(4, 4))
    shard_by_layers(model, {"TransformerEncoderLayer"})
    plugin: Any = SimpleNamespace(
        auto_wrap_policy=transformer_auto_wrap_policy, transformer_cls_names_to_wrap=None
    )
    policy = fsdp2_prepare_auto_wrap_policy(plugin, model)
    assert policy is not None
    assert [policy(module) for module in model] == [True, False]


def test_what_accelerate_launch_asks_for_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate.commands.launch import launch_command_parser
    from accelerate.utils.launch import prepare_multi_gpu_env

    flags = "--use_fsdp --fsdp_version 2 --fsdp_cpu_ram_efficient_loading true --mixed_precision bf16"
    others = "--dynamo_backend no --num_processes 2 --num_machines 1 --main_process_port 0 x.py"
    parsed = launch_command_parser().parse_args([*flags.split(), *others.split()])
    found = prepare_multi_gpu_env(parsed)
    for name in found.keys() - os.environ.keys():
        monkeypatch.setenv(name, found[name])
    assert launch_settings() == LaunchSettings(True, "2", True, "bf16")


def test_without_a_launcher_nothing_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("ACCELERATE_", "FSDP_"))]:
        monkeypatch.delenv(name)
    assert launch_settings() == LaunchSettings(False, "1", False, "no")
