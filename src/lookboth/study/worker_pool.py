"""Worker processes that run one cell after another; a crash affects only the worker's current cell."""

import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from multiprocessing.process import BaseProcess
from typing import Any, Literal

from lookboth.errors import LookbothError
from lookboth.memory import out_of_memory
from lookboth.progress import progress_to
from lookboth.study.cells import Cell


@dataclass(frozen=True)
class Event:
    """A message from a worker: a progress line, or the outcome of its cell.

    Args:
        kind: "progress", "done", "failed" (an error that would occur again) or "died" (the process has
            ended).
        cell: the cell that the message is about.
        text: the progress line or the error message.
    """

    kind: Literal["progress", "done", "failed", "died"]
    cell: Cell
    text: str = ""


@dataclass
class _Worker:
    process: BaseProcess
    pipe: connection.Connection
    cell: Cell | None = None


class WorkerPool:
    """A fixed number of worker processes; a context manager that ends them all.

    Args:
        count: number of processes.
        threads: number of CPU threads per process.
    """

    def __init__(self, count: int, *, threads: int) -> None:
        self.threads = threads
        self.workers = [self._start() for _ in range(count)]

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.process.terminate()
        for worker in self.workers:
            worker.process.join()

    def has_free(self) -> bool:
        """Return whether a worker is idle."""
        return any(worker.cell is None for worker in self.workers)

    def running(self) -> list[Cell]:
        """Return the cells that are running."""
        return [worker.cell for worker in self.workers if worker.cell is not None]

    def assign(self, cell: Cell) -> None:
        """Assign `cell` to an idle worker."""
        worker = next(worker for worker in self.workers if worker.cell is None)
        worker.cell = cell
        worker.pipe.send(cell)

    def events(self, timeout: float = 1.0) -> Iterator[Event]:
        """Yield the messages that workers sent within `timeout` seconds."""
        busy = {worker.pipe: worker for worker in self.workers if worker.cell is not None}
        for pipe in connection.wait(list(busy), timeout):
            worker = busy[pipe]  # type: ignore[index]
            cell = worker.cell
            assert cell is not None
            try:
                kind, text = worker.pipe.recv()
            except (EOFError, ConnectionResetError):
                worker.process.join()
                yield Event("died", cell, f"the process ended with code {worker.process.exitcode}")
                self.workers[self.workers.index(worker)] = self._start()
                continue
            if kind != "progress":
                worker.cell = None
            yield Event(kind, cell, text)

    def _start(self) -> _Worker:
        # A forked process could use neither CUDA nor the threads that torch has started.
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, self.threads), daemon=True)
        before = os.environ.get("OMP_NUM_THREADS")
        # OpenMP reads this variable once, when torch is imported.
        os.environ["OMP_NUM_THREADS"] = str(self.threads)
        try:
            process.start()
        finally:
            os.environ.pop("OMP_NUM_THREADS")
            if before is not None:
                os.environ["OMP_NUM_THREADS"] = before
        theirs.close()
        return _Worker(process, ours)


def _work(pipe: Any, threads: int) -> None:
    """Run the cells that arrive through the pipe until it is closed."""
    # Ctrl-C reaches the whole process group; the parent process handles it and ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from lookboth.quiet import quiet_libraries

    quiet_libraries()
    try:
        while True:
            pipe.send(_run(pipe.recv(), pipe, threads))
    except (EOFError, ConnectionError):
        return


def _end_with_parent() -> None:
    """End this process when its parent process is gone, for example after `kill -9`."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run(cell: Cell, pipe: Any, threads: int) -> tuple[str, str]:
    import torch

    from lookboth.study.cell_run import run_cell

    torch.set_num_threads(threads)
    # At most one progress line per second: the table is redrawn once per second.
    last = [0.0]

    def send(line: str) -> None:
        if time.monotonic() - last[0] > 1:
            last[0] = time.monotonic()
            pipe.send(("progress", line))

    try:
        with progress_to(send):
            run_cell(cell)
    except ConnectionError:
        raise
    except LookbothError as error:
        return "failed", str(error)
    except MemoryError:
        # After a failed allocation the process is in an unknown state; a new worker replaces it.
        os._exit(1)
    except Exception as error:
        return "failed", out_of_memory(error) or traceback.format_exc()
    return "done", ""
