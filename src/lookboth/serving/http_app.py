"""The FastAPI application of the server: routes, error answers and the page."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response, Security
from fastapi.responses import FileResponse, JSONResponse
from fastapi.security import HTTPBearer
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

import lookboth
from lookboth.errors import LookbothError
from lookboth.serving.assets import PAGE, swagger_folder
from lookboth.serving.batcher import Batcher
from lookboth.serving.model_routes import ModelAdmin, model_routes
from lookboth.serving.observing import Observer
from lookboth.serving.refusals import Refusal, RefusalBody, invalid
from lookboth.serving.request_handling import Labeling
from lookboth.serving.request_limits import RequestLimiter
from lookboth.serving.requests import LabelRequest, LabelResponse, PieceRequest, StreamRequest, json_schema
from lookboth.serving.served_models import ServedModels
from lookboth.serving.server_metrics import Metrics
from lookboth.serving.settings import ServerSettings
from lookboth.serving.streams import Streams

_STATUS = {
    400: "The Host header does not name this server.",
    404: "The stream does not exist.",
    401: "The key is missing or wrong.",
    403: "The models of this server cannot be changed.",
    408: "The request did not arrive in time.",
    413: "The request, a text or the number of texts is too large.",
    415: "The content type is not application/json.",
    422: "The request is invalid, or its model, label or plan does not exist.",
    429: "The queue is full; the header Retry-After has the seconds to wait.",
    500: "The server failed on this request.",
    503: "Not answered in time, or the server is stopping.",
}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": RefusalBody, "description": text} for status, text in _STATUS.items()
}


def build_app(
    models: ServedModels,
    settings: ServerSettings,
    *,
    api_key: str | None = None,
    admin_key: str | None = None,
    allowed_hosts: frozenset[str] | None = None,
    log_texts: bool = False,
) -> FastAPI:
    """Return the application; its worker starts and stops with it.

    Args:
        models: labelers by name.
        settings: limits and batching.
        api_key: key that clients must send; None: no key is required.
        admin_key: key for adding and removing models; None: they cannot be changed.
        allowed_hosts: names that the Host header may have; None allows any.
        log_texts: whether texts are written to the log.
    """
    metrics = Metrics()
    batcher = Batcher(
        models,
        settings,
        metrics,
        batch_tokens=models.batch_tokens,
        thread=models.thread,
        speeds=models.speeds,
    )
    labeling = Labeling(models, settings, batcher, metrics, log_texts)
    app = _bare_app(batcher, labeling)
    # The middleware added last is the outermost: the observer also counts the requests that the limiter refuses.
    app.add_middleware(
        RequestLimiter,
        settings=settings,
        api_key=api_key,
        admin_key=admin_key,
        allowed_hosts=allowed_hosts,
    )
    app.add_middleware(Observer, metrics=metrics)
    _add_error_answers(app)
    # This only documents the key in /docs; `RequestLimiter` checks it, before the body is read.
    documented_key = [Security(HTTPBearer(auto_error=False))] if api_key else []
    streams = Streams(models, settings, batcher)
    app.include_router(_labeling_routes(labeling), dependencies=documented_key)
    app.include_router(_stream_routes(streams), dependencies=documented_key)
    app.include_router(
        model_routes(ModelAdmin(models, batcher), _REFUSALS),
        dependencies=[Security(HTTPBearer(auto_error=False))],
    )
    _add_probes(app, batcher, metrics)
    _add_page(app)
    return app


def _bare_app(batcher: Batcher, labeling: Labeling) -> FastAPI:
    """Return an application without routes that stops the worker at its end."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        # In a thread, because `close` waits for accepted requests and would block the event loop that answers them.
        await asyncio.to_thread(batcher.close)
        labeling.text_thread.shutdown(wait=False, cancel_futures=True)

    return FastAPI(
        title="lookboth",
        version=lookboth.__version__,
        # /docs is a page of this package: FastAPI's own pages load scripts from the internet.
        docs_url=None,
        redoc_url=None,
        # A redirect would lead to the host that the request names, which may be any.
        redirect_slashes=False,
        lifespan=lifespan,
    )


def _labeling_routes(labeling: Labeling) -> APIRouter:
    router = APIRouter(prefix="/v1")

    @router.post(
        "/label",
        summary="Label one or many texts",
        responses={200: {"model": LabelResponse}, **_REFUSALS},
        openapi_extra={"requestBody": json_schema(LabelRequest)},
    )
    async def label(request: Request) -> Response:
        return await labeling.answer(request)

    @router.get("/models", summary="List the models with their labels and mask plans")
    def list_models() -> list[dict[str, Any]]:
        return labeling.models.describe()

    return router


def _stream_routes(streams: Streams) -> APIRouter:
    router = APIRouter(prefix="/v1/streams")

    @router.post(
        "",
        summary="Open a stream, to label text while it arrives; the answer is server-sent events",
        responses={200: {"content": {"text/event-stream": {}}}, **_REFUSALS},
        openapi_extra={"requestBody": json_schema(StreamRequest)},
    )
    async def open_stream(request: Request) -> Response:
        return await streams.open(request)

    @router.post(
        "/{stream}",
        status_code=202,
        summary="Give a stream its next text; what becomes final is an event of the stream",
        responses=_REFUSALS,
        openapi_extra={"requestBody": json_schema(PieceRequest)},
    )
    async def push(stream: str, request: Request) -> Response:
        return await streams.push(stream, request)

    return router


def _add_error_answers(app: FastAPI) -> None:
    """Answer every error with the same JSON fields."""

    def refused(request: Request, refusal: Refusal) -> Response:
        request.scope["state"]["refused"] = refusal.reason
        return JSONResponse(refusal.body(), refusal.status, refusal.headers())

    @app.exception_handler(Refusal)
    async def refuse(request: Request, error: Refusal) -> Response:
        return refused(request, error)

    @app.exception_handler(LookbothError)
    async def cannot(request: Request, error: LookbothError) -> Response:
        return refused(request, invalid(str(error).rstrip("."), "the values in the error"))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        found = f"{request.method} {request.url.path[:100]}: {error.detail}"
        refusal = Refusal(error.status_code, "no_such_path", found, "the paths shown at /docs", "See /docs.")
        return JSONResponse(refusal.body(), refusal.status, error.headers)


def _add_probes(app: FastAPI, batcher: Batcher, metrics: Metrics) -> None:
    @app.get("/healthz", summary="Check that the worker is running")
    def health() -> Response:
        return JSONResponse({"ok": batcher.alive}, 200 if batcher.alive else 503)

    # A stopping server is healthy but not ready, so a load balancer sends it no new requests.
    @app.get("/readyz", summary="Check that requests are accepted")
    def ready() -> Response:
        return JSONResponse({"ready": batcher.accepts}, 200 if batcher.accepts else 503)

    @app.get("/metrics", summary="Return the metrics for Prometheus")
    def show_metrics() -> Response:
        return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)


def _add_page(app: FastAPI) -> None:
    app.mount("/page", StaticFiles(directory=PAGE))
    app.mount("/swagger", StaticFiles(directory=swagger_folder()))

    @app.get("/", include_in_schema=False)
    def page() -> Response:
        return FileResponse(PAGE / "index.html")

    @app.get("/docs", include_in_schema=False)
    def docs() -> Response:
        return FileResponse(PAGE / "docs.html")
