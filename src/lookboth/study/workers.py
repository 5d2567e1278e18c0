"""Worker processes that run one cell after another; one that dies takes only its own cell with it."""

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
from lookboth.study.cells import Cell


@dataclass(frozen=True)
class Event:
    """What a worker tells: a line of progress, or how its cell ended.

    Args:
        kind: "said", "done", "failed" (an error the cell would meet again) or "died" (the process is gone).
        cell: the cell spoken of.
        text: the line, or the error.
    """

    kind: Literal["said", "done", "failed", "died"]
    cell: Cell
    text: str = ""


@dataclass
class _Worker:
    process: BaseProcess
    pipe: connection.Connection
    cell: Cell | None = None


class Workers:
    """A fixed number of processes; use as a context manager, which ends them all.

    Args:
        count: processes.
        threads: CPU threads each may use.
    """

    def __init__(self, count: int, *, threads: int) -> None:
        self.threads = threads
        self.workers = [self._start() for _ in range(count)]

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.process.terminate()
        for worker in self.workers:
            worker.process.join()

    def has_free(self) -> bool:
        """Return whether a cell would start at once."""
        return any(worker.cell is None for worker in self.workers)

    def running(self) -> list[Cell]:
        """Return the cells being run."""
        return [worker.cell for worker in self.workers if worker.cell is not None]

    def give(self, cell: Cell) -> None:
        """Let a free worker run `cell`."""
        worker = next(worker for worker in self.workers if worker.cell is None)
        worker.cell = cell
        worker.pipe.send(cell)

    def events(self, timeout: float = 1.0) -> Iterator[Event]:
        """Yield what workers told within `timeout` seconds."""
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
            if kind != "said":
                worker.cell = None
            yield Event(kind, cell, text)

    def _start(self) -> _Worker:
        context = get_context("spawn")  # a forked process cannot use CUDA, nor threads that torch began
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, self.threads), daemon=True)
        before = os.environ.get("OMP_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = str(self.threads)  # read when torch is imported
        try:
            process.start()
        finally:
            os.environ.pop("OMP_NUM_THREADS")
            if before is not None:
                os.environ["OMP_NUM_THREADS"] = before
        theirs.close()
        return _Worker(process, ours)


def _work(pipe: Any, threads: int) -> None:
    """Run the cells that come through the pipe until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from lookboth.quiet import quiet_libraries

    quiet_libraries()
    try:
        while True:
            pipe.send(_run(pipe.recv(), pipe, threads))
    except (EOFError, ConnectionError):
        return


def _end_with_parent() -> None:
    """End this process when the one that started it is gone, killed without a chance to say so."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run(cell: Cell, pipe: Any, threads: int) -> tuple[str, str]:
    import torch

    from lookboth.study.cell_run import run_cell

    torch.set_num_threads(threads)
    last = [0.0]

    def say(line: str) -> None:
        if time.monotonic() - last[0] > 1:
            last[0] = time.monotonic()
            pipe.send(("said", line))

    try:
        run_cell(cell, say)
    except ConnectionError:
        raise
    except LookbothError as error:
        return "failed", str(error)
    except MemoryError:
        os._exit(1)  # what is left of the process cannot be trusted
    except Exception as error:
        return "failed", out_of_memory(error) or traceback.format_exc()
    return "done", ""
