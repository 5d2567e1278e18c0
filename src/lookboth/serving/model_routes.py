"""Routes that add and remove models of a running server; `RequestLimiter` checks their key."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lookboth.serving.batcher import Batcher
from lookboth.serving.refusals import Refusal
from lookboth.serving.requests import ModelRequest, json_schema, read_body
from lookboth.serving.served_models import ServedModels, Work
from lookboth.serving.steps import CutText, Step
from lookboth.types import Example

# Seconds that a change of the models may wait for the batches of requests before it.
_CHANGE_SECONDS = 600.0
# Seconds between two checks whether a model has waiting requests.
_LOOK_AGAIN = 0.05

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class ModelAdmin:
    """Handler of the routes that change the models.

    Args:
        models: labelers by name.
        batcher: runs the changes in the models' thread, between two batches.
    """

    models: ServedModels
    batcher: Batcher
    # One change at a time: a labeler is loaded for the models that there are.
    _changing: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def add(self, request: Request) -> Response:
        """Load a labeler under a new name while the others answer, and return the description of all models.

        Raises:
            Refusal: the request is invalid, or the models of this server cannot be changed.
            LookbothError: the name is taken, or the labeler cannot be loaded.
        """
        body = await request.body()
        wanted = read_body(body, request.headers.get("content-type", ""), ModelRequest)
        self._require_pool()
        async with self._changing:
            larger = await _in_own_thread(lambda: self.models.prepare(wanted.name, wanted.source))
            await self._run(lambda: self.models.add(larger))
            await self._run(lambda: self.models.warm_up(wanted.name))
        request.state.log |= {"model": wanted.name, "added": True}
        return JSONResponse(self.models.describe(), 201)

    async def remove(self, name: str, request: Request) -> Response:
        """Remove a model when its waiting requests are answered, and return the description of the others.

        Raises:
            Refusal: there is no such model, or the models of this server cannot be changed.
        """
        self._require_pool()
        async with self._changing:
            with self.models.retiring(name):
                while self.batcher.has_work(name):
                    await asyncio.sleep(_LOOK_AGAIN)
                await self._run(lambda: self.models.remove(name))
        request.state.log |= {"model": name[:100], "removed": True}
        return JSONResponse(self.models.describe())

    def _require_pool(self) -> None:
        if self.models.pool is None:
            raise Refusal(
                403, "fixed_models", "the models of this server cannot be changed",
                "a server started by lookboth serve", "Restart the server with other models.",
            )  # fmt: skip

    async def _run(self, change: Callable[[], Any]) -> None:
        """Run a change in the models' thread, in its turn."""
        # As the step of a stream, which is computed alone.
        work = Work("", stream="models")
        text = CutText(Example(()), (Step(1, change),))
        await asyncio.wrap_future(self.batcher.submit(work, [text], time.monotonic() + _CHANGE_SECONDS))


async def _in_own_thread(function: Callable[[], _Result]) -> _Result:
    """Run a function in a thread that ends with it, and so do its OpenMP workers; see `ModelThread`."""
    thread = ThreadPoolExecutor(1, "lookboth-loading")
    try:
        return await asyncio.get_running_loop().run_in_executor(thread, function)
    finally:
        thread.shutdown(wait=False)


def model_routes(admin: ModelAdmin, refusals: dict[int | str, dict[str, Any]]) -> APIRouter:
    """Return the routes that add and remove models.

    Args:
        admin: their handler.
        refusals: description of the error answers.
    """
    router = APIRouter(prefix="/v1/models")

    @router.post(
        "",
        status_code=201,
        summary="Load a labeler under a new name; needs the key of the administrator",
        responses=refusals,
        openapi_extra={"requestBody": json_schema(ModelRequest)},
    )
    async def add(request: Request) -> Response:
        return await admin.add(request)

    @router.delete(
        "/{name}", summary="Remove a model; needs the key of the administrator", responses=refusals
    )
    async def remove(name: str, request: Request) -> Response:
        return await admin.remove(name, request)

    return router
