"""The processes that train together: who they are, what only the first does, what they tell each other."""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from lookboth.errors import ConfigError, DataError, LookbothError

T = TypeVar("T")
PATIENCE = timedelta(hours=6)  # that one process may keep the others waiting; torchrun ends all when one dies


class Team(NamedTuple):
    """This process and how many there are, as torchrun and accelerate tell it by the environment.

    Args:
        rank: number of this process; the first, 0, writes files and speaks.
        size: how many processes train together; 1: this one alone.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def here(cls) -> "Team":
        """Return what the environment says."""
        size = int(os.environ.get("WORLD_SIZE") or 1)
        return cls(int(os.environ.get("RANK") or 0) if size > 1 else 0, size)

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0


def join() -> Team:
    """Connect this process with the others, each on its own GPU where there are GPUs; nothing where it is alone.

    Raises:
        ConfigError: more processes than GPUs on this machine, or a launcher that sets the arithmetic.
    """
    team = Team.here()
    if team.size > 1:
        import torch
        from accelerate import PartialState

        check_launch(torch.cuda.device_count())
        PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)
    return team


def leave() -> None:
    """End the connection of a finished process."""
    if Team.here().size > 1:
        import torch.distributed as dist

        if dist.is_initialized():
            dist.barrier()
            dist.destroy_process_group()


def require_alone(what: str) -> None:
    """Refuse what several processes cannot do together.

    Args:
        what: the command, for the message.

    Raises:
        ConfigError: this is one of several processes.
    """
    team = Team.here()
    if team.size > 1:
        raise ConfigError(
            f"{what}: started as {team.size} processes that train together (WORLD_SIZE={team.size}), but only lookboth "
            f"train and lookboth adapt share their work. Type {what} without torchrun or accelerate launch."
        )


def shards_weights() -> bool:
    """Whether the launcher asked for FSDP: each process keeps and trains a part of the weights."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def on_first(action: Callable[[], T]) -> T:
    """Let the first process do something while the others wait; return its result, or raise its error, in all."""
    team = Team.here()
    if team.size == 1:
        return action()
    import torch.distributed as dist

    told: list[Any] = [None]
    if team.is_first:
        try:
            told = [(action(), None)]
        except LookbothError as error:
            told = [(None, error)]
    dist.broadcast_object_list(told, src=0)
    result, refused = told[0]
    if refused is not None:
        raise refused
    return result  # type: ignore[no-any-return]


def from_all(value: T) -> list[T]:
    """Return what each process gave, in their order."""
    team = Team.here()
    if team.size == 1:
        return [value]
    import torch.distributed as dist

    values: list[Any] = [None] * team.size
    dist.all_gather_object(values, value)
    return values


def require_shared(file: Path) -> None:
    """Refuse a folder that is not the same for all processes.

    Args:
        file: what the first process has just written.

    Raises:
        DataError: some process does not see it.
    """
    deadline = time.monotonic() + 10  # network file systems take a moment
    while not file.is_file() and time.monotonic() < deadline:
        time.sleep(0.2)
    blind = [rank for rank, sees in enumerate(from_all(file.is_file())) if not sees]
    if blind:
        raise DataError(
            f"{file.parent}: process {blind[0]} does not see what process 0 wrote there. Give --out a folder that all "
            "machines share."
        )


def check_launch(num_gpus: int) -> None:
    """Refuse what a launcher asks for and cannot be had.

    Args:
        num_gpus: of this machine.

    Raises:
        ConfigError: more processes than GPUs, or settings that contradict the recipe.
    """
    here = int(os.environ.get("LOCAL_WORLD_SIZE") or 1)
    if 0 < num_gpus < here:
        raise ConfigError(
            f"{here} processes on this machine, but {num_gpus} GPUs: each process needs one of its own. "
            f"Type torchrun --nproc-per-node {num_gpus}."
        )
    arithmetic = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if arithmetic != "no":
        raise ConfigError(
            f"mixed_precision: {arithmetic} in the launcher's settings: the recipe says the arithmetic. Set "
            "mixed_precision: 'no' there and training.precision here."
        )
    if shards_weights() and os.environ.get("FSDP_VERSION", "1") != "2":
        raise ConfigError(
            "FSDP: only version 2 is supported. Set fsdp_version: 2 in accelerate's fsdp_config."
        )
    if shards_weights() and os.environ.get("FSDP_CPU_RAM_EFFICIENT_LOADING", "false").lower() == "true":
        raise ConfigError(
            "FSDP: each process reads the weights itself. Set fsdp_cpu_ram_efficient_loading: false in accelerate's "
            "fsdp_config."
        )
