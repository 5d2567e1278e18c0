"""The single thread of a server that loads and runs models."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class ModelThread:
    """Runs submitted functions in order in one daemon thread.

    Each thread that computes with torch starts its own OpenMP workers. With more workers than cores, OpenMP lets them
    sleep between operations instead of spinning. A model loaded in one thread and run in another is therefore about
    half as fast on two cores, so loading and computing both happen in this thread.
    """

    def __init__(self) -> None:
        self._tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="lookboth-models", daemon=True)
        self._thread.start()

    def submit(self, function: Callable[..., _Result], *args: Any, **keywords: Any) -> "Future[_Result]":
        """Queue a function call and return the future of its result."""
        future: Future[_Result] = Future()

        def run() -> None:
            try:
                future.set_result(function(*args, **keywords))
            # Also SystemExit and KeyboardInterrupt: a caller that waits for the future would otherwise hang.
            except BaseException as error:
                future.set_exception(error)

        self._tasks.put(run)
        return future

    def _work(self) -> None:
        while True:
            self._tasks.get()()
