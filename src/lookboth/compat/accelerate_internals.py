"""Internals of accelerate. Seen to work with accelerate 1.15."""

import os
from collections.abc import Collection
from typing import Any, NamedTuple


class LaunchSettings(NamedTuple):
    """The settings of a launcher that contradict a recipe, or change how weights are kept.

    Args:
        fsdp: whether each process keeps and trains a part of the weights.
        fsdp_version: "1" or "2".
        loads_on_first: whether only the first process is to read the weights.
        mixed_precision: "no", "bf16" or "fp16".
    """

    fsdp: bool
    fsdp_version: str
    loads_on_first: bool
    mixed_precision: str


def launch_settings() -> LaunchSettings:
    """Return the settings by which `accelerate launch` started this process, or the defaults.

    Relies on the names of the environment variables through which it hands them to the processes.
    """
    return LaunchSettings(
        fsdp=os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true",
        fsdp_version=os.environ.get("FSDP_VERSION", "1"),
        loads_on_first=os.environ.get("FSDP_CPU_RAM_EFFICIENT_LOADING", "false").lower() == "true",
        mixed_precision=os.environ.get("ACCELERATE_MIXED_PRECISION", "no"),
    )


def shard_by_layers(model: Any, class_names: Collection[str]) -> None:
    """Let FSDP shard a model layer by layer; `class_names` are the classes of its layers.

    Relies on `model._no_split_modules`, from which accelerate takes the classes to wrap. The public setting,
    FSDP_TRANSFORMER_CLS_TO_WRAP, is an environment variable that belongs to the user.
    """
    model._no_split_modules = sorted(class_names)
