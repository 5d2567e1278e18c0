"""Load test of `lookboth serve` on this machine: throughput, latency at rising load, overload and faulty clients.

python experiments/load_test.py OUT.json [--model FOLDER] [--seconds 5]

The script starts a server on 127.0.0.1, sends it a limited number of requests and stops it. Clients and server share
the cores, so results of different machines, or of a busy one, are not comparable. The ratios within one run are.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from lookboth import Labeler, read_split

# Load as a share of the throughput of a saturated server.
LOADS = (0.25, 0.5, 0.75, 0.9, 1.5, 3.0)
CLIENTS = 1000
# Limit on the requests of one step.
MOST_REQUESTS = 20_000

# HTTP status (0: no answer) and seconds.
Answer = tuple[int, float]


def main() -> None:
    """Run all steps and write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", help="saved labeler; default: the shipped one")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each step")
    options = parser.parse_args()
    texts = [" ".join(example.words) for example in read_split("wikigold", "test").examples]
    report: dict[str, Any] = {
        "model": options.model or "shipped",
        "cpus": os.cpu_count(),
        "texts": len(texts),
    }
    before = _pipeline_speed(options.model, texts, options.seconds)
    with _server(options.model) as (process, port):
        report |= asyncio.run(_steps(port, texts, options.seconds))
        report["server_peak_mb"] = _peak_mb(process.pid)
        report["stop"] = asyncio.run(_stop(process, port, texts))
    after = _pipeline_speed(options.model, texts, options.seconds)
    report["pipeline_texts_per_second"] = round((before + after) / 2, 1)
    report["pipeline_before_and_after"] = [round(before, 1), round(after, 1)]
    report["server_over_pipeline"] = round(
        report["busy_texts_per_second"]["many"] / report["pipeline_texts_per_second"], 2
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))


async def _steps(port: int, texts: list[str], seconds: float) -> dict[str, Any]:
    one = [_request(text=text) for text in texts]
    many = [_request(texts=texts[i : i + 32]) for i in range(0, len(texts) - 31, 32)]
    # Warm-up.
    await _keep_busy(port, one, 4, 1.0)
    _, ones = await _keep_busy(port, one, 64, seconds)
    _, manys = await _keep_busy(port, many, 8, seconds)
    report: dict[str, Any] = {
        "busy_texts_per_second": {"one": round(ones, 1), "many": round(32 * manys, 1)},
        "loads": [await _arrive(port, one, share, share * ones, seconds) for share in LOADS],
    }
    report["thousand_clients"] = await _at_once(port, one)
    report["hang_ups"] = await _with_hang_ups(port, one, seconds)
    report["malformed"] = (await _ask(port, _request_of(b'{"text": ')))[0]
    report["ten_megabytes"] = (await _ask(port, _request(text="a" * 10_000_000)))[0]
    report["after"] = (await _ask(port, one[0]))[0]
    return report


async def _keep_busy(
    port: int, requests: list[bytes], clients: int, seconds: float
) -> tuple[list[Answer], float]:
    """Run clients that ask again as soon as they are answered; return the answers and the answers per second."""
    turn, answers = iter(_endless(requests)), []
    start = time.monotonic()

    async def client() -> None:
        while time.monotonic() < start + seconds and len(answers) < MOST_REQUESTS:
            answers.append(await _ask(port, next(turn)))

    await asyncio.gather(*(client() for _ in range(clients)))
    good = sum(status == 200 for status, _ in answers)
    return answers, good / (time.monotonic() - start)


async def _arrive(
    port: int, requests: list[bytes], share: float, rate: float, seconds: float
) -> dict[str, Any]:
    """Send `rate` requests per second at random times, without waiting for earlier answers."""
    rng, turn = random.Random(0), iter(_endless(requests))
    tasks: list[asyncio.Task[Answer]] = []
    probe = asyncio.create_task(_probe(port, seconds))
    start = due = time.monotonic()
    while due < start + seconds and len(tasks) < MOST_REQUESTS:
        due += rng.expovariate(rate)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        tasks.append(asyncio.create_task(_ask(port, next(turn))))
    answers = await asyncio.gather(*tasks)
    took = time.monotonic() - start
    return {"load": share, **_summary(answers, took), "slowest_probe_ms": round(1000 * await probe, 1)}


async def _probe(port: int, seconds: float) -> float:
    """Ask /healthz ten times per second; return the slowest answer in seconds, infinity if one failed."""
    worst, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        status, took = await _ask(
            port, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        worst = max(worst, took if status == 200 else float("inf"))
        await asyncio.sleep(0.1)
    return worst


async def _at_once(port: int, requests: list[bytes]) -> dict[str, Any]:
    start = time.monotonic()
    turn = iter(_endless(requests))
    answers = await asyncio.gather(*(_ask(port, next(turn)) for _ in range(CLIENTS)))
    return _summary(answers, time.monotonic() - start)


async def _with_hang_ups(port: int, requests: list[bytes], seconds: float) -> dict[str, Any]:
    """Keep eight clients busy while others send a request and disconnect at once."""
    left = 0

    async def leave() -> None:
        nonlocal left
        end, turn = time.monotonic() + seconds, iter(_endless(requests))
        while time.monotonic() < end and left < MOST_REQUESTS:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(next(turn))
            with suppress(OSError):
                await writer.drain()
            writer.transport.abort()
            left += 1
            await asyncio.sleep(0.02)

    start, computed = time.monotonic(), await _computed(port)
    (answers, _), *_ = await asyncio.gather(
        _keep_busy(port, requests, 8, seconds), *(leave() for _ in range(4))
    )
    seconds = time.monotonic() - start
    return {"left": left, "computed": await _computed(port) - computed, **_summary(answers, seconds)}


async def _computed(port: int) -> int:
    """Return the number of texts that the server has computed so far."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    lines = (await reader.read()).decode().splitlines()
    writer.close()
    return int(float(next(line for line in lines if line.startswith("lookboth_batch_texts_sum")).split()[1]))


async def _stop(process: "subprocess.Popen[bytes]", port: int, texts: list[str]) -> dict[str, Any]:
    """Stop the server while it has work; return the statuses of its clients and its exit code."""
    asking = [asyncio.create_task(_ask(port, _request(texts=texts[i : i + 8]))) for i in range(0, 64, 8)]
    await asyncio.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    answers = await asyncio.gather(*asking)
    code = await asyncio.to_thread(process.wait, 60)
    return {"answers": _statuses(answers), "exit_code": code}


async def _ask(port: int, request: bytes) -> Answer:
    """Send a request on a new connection; return its status, 0 without an answer, and the seconds."""
    start, status = time.monotonic(), 0
    with suppress(OSError, asyncio.TimeoutError):
        async with asyncio.timeout(90):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(request)
                first = await reader.readline()
                await reader.read()
                status = int(first.split()[1]) if first else 0
            finally:
                writer.close()
    return status, time.monotonic() - start


def _request(**fields: Any) -> bytes:
    return _request_of(json.dumps(fields).encode())


def _request_of(body: bytes) -> bytes:
    head = "POST /v1/label HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
    return head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


def _endless(requests: list[bytes]) -> Iterator[bytes]:
    while True:
        yield from requests


def _summary(answers: list[Answer], seconds: float) -> dict[str, Any]:
    good = sorted(took for status, took in answers if status == 200)
    times = {
        f"p{q}_ms": round(1000 * good[min(len(good) - 1, q * len(good) // 100)], 1) for q in (50, 99) if good
    }
    return {"answers": _statuses(answers), "per_second": round(len(good) / seconds, 1), **times}


def _statuses(answers: list[Answer]) -> dict[str, int]:
    return {str(status): count for status, count in sorted(Counter(status for status, _ in answers).items())}


def _pipeline_speed(model: str | None, texts: list[str], seconds: float) -> float:
    """Return the texts per second of the pipeline in this process."""
    # Merged, as in the server.
    labeler = Labeler.from_pretrained(model, merge=True)
    labeler.predict(texts[:32])
    done, start = 0, time.monotonic()
    while time.monotonic() < start + seconds:
        first = done % (len(texts) - 32)
        done += len(labeler.predict(texts[first : first + 32]))
    return done / (time.monotonic() - start)


def _peak_mb(pid: int) -> float | None:
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return round(int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024, 1)
    return None


@contextmanager
def _server(model: str | None) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    command = [sys.executable, "-m", "lookboth.cli", "serve", *([model] if model else []), "--port", "0"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stderr=log)
        try:
            yield process, _wait_for_port(process, log)
        finally:
            process.kill()


def _wait_for_port(process: "subprocess.Popen[bytes]", log: IO[str]) -> int:
    while process.poll() is None:
        log.seek(0)
        if (line := log.readline()).endswith("\n"):
            return int(json.loads(line)["url"].rpartition(":")[2])
        time.sleep(0.1)
    log.seek(0)
    raise SystemExit(f"the server did not start: {log.read()}")


if __name__ == "__main__":
    main()
