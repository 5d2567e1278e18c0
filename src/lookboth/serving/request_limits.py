"""Checks before the application: host, API key, and size and duration of the request body."""

import asyncio
import hmac
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lookboth.serving.refusals import Refusal, hung_up, too_large
from lookboth.serving.settings import ServerSettings

# Paths without a key: a browser cannot send one when it loads the page, and probes have no texts.
_OPEN_TO_ALL = frozenset({"/", "/healthz", "/readyz", "/docs", "/openapi.json"})
_OPEN_FOLDERS = ("/page/", "/swagger/")
_MODELS = "/v1/models"
_DISCARD_SECONDS = 5.0


class RequestLimiter:
    """ASGI middleware that refuses requests with another host, a wrong key, or a body beyond the limits.

    A body that is too large is not kept in memory. The rest of it is read and discarded for a few seconds, because
    a client that is still sending would not see the answer.

    Args:
        app: the application; it receives the body in one message.
        settings: limits on one body, on all bodies in memory, and on the time to send one.
        api_key: required outside the page and the probes; None: no key is required.
        admin_key: required for changes of the models, and accepted everywhere; None: models cannot be changed.
        allowed_hosts: names that the Host header may have, in lower case, without port; None allows any.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: ServerSettings,
        api_key: str | None,
        admin_key: str | None = None,
        allowed_hosts: frozenset[str] | None = None,
    ) -> None:
        self._app = app
        self._settings = settings
        self._hosts = allowed_hosts
        self._key = None if api_key is None else api_key.encode()
        self._admin_key = None if admin_key is None else admin_key.encode()
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the application, or answer it with a refusal."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = bytearray()
        # HEAD is answered like GET: uvicorn leaves out the body.
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        try:
            self._check_host(Headers(scope=scope).get("host", ""))
            self._check_key(scope["method"], scope["path"], Headers(scope=scope))
            if scope["method"] in {"POST", "PUT", "PATCH"}:
                await self._read(body, scope, receive)
            await self._app(scope, _replay(bytes(body), receive), send)
        except Refusal as refusal:
            scope.setdefault("state", {})["refused"] = refusal.reason
            response = JSONResponse(refusal.body(), refusal.status, refusal.headers())
            await response(scope, receive, send)
        finally:
            self._held -= len(body)

    def _check_host(self, given: str) -> None:
        """Refuse other hosts, against DNS rebinding.

        Otherwise a web page whose own name resolves to this machine could use the server.
        """
        if self._hosts is None or host_name(given) in self._hosts:
            return
        raise Refusal(
            400, "wrong_host", f"the request is for the host {given[:100]!r}",
            f"Host: {', '.join(sorted(self._hosts))}",
            "Use one of these names, or start the server with --allowed-host NAME.",
        )  # fmt: skip

    def _check_key(self, method: str, path: str, headers: Headers) -> None:
        accepted = self._keys_for(method, path)
        if accepted is None:
            return
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        given = bearer.strip(" \t") if kind.lower() == "bearer" else headers.get("x-api-key", "")
        # Compared in constant time, so that response times do not reveal the key. ASGI headers are latin-1.
        if not sum(hmac.compare_digest(given.encode("latin-1"), key) for key in accepted):
            raise Refusal(
                401, "no_key", "the key is missing or wrong", "requests with the key of this server",
                "Send the header Authorization: Bearer KEY.",
            )  # fmt: skip

    def _keys_for(self, method: str, path: str) -> list[bytes] | None:
        """Return the keys that are accepted for a request; None if it needs none.

        Raises:
            Refusal: 403, it would change the models, and this server has no key for that.
        """
        admin = [] if self._admin_key is None else [self._admin_key]
        # Loading a labeler reads files of the server, so the key of the clients is not enough.
        if method not in {"GET", "OPTIONS"} and (path == _MODELS or path.startswith(f"{_MODELS}/")):
            if not admin:
                raise Refusal(
                    403, "fixed_models", "the models of this server cannot be changed",
                    "a server with a key for its administrator",
                    "Start the server with LOOKBOTH_ADMIN_KEY in its environment.",
                )  # fmt: skip
            return admin
        if self._key is None or path in _OPEN_TO_ALL or path.startswith(_OPEN_FOLDERS):
            return None
        return [self._key, *admin]

    async def _read(self, body: bytearray, scope: Scope, receive: Receive) -> None:
        """Append the body of a request to `body`.

        Raises:
            Refusal: 408 the body does not arrive in time; 413 it is too large; 503 the server already holds too many
                bytes of other bodies.
        """
        try:
            async with asyncio.timeout(self._settings.read_seconds):
                await self._read_in_time(body, scope, receive)
        except TimeoutError:
            raise Refusal(
                408, "too_slow", "the request did not arrive in time",
                f"{self._settings.read_seconds:g} seconds to send it", "Send it faster, or in smaller parts.",
            ) from None  # fmt: skip

    async def _read_in_time(self, body: bytearray, scope: Scope, receive: Receive) -> None:
        headers = Headers(scope=scope)
        declared = headers.get("content-length", "")
        # int() refuses very long numbers, so the number of digits is checked first.
        if declared.isdecimal() and (len(declared) > 18 or int(declared) > self._settings.body_bytes):
            # A client that sent Expect: 100-continue has not started to send the body.
            if headers.get("expect", "").lower() != "100-continue":
                await _discard(receive)
            raise self._body_too_large(f"{declared[:18]} bytes")
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise hung_up()
            chunk, more = message.get("body", b""), message.get("more_body", False)
            if len(body) + len(chunk) > self._settings.body_bytes:
                del chunk, message
                await _discard(receive) if more else None
                raise self._body_too_large("more bytes than allowed")
            if self._held + len(chunk) > self._settings.open_bytes:
                raise Refusal(
                    503, "busy", "the server is reading too many requests",
                    f"{self._settings.open_bytes} bytes of all requests together", "Ask again in a few seconds.", 2,
                )  # fmt: skip
            body += chunk
            self._held += len(chunk)

    def _body_too_large(self, found: str) -> Refusal:
        allowed = f"{self._settings.body_bytes} bytes"
        return too_large("the request", found, allowed, "Send less text at once.")


def host_name(header: str) -> str:
    """Return the host of a Host header in lower case, without its port.

    >>> host_name("Localhost:8000"), host_name("[::1]:8000"), host_name("::1")
    ('localhost', '::1', '::1')
    """
    if header.startswith("["):
        name = header[1:].partition("]")[0]
    else:
        name = header if header.count(":") > 1 else header.partition(":")[0]
    return name.lower().rstrip(".")


async def _discard(receive: Receive) -> None:
    """Read and discard the rest of a body, for at most `_DISCARD_SECONDS` seconds."""
    try:
        async with asyncio.timeout(_DISCARD_SECONDS):
            message: Any = {"more_body": True}
            while message.get("more_body", False) and message.get("type") != "http.disconnect":
                message = await receive()
    except TimeoutError:
        pass


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that first returns the whole body and then the client's further messages."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
