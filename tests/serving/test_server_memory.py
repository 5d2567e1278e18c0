"""A server returns freed memory to the system at intervals."""

import pytest

from lookboth.serving import server_memory
from lookboth.serving.server_memory import FreeMemory


def test_memory_is_returned_at_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    now, returned = [0.0], []
    monkeypatch.setattr(server_memory.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(server_memory, "return_free_memory", lambda: returned.append(now[0]))
    memory = FreeMemory()
    for seconds in (1.0, 11.0, 12.0, 30.0):
        now[0] = seconds
        memory.give_back()
    assert returned == [11.0, 30.0]
