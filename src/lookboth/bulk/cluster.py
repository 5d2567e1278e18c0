"""Ray: start workers on this machine or a cluster, assign parts to them and replace workers that die.

Ray Data only schedules. Reading, writing and resuming are in worker.py instead, for these reasons:

- Ray's readers of text and JSON lines fail on one invalid line, and rows lose their position in the file.
- Ray's checkpoints (`ray.data.checkpoint`, beta in 2.60) need a column of unique ids in the input and keep the ids of
  all finished rows in memory. They name files by block, so the rows of one file would be neither together nor in order.
- Parts have names fixed in advance and are renamed into place. So a part is written once, even if Ray gives it to a
  second worker because it lost contact with the first.
"""

import logging
import os
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lookboth.bulk.bulk_options import Workers
from lookboth.bulk.part_results import Receipt
from lookboth.bulk.worker import PartLabeler, WorkerSpec, receipt_from
from lookboth.compat import private_environment, quiet_environment
from lookboth.errors import ConfigError, LookbothError, first_line

# Bytes of Ray's object store, which only holds part numbers and receipts.
_LOCAL_STORE = 100_000_000


@contextmanager
def connected(workers: Workers) -> Iterator[None]:
    """Start Ray on this machine, or connect to a cluster; use an already initialized Ray unchanged.

    Raises:
        ConfigError: ray is not installed, or no cluster answers.
    """
    _set_environment(local=workers.address is None)
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ConfigError(f"bulk needs {error.name}. Type: pip install 'lookboth[bulk]'") from error
    if ray.is_initialized():
        yield
        return
    _start(workers.address)
    try:
        yield
    finally:
        ray.shutdown()


def _set_environment(*, local: bool) -> None:
    """Set the environment variables that Ray reads when it is imported and started; existing values stay.

    Anyone who can connect to Ray can run code in it. On this machine alone it therefore listens on the loopback
    interface only, and requires a key that is created for this process. If Ray was imported before, its own default
    applies (a key in the user's folder).
    """
    values = quiet_environment()
    if local and "ray" not in sys.modules:
        values |= private_environment()
    for name, value in values.items():
        os.environ.setdefault(name, value)


def _start(address: str | None) -> None:
    import ray

    if address is None:
        ray.init(
            "local",
            include_dashboard=False,
            object_store_memory=_LOCAL_STORE,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        return
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(f"--address {address}: {error}. Type: ray status") from error


def label_parts(job: WorkerSpec, parts: Sequence[int], workers: Workers) -> Generator[Receipt, None, None]:
    """Label parts in parallel and yield the receipt of each when it is written, in any order.

    Args:
        job: the run.
        parts: numbers of the parts to label.
        workers: worker processes.

    Raises:
        ConfigError: this machine has too few CPUs or GPUs.
        LookbothError: the error of a worker.
    """
    import ray
    import ray.data

    workers = workers.chosen(ray.cluster_resources())
    _quiet_ray_data()
    # Ray Data does not read: with workers on all CPUs, a reading task would never get one. One block per part makes
    # one task per part.
    # Ray creates the labeler in each worker, but the type annotation of `map` allows functions only.
    label: Any = PartLabeler
    items = ray.data.from_items([{"part": number} for number in parts], override_num_blocks=len(parts))
    receipts = items.map(
        label,
        fn_constructor_args=(job, "cuda" if workers.gpus else "cpu", workers.batch_tokens),
        compute=ray.data.ActorPoolStrategy(size=min(workers.count or 1, len(parts))),
        num_cpus=workers.cpus,
        num_gpus=workers.gpus or None,
    )
    try:
        for row in receipts.iter_rows():
            yield receipt_from(row)
    except ray.exceptions.RayError as error:
        raise LookbothError(
            f"Ray failed: {first_line(error)}. Finished parts are kept. Type the same command again to resume."
        ) from error


def _quiet_ray_data() -> None:
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # Ray Data raises every error that it logs, so the log would only repeat it.
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
