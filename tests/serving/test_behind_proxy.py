"""The settings for nginx in docs/serving.md, as they are there, in front of a real server."""

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest
from capitals import Capitals
from running import read_answer, running

from lookboth.serving.server import name_hosts

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
pytestmark = pytest.mark.skipif(
    not NGINX or not shutil.which("openssl"),
    reason="the settings for nginx are not tested: no nginx, or no openssl",
)
PAGE = Path(__file__).parents[2] / "docs" / "serving.md"
NAME = "labels.example.org"


def documented(folder: Path, port: int, server_port: int) -> str:
    """Return the documented settings for other ports and a key made here."""
    found = re.search(r"```nginx\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    changes = {
        "listen 443": f"listen 127.0.0.1:{port}",
        "127.0.0.1:8000": f"127.0.0.1:{server_port}",
        "/etc/ssl/labels.pem": f"{folder}/cert.pem",
        "/etc/ssl/labels.key": f"{folder}/key.pem",
    }
    text = found.group(1)
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    user = "user root;" if os.getuid() == 0 else ""
    temporary = "\n".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"{user} daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; {temporary}\n{text} }}\n"
    )


@pytest.fixture
def proxy(tmp_path):
    """Return the port of an nginx in front of a server."""
    key = [
        "-keyout",
        f"{tmp_path}/key.pem",
        "-out",
        f"{tmp_path}/cert.pem",
        "-days",
        "1",
        "-subj",
        f"/CN={NAME}",
    ]
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            *key,
            "-addext",
            f"subjectAltName=DNS:{NAME}",
        ],
        check=True,
        capture_output=True,
    )
    labeler = Capitals()
    hosts = name_hosts("127.0.0.1", [NAME])
    with running({"capitals": labeler}, allowed_hosts=hosts) as (_, server_port):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        (tmp_path / "nginx.conf").write_text(documented(tmp_path, port, server_port))
        assert NGINX
        process = subprocess.Popen([NGINX, "-e", f"{tmp_path}/error.log", "-c", f"{tmp_path}/nginx.conf"])
        try:
            yield port, tmp_path / "cert.pem", labeler
        finally:
            process.terminate()
            process.wait(10)
            labeler.go.set()


def connect(port: int, certificate: Path) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(certificate))
    end = time.monotonic() + 10
    while True:
        try:
            return context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname=NAME)
        except ConnectionRefusedError:
            assert time.monotonic() < end
            time.sleep(0.05)


def ask(port: int, certificate: Path, body: bytes, host: str = NAME) -> bytes:
    head = f"POST /v1/label HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    with connect(port, certificate) as connection:
        connection.sendall(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return read_answer(connection)


def test_the_documented_nginx_passes_requests_and_refusals_on(proxy):
    port, certificate, _ = proxy
    for _ in range(3):  # over kept connections
        answer = ask(port, certificate, json.dumps({"text": "Ann was here"}).encode())
        assert answer.startswith(b"HTTP/1.1 200")
        assert b'"Ann"' in answer
    refused = ask(port, certificate, json.dumps({"text": "x" * 50_001}).encode())
    assert refused.startswith(b"HTTP/1.1 413")
    assert b"what_to_do" in refused
    assert b"200" in ask(port, certificate, b'{"text": "' + b"x" * 40_000 + b'"}').partition(b"\r\n")[0]


def test_a_client_that_leaves_nginx_is_not_worked_for(proxy):
    port, certificate, labeler = proxy
    labeler.go.clear()
    body = b'{"text": "Ann"}'
    head = f"POST /v1/label HTTP/1.1\r\nHost: {NAME}\r\nContent-Type: application/json\r\n"
    with connect(port, certificate) as first:
        first.sendall(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert labeler.busy.wait(5)
        with connect(port, certificate) as second:
            second.sendall(head.encode() + b"Content-Length: 16\r\n\r\n" + b'{"text": "Gone"}')
            time.sleep(0.3)
        time.sleep(0.5)
        labeler.go.set()
        assert b'"Ann"' in read_answer(first)
    assert b'"Bea"' in ask(port, certificate, b'{"text": "Bea"}')
    assert ["Gone"] not in labeler.batches
