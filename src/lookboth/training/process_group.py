"""The current process group: rank and size, actions on rank 0, exchange of values."""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from lookboth.compat import launch_settings
from lookboth.errors import ConfigError, DataError, LookbothError
from lookboth.progress import silence_progress

T = TypeVar("T")
# Time for which one process may keep the others waiting, for example while rank 0 scores dev data. A crash does not
# need it: torchrun ends all processes when one dies.
TIMEOUT = timedelta(hours=6)


class ProcessGroup(NamedTuple):
    """Rank and size of the process group, from the environment that torchrun and accelerate set.

    Args:
        rank: index of this process; rank 0 writes files and logs.
        size: number of processes that train together; 1 for a single process.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> "ProcessGroup":
        """Return the process group described by the environment."""
        size = int(os.environ.get("WORLD_SIZE") or 1)
        return cls(int(os.environ.get("RANK") or 0) if size > 1 else 0, size)

    @property
    def is_rank_zero(self) -> bool:
        """Return whether this process is rank 0, which writes files and logs."""
        return self.rank == 0


def join_process_group() -> ProcessGroup:
    """Initialize the process group, with one GPU per process if there are GPUs; do nothing in a single process.

    Raises:
        ConfigError: more processes than GPUs on this machine, or a launcher that sets mixed precision.
    """
    group = ProcessGroup.current()
    if group.size > 1:
        import torch
        from accelerate import PartialState

        check_launch(torch.cuda.device_count())
        PartialState(cpu=not torch.cuda.is_available(), timeout=TIMEOUT)
    if not group.is_rank_zero:
        silence_progress()
    return group


def leave_process_group() -> None:
    """Destroy the process group at the end of a command."""
    if ProcessGroup.current().size > 1:
        import torch.distributed as dist

        if dist.is_initialized():
            dist.barrier()
            dist.destroy_process_group()


def require_single_process(command: str) -> None:
    """Refuse to run a command in several processes if it cannot share its work.

    Args:
        command: the command, for the message.

    Raises:
        ConfigError: this is one of several processes.
    """
    group = ProcessGroup.current()
    if group.size > 1:
        raise ConfigError(
            f"{command}: started as {group.size} processes that train together (WORLD_SIZE={group.size}), but only "
            f"lookboth train, adapt and distill share their work. Type {command} without torchrun or accelerate launch."
        )


def shards_weights() -> bool:
    """Return whether the launcher enabled FSDP, which shards the weights over the processes."""
    return launch_settings().fsdp


def on_rank_zero(action: Callable[[], T]) -> T:
    """Run an action on rank 0 while the other ranks wait; return its result, or raise its error, in all of them."""
    group = ProcessGroup.current()
    if group.size == 1:
        return action()
    import torch.distributed as dist

    outcome: list[Any] = [None]
    if group.is_rank_zero:
        try:
            outcome = [(action(), None)]
        except LookbothError as error:
            outcome = [(None, error)]
    dist.broadcast_object_list(outcome, src=0)
    result, refused = outcome[0]
    if refused is not None:
        raise refused
    return result


def gather_from_ranks(value: T) -> list[T]:
    """Return the value of every process, in order of rank."""
    group = ProcessGroup.current()
    if group.size == 1:
        return [value]
    import torch.distributed as dist

    values: list[Any] = [None] * group.size
    dist.all_gather_object(values, value)
    return values


def require_shared(file: Path) -> None:
    """Refuse an output folder that is not shared by all processes.

    Args:
        file: a file that rank 0 has just written.

    Raises:
        DataError: a process cannot find the file.
    """
    # On a network file system a new file can take seconds to appear.
    deadline = time.monotonic() + 10
    while not file.is_file() and time.monotonic() < deadline:
        time.sleep(0.2)
    missing = [rank for rank, found in enumerate(gather_from_ranks(file.is_file())) if not found]
    if missing:
        raise DataError(
            f"{file.parent}: process {missing[0]} does not find the file that process 0 wrote there. Give "
            "--out a folder that all machines share."
        )


def check_launch(num_gpus: int) -> None:
    """Refuse launcher settings that this machine or the recipe does not support.

    Args:
        num_gpus: number of GPUs of this machine.

    Raises:
        ConfigError: more processes than GPUs, or settings that contradict the recipe.
    """
    here = int(os.environ.get("LOCAL_WORLD_SIZE") or 1)
    if 0 < num_gpus < here:
        raise ConfigError(
            f"{here} processes on this machine, but {num_gpus} GPUs: each process needs one of its own. "
            f"Type torchrun --nproc-per-node {num_gpus}."
        )
    asked = launch_settings()
    if asked.mixed_precision != "no":
        raise ConfigError(
            f"mixed_precision: {asked.mixed_precision} in the launcher's settings: the recipe sets the precision. Set "
            "mixed_precision: 'no' there and training.precision in the recipe."
        )
    if asked.fsdp and asked.fsdp_version != "2":
        raise ConfigError(
            "FSDP: only version 2 is supported. Set fsdp_version: 2 in accelerate's fsdp_config."
        )
    if asked.fsdp and asked.loads_on_first:
        raise ConfigError(
            "FSDP: each process reads the weights itself. Set fsdp_cpu_ram_efficient_loading: false in accelerate's "
            "fsdp_config."
        )
