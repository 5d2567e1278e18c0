"""Returns memory of a server to the system at intervals."""

import time

from lookboth.compat import return_free_memory

# Seconds between two returns, each of which takes up to 35 ms.
_SECONDS = 10.0


class FreeMemory:
    """Returns freed memory to the operating system at intervals; glibc otherwise keeps it."""

    def __init__(self) -> None:
        self._due = time.monotonic() + _SECONDS

    def give_back(self) -> None:
        """Return free memory to the system if `_SECONDS` have passed."""
        if time.monotonic() >= self._due:
            return_free_memory()
            self._due = time.monotonic() + _SECONDS
