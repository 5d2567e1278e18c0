"""The one thread of a server that loads and runs models."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class ModelThread:
    """Runs what it is given in one thread, in order; the process may end without waiting for it.

    Every thread that computes with torch keeps OpenMP helpers of its own, and once there are more of them than cores
    they sleep after each step instead of waiting awake. A model loaded in one thread and run in another is therefore
    about half as fast on two cores: what touches a model, loading included, happens here.
    """

    def __init__(self) -> None:
        self._tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="lookboth-models", daemon=True)
        self._thread.start()

    def submit(self, function: Callable[..., _Result], *args: Any, **keywords: Any) -> "Future[_Result]":
        """Return the result to come of calling the function in the thread."""
        future: Future[_Result] = Future()

        def run() -> None:
            try:
                future.set_result(function(*args, **keywords))
            except BaseException as error:
                future.set_exception(error)

        self._tasks.put(run)
        return future

    def _work(self) -> None:
        while True:
            self._tasks.get()()
