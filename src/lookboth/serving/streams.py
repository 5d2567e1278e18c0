"""Streams of the server: texts labeled while they arrive, answered as server-sent events."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from lookboth.inference import StreamUpdate, WordStream
from lookboth.serving.batcher import Batcher
from lookboth.serving.refusals import Refusal, invalid, too_large
from lookboth.serving.requests import PieceRequest, StreamRequest, check_labels, check_size, read_body
from lookboth.serving.served_models import ServedModels, Work
from lookboth.serving.settings import ServerSettings
from lookboth.serving.steps import CutText, Step
from lookboth.types import Example

# Tokens that a piece of text is estimated to have, for admission: one, and one for every four characters.
_CHARS_PER_TOKEN = 4
# Seconds between two checks of a stream whose piece is being labeled.
_SHORTEST_WAIT = 0.05


@dataclass
class OpenStream:
    """A stream of one client.

    Args:
        work: model, plan and id.
        words: the labeling stream; it runs in the models' thread only.
        events: updates that the client has not received; None ends the answer.
        turn: held while a piece is labeled, so that pieces are labeled in the order of their requests.
        num_chars: characters received.
        used: when the last piece arrived, on the monotonic clock.
    """

    work: Work
    words: WordStream
    events: "asyncio.Queue[StreamUpdate | None]" = field(default_factory=asyncio.Queue)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    num_chars: int = 0
    used: float = field(default_factory=time.monotonic)


class Streams:
    """Handler of `/v1/streams`: the answer to the request that opens a stream is its updates, as server-sent events.

    Args:
        models: labelers by name.
        settings: limits.
        batcher: runs the steps of streams between those of other requests.
    """

    def __init__(self, models: ServedModels, settings: ServerSettings, batcher: Batcher) -> None:
        self._models, self._settings, self._batcher = models, settings, batcher
        self._open: dict[str, OpenStream] = {}
        self._opening = 0

    async def open(self, request: Request) -> Response:
        """Open a stream, and return its events until it is finished, idle for too long, or its client leaves.

        Raises:
            Refusal: the request is invalid, or too many streams are open.
            LookbothError: the labeler cannot label a stream.
        """
        body = await request.body()
        wanted = read_body(body, request.headers.get("content-type", ""), StreamRequest)
        check_labels(wanted.labels, self._settings)
        found = self._models.find(wanted.model, wanted.plan, wanted.labels)
        if wanted.labels is not None and found.labels is None:
            raise invalid(f"the labels of the model {found.model!r} are fixed", "a stream without labels")
        # The id is a secret: who knows it can add text to the stream.
        work = found._replace(stream=uuid.uuid4().hex)
        self._require_room()
        self._opening += 1
        try:
            words = await self._run(work, 1, lambda: self._models.labeler(work).open_stream(lag=wanted.lag))
        finally:
            self._opening -= 1
        assert work.stream is not None
        self._open[work.stream] = stream = OpenStream(work, words)
        request.state.log |= {"model": work.model, "stream": True}
        return StreamingResponse(
            self._events(work.stream, stream),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store"},
        )

    async def push(self, name: str, request: Request) -> Response:
        """Label the next text of a stream, and return 202; what becomes final is an event of the stream.

        Raises:
            Refusal: the stream does not exist, the request is invalid, or the text too long.
        """
        body = await request.body()
        wanted = read_body(body, request.headers.get("content-type", ""), PieceRequest)
        check_size("the text", wanted.text, self._settings)
        stream = self._find(name)
        async with stream.turn:
            # An earlier request may have finished the stream.
            self._find(name)
            await self._label(stream, wanted)
        request.state.log |= {"model": stream.work.model, "chars": len(wanted.text)}
        return JSONResponse({"chars": stream.num_chars}, 202)

    async def _label(self, stream: OpenStream, wanted: PieceRequest) -> None:
        total, most = stream.num_chars + len(wanted.text), self._settings.stream_chars
        if total > most:
            raise too_large("the stream", f"{total} characters", f"{most} characters", "Open another stream.")
        stream.used = time.monotonic()
        tokens = 1 + len(wanted.text) // _CHARS_PER_TOKEN
        try:
            for update in await self._run(stream.work, tokens, partial(_label, stream.words, wanted)):
                stream.events.put_nowait(update)
        except Refusal:
            # Refused before it was labeled: the client may send the same piece again.
            raise
        except BaseException:
            # The stream may have labeled a part of the piece, so it cannot continue.
            self._close(stream)
            raise
        stream.num_chars, stream.used = total, time.monotonic()
        if wanted.finish:
            self._close(stream)

    async def _run(self, work: Work, tokens: int, call: Callable[[], Any]) -> Any:
        """Run a function in the models' thread, in its turn, and return its result."""
        text = CutText(Example(()), (Step(tokens, call),))
        deadline = time.monotonic() + self._settings.timeout_seconds
        (result,) = await asyncio.wrap_future(self._batcher.submit(work, [text], deadline))
        return result

    async def _events(self, name: str, stream: OpenStream) -> AsyncIterator[str]:
        try:
            yield _event("open", {"stream": name, "model": stream.work.model})
            while (update := await self._next_update(stream)) is not None:
                if update.words or update.spans:
                    yield _event("update", update.to_dict())
            yield _event("end", {"chars": stream.num_chars})
        finally:
            # Also when the client has left.
            self._open.pop(name, None)

    async def _next_update(self, stream: OpenStream) -> StreamUpdate | None:
        """Return the next update, or None when the stream is finished or was idle for too long."""
        while stream.turn.locked() or self._idle(stream) < self._settings.stream_seconds:
            left = max(_SHORTEST_WAIT, self._settings.stream_seconds - self._idle(stream))
            try:
                async with asyncio.timeout(left):
                    return await stream.events.get()
            except TimeoutError:
                continue
        return None

    def _idle(self, stream: OpenStream) -> float:
        return time.monotonic() - stream.used

    def _close(self, stream: OpenStream) -> None:
        assert stream.work.stream is not None
        self._open.pop(stream.work.stream, None)
        stream.events.put_nowait(None)

    def _find(self, name: str) -> OpenStream:
        if name not in self._open:
            raise Refusal(
                404, "no_such_stream", "there is no such stream",
                "streams that are open", "Open one: POST /v1/streams. A stream ends with its connection.",
            )  # fmt: skip
        return self._open[name]

    def _require_room(self) -> None:
        # A client that leaves before its first event leaves its stream behind.
        for name, stream in list(self._open.items()):
            if self._idle(stream) > 2 * self._settings.stream_seconds:
                del self._open[name]
        if len(self._open) + self._opening >= self._settings.streams:
            raise Refusal(
                429, "too_many_streams", f"{self._settings.streams} streams are open",
                f"{self._settings.streams} streams at once", "Close one, or ask again later.", 5,
            )  # fmt: skip


def _label(words: WordStream, wanted: PieceRequest) -> list[StreamUpdate]:
    """Label a piece of text; an empty update is not returned."""
    updates = [words.push_text(wanted.text)] + ([words.finish()] if wanted.finish else [])
    return [update for update in updates if update.words or update.spans]


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
