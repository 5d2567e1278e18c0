"""Internals of uvicorn: a protocol that closes connections whose request does not begin in time."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol


class PunctualProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol with a time limit of `seconds` for the headers of each request.

    uvicorn's own timer, `timeout_keep_alive`, only runs from an answer to the next byte. A client that sends nothing
    at first, or stops in the middle of the headers, would keep the connection for ever. The same holds for a body
    that was refused unread. The application limits the time of bodies that are read.

    uvicorn has no setting for this, and hypercorn's `read_timeout` starts again with every byte and runs while a
    client waits for its answer. This class relies on four attributes of uvicorn's protocol: `cycle` with its
    `response_complete`, `transport` and `loop`. Seen to work with uvicorn 0.54.
    """

    seconds: float
    _closing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer for the first request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Stop the timer if the headers are complete; otherwise start it or let it run."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
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
    """Return the protocol class with this time limit, as uvicorn's `http` setting takes it."""
    return type("PunctualProtocol", (PunctualProtocol,), {"seconds": seconds})
