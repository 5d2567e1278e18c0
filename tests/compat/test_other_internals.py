"""Contracts with uvicorn, Ray, datasets and bitsandbytes."""

import asyncio
import subprocess
import sys
from unittest.mock import MagicMock

import pytest

from lookboth.compat import (
    is_lazy,
    keep_quantized_layout,
    private_environment,
    punctual,
    quiet_environment,
)

HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


def test_uvicorn_has_no_cycle_or_a_complete_one_exactly_while_no_request_is_in_progress() -> None:
    uvicorn = pytest.importorskip("uvicorn")
    from uvicorn.server import ServerState

    async def check() -> None:
        go, loop = asyncio.Event(), asyncio.get_running_loop()

        async def app(scope, receive, send) -> None:
            await go.wait()
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body"})

        config = uvicorn.Config(app, http=punctual(60), log_config=None)
        config.load()
        protocol = config.http_protocol_class(config=config, server_state=ServerState(), app_state={})
        protocol.connection_made(transport := MagicMock(spec=asyncio.Transport))
        assert (protocol.transport, protocol.loop, protocol.cycle) == (transport, loop, None)
        protocol.data_received(HEAD)
        assert protocol.cycle is None
        protocol.data_received(b"\r\n")
        assert protocol.cycle.response_complete is False
        go.set()
        while protocol.tasks:
            await asyncio.sleep(0)
        assert protocol.cycle.response_complete is True
        protocol.connection_lost(None)

    asyncio.run(check())


def test_ray_reads_its_private_variables_when_it_is_imported() -> None:
    """That they keep strangers out is proven by tests/bulk/test_ray_is_private.py; here: who reads them, and when."""
    pytest.importorskip("ray")
    code = "import ray._private.ray_constants as c; print(c.ENABLE_RAY_CLUSTER)"
    environment = {**private_environment(), **quiet_environment(), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "False", done.stderr


def test_keys_are_made_for_each_run() -> None:
    assert private_environment()["RAY_AUTH_TOKEN"] != private_environment()["RAY_AUTH_TOKEN"]


def test_map_gives_lazy_rows_and_lazy_batches() -> None:
    datasets = pytest.importorskip("datasets")
    seen: list[tuple[bool, bool]] = []

    def look(given) -> None:
        seen.append((is_lazy(given, "LazyRow"), is_lazy(given, "LazyBatch")))

    data = datasets.Dataset.from_dict({"text": ["a", "b"]})
    data.map(look)
    data.map(look, batched=True)
    assert set(seen[:2]) == {(True, False)}
    assert seen[-1] == (False, True)
    assert not is_lazy({"text": "a"}, "LazyRow")


def test_bitsandbytes_repacks_weights_on_a_cpu_unless_it_is_told_not_to() -> None:
    """Where the CPU has bf16 instructions, the first evaluation would change how 4-bit weights are kept."""
    pytest.importorskip("bitsandbytes")
    import torch
    from bitsandbytes.nn import Linear4bit

    stock, kept = (
        Linear4bit(128, 64, quant_type="nf4", compute_dtype=torch.bfloat16).to("cpu").eval() for _ in range(2)
    )
    before = [layer.weight.data.clone() for layer in (stock, kept)]
    keep_quantized_layout(kept)
    repacks = bool(stock.support_avx512bf16_for_cpu)  # there is such an attribute, and it says what follows
    with torch.no_grad():
        for layer in (stock, kept):
            layer(torch.ones(2, 128, dtype=torch.bfloat16))
    assert torch.equal(kept.weight.data, before[1])
    assert torch.equal(stock.weight.data, before[0]) != repacks
