"""Progress messages: records of the loggers below "lookboth", and how a program shows them as lines."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LOGGER = logging.getLogger("lookboth")


class _LineHandler(logging.Handler):
    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self.write = write

    def emit(self, record: logging.LogRecord) -> None:
        # Errors of `write` are raised, unlike in other handlers: a closed pipe or a full disk ends the run.
        mark = "Warning: " if record.levelno >= logging.WARNING else ""
        self.write(mark + record.getMessage())


@contextmanager
def progress_to(write: Callable[[str], None]) -> Iterator[None]:
    """Pass progress messages to `write` inside this context; handlers that exist already get them too.

    Args:
        write: called with each message, usually one line, without a newline at its end.
    """
    handler, level = _LineHandler(write), _LOGGER.level
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(min(logging.INFO, _LOGGER.getEffectiveLevel()))
    try:
        yield
    finally:
        _LOGGER.removeHandler(handler)
        _LOGGER.setLevel(level)


@contextmanager
def without_progress() -> Iterator[None]:
    """Drop progress messages and warnings inside this context, for example of the many trainings of a search."""
    level = _LOGGER.level
    silence_progress()
    try:
        yield
    finally:
        _LOGGER.setLevel(level)


def silence_progress() -> None:
    """Drop progress messages and warnings from now on, in processes that repeat what rank 0 logs."""
    _LOGGER.setLevel(logging.ERROR)
