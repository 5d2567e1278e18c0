"""From a request to its answer: read, checked, put into the queue, and waited for as long as somebody listens."""

import asyncio
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lookboth.serving.batcher import Batcher
from lookboth.serving.metrics import Metrics
from lookboth.serving.models import ServedModels
from lookboth.serving.refusals import Refusal, hung_up
from lookboth.serving.requests import read_request
from lookboth.serving.settings import ServerSettings
from lookboth.types import Prediction


@dataclass(frozen=True)
class Labeling:
    """What answers `/v1/label`.

    Args:
        models: labelers by name.
        settings: limits.
        batcher: does the work.
        metrics: where texts are counted.
        log_texts: whether texts are written to the log.
    """

    models: ServedModels
    settings: ServerSettings
    batcher: Batcher
    metrics: Metrics
    log_texts: bool = False

    async def answer(self, request: Request) -> Response:
        """Return the predictions asked for.

        Raises:
            Refusal: what was asked cannot be read or is not there, is too much, or did not come in time.
        """
        body = await request.body()
        wanted = read_request(body, request.headers.get("content-type", ""), self.settings)
        work, texts = self.models.find(wanted.model, wanted.plan), wanted.all_texts()
        config = self.models.labelers[work.model].config
        wanted.check(config)
        log = {"model": work.model, "texts": len(texts), "chars": sum(map(len, texts))}
        request.state.log |= log | ({"text": texts} if self.log_texts else {})
        predictions = await self._wait(self.batcher.submit(work, texts), request)
        self.metrics.texts.labels(work.model).inc(len(texts))
        found = [wanted.select(prediction, config).to_dict() for prediction in predictions]
        return JSONResponse({"model": work.model, "predictions": found})

    async def _wait(self, future: "Future[list[Prediction]]", request: Request) -> list[Prediction]:
        """Return the predictions; when the client leaves or the time is over, the rest is never computed."""
        seconds = self.settings.timeout_seconds
        answer, left = asyncio.wrap_future(future), asyncio.ensure_future(_until_gone(request))
        waiting: set[asyncio.Future[Any]] = {answer, left}
        try:
            done, _ = await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            left.cancel()
            if not answer.done():
                answer.cancel()
        if answer in done:
            return answer.result()
        if left in done:
            raise hung_up()
        raise Refusal(
            503, "timeout", "no answer in time", f"{seconds:g} seconds for a request",
            "Ask again with fewer or shorter texts, or when the server is less busy.", 5,
        )  # fmt: skip


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
