"""Clients that hang up, send too much or too slowly, or never end; and a server that is told to stop."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress

import pytest
from capitals import Capitals, predict
from running import read_answer, request_bytes, running
from tiny import tiny_labeler

from lookboth.data.words import example_from_text
from lookboth.serving.steps import CutText, Step


def send(port: int, data: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(data)
    return connection


def ask(port: int, text: str) -> bytes:
    with send(port, request_bytes(json.dumps({"text": text}).encode())) as connection:
        return read_answer(connection)


def metric(port: int, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(name + " "))


def wait_for(condition, seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never became so"
        time.sleep(0.01)


def test_a_client_that_hangs_up_is_not_worked_for_and_blocks_nobody():
    labeler = Capitals()
    with running({"capitals": labeler}, wait_ms=0) as (_, port):
        labeler.go.clear()
        first = send(port, request_bytes(b'{"text": "First"}'))
        assert labeler.busy.wait(5)
        send(port, request_bytes(b'{"text": "Gone"}')).close()
        wait_for(lambda: metric(port, "lookboth_hangups_total") == 1)
        labeler.go.set()
        assert b'"First"' in read_answer(first)
        first.close()
        assert b'"Ann"' in ask(port, "Ann")
        assert ["Gone"] not in labeler.batches
        assert metric(port, "lookboth_queue_tokens") == 0


def test_a_client_that_leaves_in_the_middle_of_its_request_is_forgotten():
    with running({"capitals": Capitals()}) as (_, port):
        send(port, request_bytes(b'{"text"', "Content-Length: 500")).close()
        wait_for(lambda: metric(port, "lookboth_hangups_total") == 1)
        assert b'"Ann"' in ask(port, "Ann")


def test_ten_megabytes_are_refused_and_the_client_hears_why():
    with running({"capitals": Capitals()}) as (_, port):
        body = b'{"text": "' + b"a" * 10_000_000 + b'"}'
        with send(port, request_bytes(body)) as connection:
            answer = read_answer(connection)
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"what_to_do" in answer


def test_a_client_that_asks_before_it_sends_is_told_at_once():
    with running({"capitals": Capitals()}) as (_, port):
        head = request_bytes(b"", "Content-Length: 10000000", "Expect: 100-continue")
        with send(port, head) as connection:
            assert read_answer(connection).startswith(b"HTTP/1.1 413")


def test_a_client_that_sends_too_slowly_is_told_so():
    with running({"capitals": Capitals()}, read_seconds=0.2) as (_, port):
        with send(port, request_bytes(b'{"text"', "Content-Length: 500")) as connection:
            assert read_answer(connection).startswith(b"HTTP/1.1 408")
        assert b'"Ann"' in ask(port, "Ann")


GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
UNFINISHED = {
    "nothing": [],
    "half a head": [GET],
    "a head bit by bit": [GET, *[b"X-%d: x\r\n" % number for number in range(40)]],
    "half a second head": [GET + b"\r\n", GET],
    "two requests at once, one of them half": [GET + b"\r\n" + GET],
    "a body that nobody reads": [GET + b"Content-Length: 500\r\n\r\n", b"x", b"x"],
}


@pytest.mark.parametrize("name", UNFINISHED)
def test_a_client_that_does_not_finish_a_head_is_cut_off(name):
    with running({"capitals": Capitals()}, read_seconds=0.3, keep_alive_seconds=1) as (server, port):
        with send(port, b"") as connection:
            closed = threading.Event()
            threading.Thread(target=lambda: read_to_end(connection, closed)).start()
            for piece in UNFINISHED[name]:
                if closed.wait(0.1):
                    break
                with suppress(OSError):  # it is being closed
                    connection.sendall(piece)
            assert closed.wait(3)
        wait_for(lambda: len(server.server_state.connections) == 0)
        assert b'"Ann"' in ask(port, "Ann")


def read_to_end(connection: socket.socket, closed: threading.Event) -> None:
    with suppress(ConnectionError):
        while connection.recv(65536):
            pass
    closed.set()


def test_a_connection_may_wait_for_its_answer_and_ask_again():
    labeler = Capitals()
    with running({"capitals": labeler}, read_seconds=0.2) as (_, port), send(port, b"") as connection:
        for text in ("Ann", "Bea"):
            labeler.go.clear()
            connection.sendall(request_bytes(json.dumps({"text": text}).encode()))
            threading.Timer(0.6, labeler.go.set).start()
            assert text.encode() in read_answer(connection)


def test_a_connection_is_kept_for_the_next_request_as_long_as_is_set():
    for seconds, kept in ((1, False), (60, True)):
        limits = {"keep_alive_seconds": seconds, "read_seconds": 0.5}
        with (
            running({"capitals": Capitals()}, **limits) as (_, port),
            send(port, GET + b"\r\n") as connection,
        ):
            assert b" 200 " in read_answer(connection)
            connection.settimeout(2.5)
            try:
                assert connection.recv(1) == b""
                assert not kept
            except TimeoutError:
                assert kept


def test_the_answer_to_head_has_no_body():
    with running({"capitals": Capitals()}) as (_, port), send(port, b"") as connection:
        connection.sendall(b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head, end, body = read_all(connection).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert b"content-length: " in head.lower()
        assert (end, body) == (b"\r\n\r\n", b"")


def read_all(connection: socket.socket) -> bytes:
    connection.settimeout(10)
    return b"".join(iter(lambda: connection.recv(65536), b""))


class Windows(Capitals):
    """A labeler of windows: each takes some time, and there are as many as a text has words."""

    def cut(self, text):
        example = example_from_text(text)
        return CutText(example, tuple(Step(100, word) for word in example.words))

    def compute(self, steps, *, batch_tokens):
        self.batches.append([step.piece for step in steps])
        self.busy.set()
        time.sleep(0.05)
        return [step.piece for step in steps]

    def join(self, text, results):
        return predict(text.example.text)


@pytest.fixture
def windows(monkeypatch):
    monkeypatch.setattr("lookboth.serving.served_models.stepper_of", lambda labeler: labeler)
    return Windows()


def test_a_long_text_lets_others_come_between_and_ends_when_its_client_leaves(windows):
    with running({"windows": windows}, batch_tokens=100, wait_ms=0) as (_, port):
        long = send(port, request_bytes(json.dumps({"text": "x " * 100}).encode()))
        assert windows.busy.wait(5)
        assert b'"Ann"' in ask(port, "Ann")
        assert len(windows.batches) < 50
        long.close()
        wait_for(lambda: metric(port, "lookboth_hangups_total") == 1)
        wait_for(lambda: metric(port, "lookboth_queue_tokens") == 0)
        done = len(windows.batches)
        assert b'"Bea"' in ask(port, "Bea")
        assert len(windows.batches) <= done + 2


def test_stopping_does_not_wait_for_a_long_text(windows):
    limits = {"batch_tokens": 100, "wait_ms": 0, "stop_seconds": 1}
    request = request_bytes(json.dumps({"text": "x " * 150}).encode())
    with running({"windows": windows}, **limits) as (server, port), send(port, request) as long:
        assert windows.busy.wait(5)
        server.should_exit = True
        answer = read_answer(long)
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"retry-after" in answer.lower()
    assert len(windows.batches) < 100


def test_many_bodies_at_once_are_limited_together():
    with running({"capitals": Capitals()}, body_bytes=1000, open_bytes=1500, read_seconds=5) as (_, port):
        half = request_bytes(b" " * 900, "Content-Length: 1000")
        with send(port, half) as held:
            wait_for(lambda: b" 503 " in ask(port, "a" * 800).partition(b"\r\n")[0])
            held.sendall(b" " * 100)
            assert b" 422 " in read_answer(held).partition(b"\r\n")[0]
        assert b" 200 " in ask(port, "a" * 800).partition(b"\r\n")[0]


def test_rubbish_instead_of_http_is_refused():
    with running({"capitals": Capitals()}) as (_, port):
        for rubbish in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"\r\n" * 100, b"\0" * 1000):
            send(port, rubbish).close()
        assert b'"Ann"' in ask(port, "Ann")


def test_stopping_answers_what_was_accepted():
    labeler = Capitals()
    with running({"capitals": labeler}) as (server, port):
        labeler.go.clear()
        waiting = [send(port, request_bytes(b'{"text": "Ann"}')) for _ in range(5)]
        assert labeler.busy.wait(5)
        server.should_exit = True
        threading.Timer(0.3, labeler.go.set).start()
        answers = [read_answer(connection) for connection in waiting]
        for connection in waiting:
            connection.close()
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)


@pytest.fixture(scope="module")
def folder(tiny_llama_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("serving") / "labeler"
    tiny_labeler(tiny_llama_folder).save_pretrained(folder)
    return folder


def test_the_command_serves_until_it_is_told_to_stop(folder):
    command = [sys.executable, "-m", "lookboth.cli", "serve", f"one={folder}", f"two={folder}", "--port", "0"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=os.environ | {"LOOKBOTH_API_KEY": "k"}
    )
    assert process.stderr is not None
    try:
        ready = next(line for line in map(json.loads, process.stderr) if line["event"] == "ready")
        assert ready["models"] == ["one", "two"]
        assert ready["url"].startswith("http://127.0.0.1:")
        port = int(ready["url"].rpartition(":")[2])
        body = json.dumps({"texts": ["Ada was born in London"] * 50, "model": "two"}).encode()
        with send(port, request_bytes(body, "Authorization: Bearer k")) as connection:
            time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            assert read_answer(connection).startswith(b"HTTP/1.1 200")
        assert process.wait(20) == 0
        lines = list(map(json.loads, process.stderr))
        assert [line["event"] for line in lines] == ["request", "stopped"]
    finally:
        process.kill()
        process.stderr.close()


@pytest.mark.parametrize("around", ["{}\n", " {}\r\n", "\t{} "])
def test_whitespace_around_the_key_is_no_part_of_it(monkeypatch, around):
    from lookboth.serving.server import read_key

    monkeypatch.setenv("LOOKBOTH_API_KEY", around.format("two words"))
    assert read_key() == "two words"
    monkeypatch.delenv("LOOKBOTH_API_KEY")
    assert read_key() is None


def test_a_key_that_is_no_text_is_refused(monkeypatch):
    from lookboth.errors import ConfigError
    from lookboth.serving.server import read_key

    monkeypatch.setitem(os.environ, "LOOKBOTH_API_KEY", os.fsdecode(b"caf\xe9"))
    with pytest.raises(ConfigError, match="is not UTF-8"):
        read_key()


def test_what_keeps_a_server_from_starting_is_said(folder, monkeypatch):
    from lookboth.errors import ConfigError, ModelError
    from lookboth.serving.server import serve
    from lookboth.serving.settings import parse_settings

    monkeypatch.setattr("lookboth.serving.server.log_as_json", lambda: None)  # it is for the whole process
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match="--port"):
        serve([str(folder)], port=taken.getsockname()[1])
    with pytest.raises(ModelError):
        serve([str(folder / "missing")], port=0)
    monkeypatch.setenv("LOOKBOTH_API_KEY", " ")
    with pytest.raises(ConfigError, match="LOOKBOTH_API_KEY"):
        serve([str(folder)], port=0)
    for wrong in ("texts", "text=1", "texts=0", "texts=many", "text_tokens=10000000", "texts=true"):
        with pytest.raises(ConfigError):
            parse_settings([wrong])
