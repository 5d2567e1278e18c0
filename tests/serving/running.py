"""The server on a real port of this machine, for what a client in the same process cannot do."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from lookboth.serving.http_app import build_app
from lookboth.serving.served_models import ServedModels
from lookboth.serving.server import make_server
from lookboth.serving.settings import ServerSettings


@contextmanager
def running(
    labelers: dict[str, Any], *, allowed_hosts: frozenset[str] | None = None, **settings: Any
) -> Iterator[tuple[uvicorn.Server, int]]:
    """Run a server in a thread; give it and its port."""
    limits = ServerSettings(**settings)
    models = ServedModels(labelers, batch_tokens=limits.batch_tokens or 2048)
    app = build_app(models, limits, allowed_hosts=allowed_hosts)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = make_server(app, limits)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        try:
            yield server, listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(20)


def request_bytes(body: bytes, *headers: str) -> bytes:
    """Return a request for labels as it goes over the wire."""
    lines = ["POST /v1/label HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers]
    if not any(header.lower().startswith("content-length") for header in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def read_answer(connection: socket.socket) -> bytes:
    """Return what the server sends until the answer is complete or it closes."""
    connection.settimeout(10)
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
        head, end, body = data.partition(b"\r\n\r\n")
        length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        if end and length and len(body) >= int(length[0].split(b":")[1]):
            break
    return data
