"""What stands before the application: host, key, and the body of a request, read under limits."""

import asyncio
import hmac
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lookboth.serving.refusals import Refusal, hung_up, too_large
from lookboth.serving.settings import ServerSettings

_OPEN_TO_ALL = frozenset({"/", "/healthz", "/readyz", "/docs", "/openapi.json"})
_OPEN_FOLDERS = ("/page/", "/swagger/")
_DISCARD_SECONDS = 5.0


class Gate:
    """ASGI middleware that lets in requests for this host, with the key, and a body that keeps to the limits.

    A body that is too large is never held: what still arrives of it is thrown away, for a few seconds, because a
    client that is still sending would not see the answer.

    Args:
        app: the application; it receives the body in one piece.
        settings: limits on one body, on all bodies at once, and on the time a client may take to send one.
        api_key: asked for outside the page and the probes; None lets everybody in.
        allowed_hosts: names that the Host header may have, in lower case, without port; None allows any.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: ServerSettings,
        api_key: str | None,
        allowed_hosts: frozenset[str] | None = None,
    ) -> None:
        self._app = app
        self._settings = settings
        self._hosts = allowed_hosts
        self._key = None if api_key is None else api_key.encode()
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = bytearray()
        if scope["method"] == "HEAD":  # the same as GET, of which the server leaves out the body
            scope = {**scope, "method": "GET"}
        try:
            self._check_host(Headers(scope=scope).get("host", ""))
            self._check_key(scope["path"], Headers(scope=scope))
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
        """Refuse other hosts: a page whose own name leads to this machine could otherwise use the server."""
        if self._hosts is None or host_name(given) in self._hosts:
            return
        raise Refusal(
            400, "wrong_host", f"the request is for the host {given[:100]!r}",
            f"Host: {', '.join(sorted(self._hosts))}",
            "Use one of these names, or start the server with --allowed-host NAME.",
        )  # fmt: skip

    def _check_key(self, path: str, headers: Headers) -> None:
        if self._key is None or path in _OPEN_TO_ALL or path.startswith(_OPEN_FOLDERS):
            return
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        given = bearer.strip(" \t") if kind.lower() == "bearer" else headers.get("x-api-key", "")
        if not hmac.compare_digest(given.encode("latin-1"), self._key):
            raise Refusal(
                401, "no_key", "no key, or a wrong one", "requests with the key of this server",
                "Send the header Authorization: Bearer KEY.",
            )  # fmt: skip

    async def _read(self, body: bytearray, scope: Scope, receive: Receive) -> None:
        """Append the body of a request to `body`.

        Raises:
            Refusal: 408 it does not come; 413 it is too large; 503 too much is held already.
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
        # More digits than Python turns into a number are too large as well.
        if declared.isdecimal() and (len(declared) > 18 or int(declared) > self._settings.body_bytes):
            if (
                headers.get("expect", "").lower() != "100-continue"
            ):  # else it waits for a word before it sends
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
                raise self._body_too_large("more bytes than that")
            if self._held + len(chunk) > self._settings.open_bytes:
                raise Refusal(
                    503, "busy", "too many requests are being read", "less at once",
                    "Ask again in a few seconds.", 2,
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
    """Throw away what still arrives of a body, for a few seconds."""
    try:
        async with asyncio.timeout(_DISCARD_SECONDS):
            message: Any = {"more_body": True}
            while message.get("more_body", False) and message.get("type") != "http.disconnect":
                message = await receive()
    except TimeoutError:
        pass


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body once, and then whatever the client does."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
