"""Ray: starts workers on this machine or a cluster, hands them parts, replaces those that die.

Ray Data schedules; what it could also do is done in worker.py instead, for these reasons:

- Its readers of text and JSON lines fail as a whole on one bad line, and rows lose their place in the file.
- Its checkpoints (`ray.data.checkpoint`, beta in 2.60) need a column of unique ids in the input, keep the ids of all
  finished rows in memory, and write files named by block: rows of a file would not lie together, nor in order.
- Parts that are named in advance and renamed into place are written once whoever tries how often, also when Ray gives
  a part to a second worker because it lost sight of the first.
"""

import logging
import os
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from secrets import token_hex
from typing import Any

from lookboth.bulk.bulk_options import Workers
from lookboth.bulk.part_results import Receipt
from lookboth.bulk.worker import Job, PartLabeler, receipt_from
from lookboth.errors import ConfigError, LookbothError, first_line

_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # 0: listens on 127.0.0.1 alone, whatever the name says
_LOCAL_STORE = 100_000_000  # bytes; what travels are numbers of parts and receipts


@contextmanager
def connected(workers: Workers) -> Iterator[None]:
    """Start Ray on this machine, or connect to a cluster; a Ray that the caller has started is used as it is.

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
    """Set what Ray reads when it is imported and started; what the user has set stays.

    Who reaches a Ray can run code in it. On this machine alone it therefore listens on the loopback interface only,
    and to nobody without a key that is made for this process. Where Ray was imported before, its own default holds
    (a key in the user's folder).
    """
    values = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_BACKEND_LOG_LEVEL": "fatal",  # warnings of its C++ side mean nothing to a user
    }
    if local and "ray" not in sys.modules:
        values |= {_LOOPBACK: "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token_hex(32)}
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


def label_parts(job: Job, parts: Sequence[int], workers: Workers) -> Generator[Receipt, None, None]:
    """Yield the receipt of each part when it is written, in any order.

    Args:
        job: the run.
        parts: numbers of the parts to do.
        workers: what does the work.

    Raises:
        ConfigError: this machine has not as many CPUs or GPUs.
        LookbothError: what a worker raised.
    """
    import ray
    import ray.data

    workers = workers.chosen(ray.cluster_resources())
    _quiet_ray_data()
    # No reading step: with workers on all CPUs no task of it would ever get one. A block a part: a task a part.
    label: Any = PartLabeler  # Ray makes it in each worker; its annotation knows functions only
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
            f"Ray gave up: {first_line(error)}. What is written stays; type the same again to go on."
        ) from error


def _quiet_ray_data() -> None:
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what it logs it also raises
