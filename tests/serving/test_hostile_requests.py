"""Requests that no honest client sends: each gets JSON with a reason, or labels, and the server goes on."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from capitals import Capitals, found, label, refusal
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, example, given, settings, strategies as st

from lookboth.labelers.labeler import Labeler
from lookboth.serving.http_app import build_app
from lookboth.serving.served_models import ServedModels
from lookboth.serving.settings import ServerSettings

SAVED = Path(__file__).parent.parent / "models" / "formats" / "1"
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
JSON_TYPE = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def real():
    labeler = Labeler.from_pretrained(SAVED / "full", device="cpu", precision="fp32")
    limits = ServerSettings(text_chars=3000, body_bytes=200_000, text_tokens=20_000)
    with TestClient(
        build_app(ServedModels({"tiny": labeler}), limits), raise_server_exceptions=False
    ) as client:
        yield client


@FUZZ
@given(st.binary(max_size=80) | st.recursive(st.just(b"0"), lambda b: b.map(lambda x: b"[" + x + b"]")))
@example(b'{"text":' + b"[" * 90_000)
@example(b'{"text": "a", "min_score": 1' + b"0" * 90_000 + b"}")
@example(b'{"text": "a", "min_score": {"' + b"\\u0000" * 10_000 + b'": 1}}')
@example(b'{"text": "a", "text": "b"}')
@example(b'{"texts": ["\xed\xa0\x80"]}')
@example('{"text": "a"}'.encode("utf-16"))
def test_any_bytes_as_a_body(real, body):
    answer = real.post("/v1/label", content=body, headers=JSON_TYPE)
    assert answer.status_code in {200, 422}
    if answer.status_code == 422:
        refusal(answer)
        assert len(answer.content) < 2000


@FUZZ
@given(st.text(max_size=12) | st.text("01,*:-9toplcausfing ", max_size=30))
@example("9" * 999)
@example("0,99999999999999999999")
@example("*," * 400)
@example("top:" + "9" * 900)
@example("0-" + "9" * 900)
def test_any_plan(real, plan):
    answer = real.post(
        "/v1/label", content=json.dumps({"text": "Ada was here", "plan": plan}), headers=JSON_TYPE
    )
    assert answer.status_code in {200, 422}, answer.text
    if answer.status_code == 422:
        refusal(answer)


@FUZZ
@given(st.lists(st.text(max_size=30), max_size=3))
@example(["\x00" * 3000, "\u202eAda\u202c", "x" * 3000, "中" * 3000])
def test_any_texts(real, texts):
    answer = real.post("/v1/label", content=json.dumps({"texts": texts}), headers=JSON_TYPE)
    assert [one["text"] for one in answer.json()["predictions"]] == texts
    for one in answer.json()["predictions"]:
        assert all(one["text"][s["start"] : s["end"]] == s["text"] for s in one["spans"])


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Length": "9" * 5000},
        {"Content-Length": "9" * 19},
        {"Content-Length": "-1"},
        {"Content-Length": "x"},
        {"Content-Type": "application/json" * 5000},
        {"X-Request-Id": "x" * 100_000},
        {"Authorization": "Bearer " * 10_000},
        {"X-API-Key": "\xff\xfe"},
        {"Host": "evil/../../x"},
        {"Transfer-Encoding": "gzip, chunked"},
    ],
)
def test_any_header(serve, headers):
    client = serve(api_key="key")
    raw = {name: value.encode("latin-1") for name, value in (JSON_TYPE | headers).items()}
    answer = client.post("/v1/label", content=b'{"text": "Ann"}', headers=raw)
    assert answer.status_code in {400, 401, 413, 415, 422}
    refusal(answer)
    if "Content-Length" in headers:
        allowed = client.post("/v1/label", content=b'{"text": "Ann"}', headers=raw | {"X-API-Key": b"key"})
        assert allowed.status_code in {200, 413}
    assert found(client.post("/v1/label", json={"text": "Ann"}, headers={"X-API-Key": "key"})) == [["Ann"]]


@FUZZ
@given(
    st.text(max_size=20)
    | st.sampled_from(["page/../../x", "page/%2e%2e/app.py", "page/..%2f..%2fapp.py", "page/\x00"])
)
def test_any_path(real, path):
    answer = real.get("/" + quote(path.lstrip("/"), safe="/%"))
    assert answer.status_code in {200, 307, 404, 405}
    if answer.status_code == 200:
        assert path.partition("?")[0].partition("#")[0].strip("/") in {
            "",
            "docs",
            "healthz",
            "readyz",
            "metrics",
        }


def test_names_of_models_are_names_and_no_paths(serve):
    client = serve({"one": Capitals()})
    for name in ("../one", "/etc/passwd", "one/../one", "one\x00", "", "ONE", "x" * 90_000):
        status, error = refusal(label(client, text="Ann", model=name))
        assert status == 422
        assert len(error) < 1000
