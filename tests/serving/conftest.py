"""The server in this process, around a labeler whose answers are known."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from capitals import Capitals
from fastapi.testclient import TestClient

from lookboth.serving.http_app import build_app
from lookboth.serving.served_models import ServedModels
from lookboth.serving.settings import ServerSettings


@pytest.fixture
def labeler() -> Capitals:
    return Capitals()


@pytest.fixture
def serve(labeler) -> Iterator[Callable[..., TestClient]]:
    """Return a function that starts the server and returns a client of it."""
    with ExitStack() as stack:

        def serve(
            models: Any = None, *, api_key=None, allowed_hosts=None, log_texts=False, **settings: Any
        ) -> TestClient:
            served = ServedModels(models or {"capitals": labeler})
            app = build_app(
                served,
                ServerSettings(**settings),
                api_key=api_key,
                allowed_hosts=allowed_hosts,
                log_texts=log_texts,
            )
            return stack.enter_context(TestClient(app))

        yield serve
        labeler.go.set()  # a worker that is held up ends with its test
