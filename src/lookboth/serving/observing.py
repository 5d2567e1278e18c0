"""Metrics and logs of requests: one line of JSON per request, without the text."""

import asyncio
import json
import logging
import re
import sys
import time
import traceback
import uuid
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lookboth.serving.refusals import crashed, stopping
from lookboth.serving.server_metrics import Metrics

LOGGER = logging.getLogger("lookboth.serving")
# Only these paths become labels of the metrics. A label per requested path would let clients fill the memory.
PATHS = frozenset(
    {
        "/",
        "/v1/label",
        "/v1/streams",
        "/v1/models",
        "/healthz",
        "/readyz",
        "/metrics",
        "/docs",
        "/openapi.json",
    }
)
# Other ids are replaced, as a client's header could otherwise put any text into the log.
_REQUEST_ID = re.compile(r"[\w.-]{1,64}")
# The page may load files of this server only, so that injected code cannot run or send data elsewhere.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Observer:
    """Outermost ASGI middleware: gives each request an id, times, counts and logs it, and answers crashes.

    Handlers add further fields of the log line to `request.state.log`.

    Args:
        app: the application.
        metrics: where requests are counted.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request and record its outcome."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["log"] = {}
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        start, status = time.monotonic(), 0

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS | {"X-Request-Id": request_id})
            await send(message)

        try:
            await self._app(scope, receive, observed)
        # Only a stopping server cancels requests, after `stop_seconds`; their clients still get an answer.
        except asyncio.CancelledError:
            if not status:
                refusal = stopping()
                scope["state"]["refused"] = refusal.reason
                await JSONResponse(refusal.body(), refusal.status, refusal.headers())(
                    scope, receive, observed
                )
        except Exception as error:
            _log_crash(error, request_id)
            # With a status the answer has already started, and a second one cannot be sent.
            if not status:
                refusal = crashed(type(error).__name__)
                await JSONResponse(refusal.body(), refusal.status)(scope, receive, observed)
        finally:
            self._count(scope, request_id, status, time.monotonic() - start)

    def _count(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        path = scope["path"] if scope["path"] in PATHS else "other"
        refused = scope["state"].get("refused")
        self._metrics.requests.labels(path, status).inc()
        self._metrics.seconds.labels(path).observe(seconds)
        if refused == "hung_up":
            self._metrics.hangups.inc()
        elif refused:
            self._metrics.refused.labels(refused).inc()
        fields = {"id": request_id, "method": scope["method"], "path": path, "status": status}
        fields |= {"ms": round(1000 * seconds, 1)} | ({"refused": refused} if refused else {})
        # Probes ask every few seconds and would fill the log.
        quiet = path in {"/healthz", "/readyz", "/metrics"}
        log_event("request", logging.DEBUG if quiet else logging.INFO, **fields, **scope["state"]["log"])


class JsonFormatter(logging.Formatter):
    """Formats each log record as one line of JSON: time, level, event and fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; the message of the record is the event."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        return json.dumps(line | getattr(record, "fields", {}))


def log_event(event: str, level: int = logging.INFO, **fields: Any) -> None:
    """Log an event with its fields."""
    LOGGER.log(level, event, extra={"fields": fields})


def log_as_json() -> None:
    """Log to standard error as JSON lines: the server's events, and the warnings of libraries."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    levels = {"": logging.WARNING, "lookboth.serving": logging.INFO, "uvicorn": logging.WARNING}
    for name, level in levels.items():
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)


def _log_crash(error: Exception, request_id: str) -> None:
    """Log the type and the stack of an error; its message may contain the text and is left out."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-12:]]
    log_event("crash", logging.ERROR, id=request_id, kind=type(error).__name__, places=places)
