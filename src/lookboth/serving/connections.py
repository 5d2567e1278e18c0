"""Connections of the server: one whose client does not send the head of a request in time is closed."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol


class PunctualProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, where a client that has nothing under way has `seconds` for the head of its next request.

    uvicorn's own timer, `keep_alive_seconds`, runs from an answer to the next byte only: a client that sends nothing at
    first, or stops in the middle of a head, or of a body that was refused unread, would keep the connection for ever.
    Bodies that are read are timed by `Gate`.

    uvicorn has no setting for this, and hypercorn's `read_timeout` starts again with every byte and runs while a
    client waits for its answer. So this class relies on four attributes of uvicorn's protocol, `cycle` with its
    `response_complete`, `transport` and `loop`; seen to work with 0.54, and a test checks what they mean.
    """

    seconds: float
    _closing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Wait no longer if a head is complete; else go on, or begin to."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        super().connection_lost(exc)
        self._stop()

    def _watch(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop()
        elif self._closing is None:
            self._closing = self.loop.call_later(self.seconds, self.transport.close)

    def _stop(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None


def punctual(seconds: float) -> type[asyncio.Protocol]:
    """Return the protocol with the time a client has, in the form uvicorn takes."""
    return type("PunctualProtocol", (PunctualProtocol,), {"seconds": seconds})
