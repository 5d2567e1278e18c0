"""Handling of label requests: read, check, cut into steps, queue, and answer unless the client has left."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lookboth.serving.batcher import Batcher
from lookboth.serving.refusals import Refusal, hung_up, too_large
from lookboth.serving.requests import LabelRequest, read_request
from lookboth.serving.served_models import ServedModels, Work
from lookboth.serving.server_metrics import Metrics
from lookboth.serving.settings import ServerSettings
from lookboth.serving.steps import CutText
from lookboth.types import Prediction

# Characters tokenized at once. This takes some milliseconds; then other requests get their turn.
_GROUP_CHARS = 10_000

_Result = TypeVar("_Result")


def _text_thread() -> ThreadPoolExecutor:
    # One worker only, as `ServedModels.cut` may run in one thread at a time.
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="lookboth-texts")


@dataclass(frozen=True)
class Labeling:
    """Handler of `/v1/label`.

    Args:
        models: labelers by name.
        settings: limits.
        batcher: computes the predictions.
        metrics: where texts are counted.
        log_texts: whether texts are written to the log.
        text_thread: where texts are tokenized and answers serialized, so that the event loop is not blocked.
    """

    models: ServedModels
    settings: ServerSettings
    batcher: Batcher
    metrics: Metrics
    log_texts: bool = False
    text_thread: ThreadPoolExecutor = field(default_factory=_text_thread)

    async def answer(self, request: Request) -> Response:
        """Return the predictions for a request.

        Raises:
            Refusal: the request is invalid or too large, or could not be answered in time.
        """
        body = await request.body()
        wanted = read_request(body, request.headers.get("content-type", ""), self.settings)
        work, texts = self.models.find(wanted.model, wanted.plan, wanted.labels), wanted.all_texts()
        if work.labels is not None:
            # The labels are named, so there are no others to leave out.
            wanted = wanted.model_copy(update={"labels": None})
        wanted.check(self.models.labelers[work.model].config, self.models.labels_of(work))
        if wanted.document:
            self.models.require_context(work)
        log = {"model": work.model, "texts": len(texts), "chars": sum(map(len, texts))}
        request.state.log |= log | ({"text": texts} if self.log_texts else {})
        return await self._answer_or_cancel(self._answer(work, texts, wanted), request)

    async def _answer(self, work: Work, texts: Sequence[str], wanted: LabelRequest) -> Response:
        deadline = time.monotonic() + self.settings.timeout_seconds
        # Looked up now, because the model may be removed while its last answer is written.
        config = self.models.labelers[work.model].config
        # A text has at least one token, so a full queue refuses the request here, before texts are tokenized.
        self.batcher.check(work, len(texts), deadline)
        cut = await (self._cut_document(work, texts) if wanted.document else self._cut(work, texts))
        predictions = await asyncio.wrap_future(self.batcher.submit(work, cut, deadline))
        self.metrics.texts.labels(work.model).inc(len(texts))
        return await self._in_text_thread(partial(_render, work.model, config, predictions, wanted))

    async def _cut(self, work: Work, texts: Sequence[str]) -> list[CutText]:
        """Cut the texts into steps, a few texts at a time.

        Raises:
            Refusal: 413, one text or all texts together have too many tokens.
        """
        cut: list[CutText] = []
        for group in _groups(texts):
            cut += await self._in_text_thread(partial(self.models.cut, work, group))
            self._check_tokens(cut, len(group))
        return cut

    async def _cut_document(self, work: Work, texts: Sequence[str]) -> list[CutText]:
        """Cut the texts of one document into steps, all at once; refusals as in `_cut`."""
        cut = await self._in_text_thread(partial(self.models.cut_document, work, texts))
        self._check_tokens(cut, len(texts))
        return cut

    def _check_tokens(self, cut: Sequence[CutText], new: int) -> None:
        for index in range(len(cut) - new, len(cut)):
            if cut[index].tokens > self.settings.text_tokens:
                found, allowed = f"{cut[index].tokens} tokens", f"{self.settings.text_tokens} tokens"
                raise too_large(f"text {index}", found, allowed, "Cut it into paragraphs and send these.")
        total = sum(text.tokens for text in cut)
        if total > self.settings.queue_tokens:
            allowed = f"{self.settings.queue_tokens} tokens"
            raise too_large(
                "the request", f"more than {allowed}", allowed, "Send the texts in several requests."
            )

    async def _in_text_thread(self, function: Callable[[], _Result]) -> _Result:
        """Run a function in the text thread and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self.text_thread, function)

    async def _answer_or_cancel(self, answering: Any, request: Request) -> Response:
        """Return the answer; if the client leaves or the time is over, cancel the remaining work.

        Raises:
            Refusal: 499 the client left; 503 the time is over.
        """
        seconds = self.settings.timeout_seconds
        answer, left = asyncio.ensure_future(answering), asyncio.ensure_future(_until_disconnected(request))
        waiting: set[asyncio.Future[Any]] = {answer, left}
        try:
            done, _ = await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            left.cancel()
            # This also cancels the future of the batcher, which then drops the remaining steps.
            if not answer.done():
                answer.cancel()
        if answer in done:
            response: Response = answer.result()
            return response
        if left in done:
            raise hung_up()
        raise Refusal(
            503, "timeout", "no answer in time", f"{seconds:g} seconds per request",
            "Ask again with fewer or shorter texts, or when the server is less busy.", 5,
        )  # fmt: skip


def _groups(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the texts in order, in groups of about `_GROUP_CHARS` characters."""
    group: list[str] = []
    for text in texts:
        group.append(text)
        if sum(map(len, group)) >= _GROUP_CHARS:
            yield group
            group = []
    if group:
        yield group


def _render(model: str, config: Any, predictions: Sequence[Prediction], wanted: LabelRequest) -> Response:
    found = [wanted.select(prediction, config).to_dict() for prediction in predictions]
    return JSONResponse({"model": model, "predictions": found})


async def _until_disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
