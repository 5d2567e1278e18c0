"""`lookboth serve`: load the labelers, listen, and answer every accepted request before stopping."""

import logging
import math
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress

import uvicorn
from fastapi import FastAPI

from lookboth.compat import keep_few_products, punctual
from lookboth.errors import ConfigError
from lookboth.serving.http_app import build_app
from lookboth.serving.model_loading import load_models
from lookboth.serving.observing import log_as_json, log_event
from lookboth.serving.request_limits import host_name
from lookboth.serving.settings import ServerSettings

KEY_VARIABLE = "LOOKBOTH_API_KEY"
ADMIN_KEY_VARIABLE = "LOOKBOTH_ADMIN_KEY"
_BACKLOG = 2048
_OWN_NAMES = ("localhost", "127.0.0.1", "::1")


def serve(
    models: Sequence[str] = (),
    settings: ServerSettings | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    device: str | None = None,
    precision: str = "auto",
    allowed_hosts: Sequence[str] = (),
    log_texts: bool = False,
) -> None:
    """Serve labelers over HTTP until SIGTERM or Ctrl-C; accepted requests are answered before it returns.

    Args:
        models: `NAME=FOLDER`, folders or hub ids; the shipped labeler when empty.
        settings: limits and batching.
        host, port: address to listen on; port 0 takes a free one, which is logged.
        device, precision: as for `Labeler.from_pretrained`.
        allowed_hosts: host names of requests, besides this machine's own; "*" allows any. An empty list also allows
            any if `host` is not a loopback address.
        log_texts: whether texts are written to the log.

    Raises:
        ConfigError: the port is taken, or a key in the environment is empty, or clients and administrator have one key.
        ModelError: a model cannot be loaded.
    """
    settings = settings or ServerSettings()
    key, admin_key = read_key(), read_key(ADMIN_KEY_VARIABLE)
    if admin_key is not None and admin_key == key:
        raise ConfigError(
            f"{ADMIN_KEY_VARIABLE} is the key of the clients. Give the administrator another key."
        )
    log_as_json()
    keep_few_products("serving")
    with _listen(host, port) as listener:
        served = load_models(models, batch_tokens=settings.batch_tokens, device=device, precision=precision)
        hosts = name_hosts(host, allowed_hosts)
        app = build_app(
            served, settings, api_key=key, admin_key=admin_key, allowed_hosts=hosts, log_texts=log_texts
        )
        _allow_many_connections()
        # Clients can connect only now, when the models are loaded: an open port means a ready server.
        listener.listen(_BACKLOG)
        shown = listener.getsockname()
        log_event("ready", url=f"http://{host}:{shown[1]}", models=list(served.labelers), key=key is not None)
        if key is None and not _is_loopback(host):
            log_event(
                f"no key: everyone who can connect to {host} can use this server; set {KEY_VARIABLE}",
                logging.WARNING,
            )
        _run(make_server(app, settings), listener)
    log_event("stopped")


def make_server(app: FastAPI, settings: ServerSettings) -> uvicorn.Server:
    """Return the uvicorn server of the application, with the limits on connections."""
    config = uvicorn.Config(
        app,
        http=punctual(settings.read_seconds),
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=math.ceil(settings.stop_seconds),
    )
    return uvicorn.Server(config)


def read_key(variable: str = KEY_VARIABLE) -> str | None:
    """Return the key in a variable of the environment, stripped of whitespace, or None if it is not set.

    Raises:
        ConfigError: the variable is empty or not UTF-8.
    """
    key = os.environ.get(variable)
    if key is None:
        return None
    # An empty key is probably a mistake; treating it as "no key" would open the server to everyone.
    if not key.strip():
        raise ConfigError(f"{variable} is set and empty. Give it a key, or type: unset {variable}")
    # os.environ decodes invalid UTF-8 bytes as lone surrogates.
    if any("\udc80" <= char <= "\udcff" for char in key):
        raise ConfigError(f"{variable} is not UTF-8. Use a key of letters and digits.")
    return key.strip()


def name_hosts(host: str, allowed: Sequence[str]) -> frozenset[str] | None:
    """Return the names that the Host header may have, or None if any name is allowed.

    Args:
        host: address the server listens on.
        allowed: names given by the user, with or without a port.

    >>> sorted(name_hosts("127.0.0.1", ["labels.example.org"]))
    ['127.0.0.1', '::1', 'labels.example.org', 'localhost']
    >>> name_hosts("0.0.0.0", []) is None
    True
    """
    if "*" in allowed or not (allowed or _is_loopback(host)):
        return None
    return frozenset(map(host_name, (*allowed, host, *_OWN_NAMES)))


def _is_loopback(host: str) -> bool:
    return host == "localhost" or host == "::1" or host.startswith("127.")


def _run(server: uvicorn.Server, listener: socket.socket) -> None:
    # After stopping, uvicorn raises the signal again. A requested stop is not a failure, so it is ignored.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    finally:
        signal.signal(signal.SIGTERM, before)


def _listen(host: str, port: int) -> socket.socket:
    """Return a bound socket; binding before the models load reports a taken port at once.

    Raises:
        ConfigError: the address cannot be bound.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        # Without this, a restart would fail while old connections of the port are in TIME_WAIT.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"cannot listen on {host}:{port} ({error}). Choose another: --port 8001") from error
    return listener


def _allow_many_connections() -> None:
    """Raise the limit on open files to the system's maximum, as each connection needs one."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
