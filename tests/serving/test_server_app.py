"""The routes: what is asked is answered, and what cannot be is refused with a reason."""

import json
import logging
import re
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from capitals import Capitals, found, label, predict, refusal
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st
from pydantic import ValidationError
from tiny import tiny_config, tiny_labeler, tiny_tokenizer
from transformers import AutoModelForCausalLM

from lookboth.config.recipe_files import parse_config
from lookboth.generative.generative_building import build_generative
from lookboth.inference.confidence import Confidence
from lookboth.labelers.folders import name_labelers
from lookboth.serving.http_app import build_app
from lookboth.serving.refusals import Refusal
from lookboth.serving.requests import LabelRequest, read_request
from lookboth.serving.served_models import ServedModels
from lookboth.serving.server import name_hosts
from lookboth.serving.settings import ServerSettings
from lookboth.types import Example, Prediction, Span, TextLabel

TEXT = "Ann saw X in Rome"


@pytest.fixture
def log(caplog):
    """Return a function that gives the fields of all log lines."""
    caplog.set_level(logging.DEBUG, logger="lookboth.serving")
    return lambda: [record.fields for record in caplog.records if hasattr(record, "fields")]


def test_one_text_or_many_give_what_the_labeler_finds(serve):
    client = serve()
    answer = label(client, text=TEXT)
    assert answer.json() == {"model": "capitals", "predictions": [predict(TEXT).to_dict()]}
    assert found(label(client, texts=["Ann", "", "in Rome"])) == [["Ann"], [], ["Rome"]]
    assert label(client, texts=[]).json()["predictions"] == []


def test_scores_and_labels_select(serve):
    client = serve()
    assert found(label(client, text=TEXT, min_score=0.5)) == [["Ann", "Rome"]]
    assert found(label(client, text=TEXT, labels=["LETTER"])) == [["X"]]
    assert found(label(client, text=TEXT, labels=[])) == [[]]
    assert found(label(client, text=TEXT, min_score={"NAME": 0.95})) == [["X"]]


def test_offsets_count_characters_beyond_the_first_plane_as_one(serve):
    text = "😀 Ann\u202e saw\r\n Zoë"
    spans = label(serve(), text=text).json()["predictions"][0]["spans"]
    assert [text[span["start"] : span["end"]] for span in spans] == [span["text"] for span in spans]
    assert spans[0]["start"] == 2


def test_the_tiny_labeler_answers_as_it_does_in_python(serve, tiny_llama_folder):
    labeler = tiny_labeler(tiny_llama_folder, plan="0011")
    texts = ["Ada Lovelace was born in London", "the quick brown fox", "Toyota"]
    expected = [prediction.to_dict() for prediction in labeler.predict(texts)]
    causal = [prediction.to_dict() for prediction in labeler.with_plan("causal").predict(texts)]
    assert causal != expected
    client = serve({"tiny": labeler})
    for _ in range(2):  # a plan asked for by one request is not left in force for the next
        assert label(client, texts=texts).json()["predictions"] == expected
        assert label(client, texts=texts, plan="0,0,0,0").json()["predictions"] == causal
    assert label(client, texts=texts, plan="0011").json()["predictions"] == expected


def test_a_labelers_own_thresholds_are_applied_when_asked_for(serve, labeler):
    client = serve()
    assert refusal(label(client, text=TEXT, thresholds=True))[0] == 422
    labeler.config = SimpleNamespace(
        labels=("NAME", "LETTER"),
        task="labeling",
        plan=None,
        confidence=Confidence(precision=0.9, thresholds={"NAME": 0.5, "LETTER": 0.5}),
    )
    assert found(label(client, text=TEXT, thresholds=True)) == [["Ann", "Rome"]]
    assert found(label(client, text=TEXT, thresholds=True, min_score=0.95)) == [[]]


def test_a_labeler_that_writes_its_answers_comes_the_same_way(serve, tmp_path):
    tokenizer = tiny_tokenizer("byte-bos")
    AutoModelForCausalLM.from_config(tiny_config("llama", len(tokenizer))).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    recipe = {"model": str(tmp_path), "method": "icl", "data": {"train": "x"}}
    settings = {"generative": {"k": 1, "max_answer_tokens": 8, "instruction": False}}
    pool = [Example(("Ada", "was", "here"), (Span(0, 1, "PER"),))]
    config = parse_config(recipe | settings)
    writer = build_generative(config, labels=["PER"], pool=pool, seed=0, device="cpu")
    client = serve({"writer": writer})
    texts = ["Ada went to York", ""]
    assert label(client, texts=texts).json()["predictions"] == [
        one.to_dict() for one in writer.predict(texts)
    ]
    assert client.get("/v1/models").json()[0]["plan"] is None
    assert refusal(label(client, text="x", plan="causal"))[0] == 422
    # Named labels keep the demonstrations annotated with them; new ones need an instruction that lists them.
    named = label(client, texts=texts, labels=["PER"]).json()["predictions"]
    assert named == [one.to_dict() for one in writer.with_labels(["PER"]).predict(texts)]
    assert refusal(label(client, text="x", labels=["car"]))[0] == 422


def test_labels_of_whole_texts_come_the_same_way(serve):
    class Mood(Capitals):
        config = SimpleNamespace(labels=("good", "bad"), task="classification", plan=None)

        def stream(self, texts, *, batch_tokens):
            for text in texts:
                yield Prediction(text, (), (), (), labels=(TextLabel("good", 0.7), TextLabel("bad", 0.3)))

    answer = label(serve({"mood": Mood()}), text="fine", min_score=0.5)
    assert answer.json()["predictions"] == [{"text": "fine", "labels": [{"label": "good", "score": 0.7}]}]


def test_models_are_chosen_by_name_and_described(serve):
    client = serve({"one": Capitals(), "two": Capitals()})
    assert label(client, text="x").json()["model"] == "one"
    assert label(client, text="x", model="two").json()["model"] == "two"
    described = client.get("/v1/models").json()
    assert [(model["name"], model["default"]) for model in described] == [("one", True), ("two", False)]
    assert described[0]["labels"] == ["NAME", "LETTER"]
    assert refusal(label(client, text="x", model="three"))[0] == 422


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"text": "a"} more',
        b'{"text": "\\ud800"}',
        b"[" * 100_000,
        b'{"text":' * 50_000,
        b"{}",
        b'{"text": 1}',
        b'{"text": "a", "texts": []}',
        b'{"texts": ["a", null]}',
        b'{"text": "a", "min_score": 2}',
        b'{"text": "a", "min_score": NaN}',
        b'{"text": "a", "min_score": true}',
        b'{"text": "a", "min_score": "0.5"}',
        b'{"text": "a", "min_score": {"NAME": true}}',
        b'{"text": "a", "thresholds": 1}',
        b'{"text": "a", "labels": [1]}',
        b'{"text": "a", "min_score": {"NAME": -1}}',
        b'{"text": "a", "min_score": {"PER": 1}}',
        b'{"text": "a", "labels": ["PER"]}',
        b'{"text": "a", "plan": "causal"}',
        b'{"text": "a", "threshold": 1}',
        b'{"text": "a", "model": "../../etc/passwd"}',
    ],
)
def test_what_cannot_be_read_or_done_is_refused_with_a_reason(serve, body):
    client = serve()
    answer = client.post("/v1/label", content=body, headers={"Content-Type": "application/json"})
    assert refusal(answer)[0] == 422
    assert len(answer.content) < 2000
    assert found(label(client, text="Ann"))


@pytest.fixture(scope="module")
def fuzzed():
    with TestClient(build_app(ServedModels({"capitals": Capitals()}), ServerSettings())) as client:
        yield client


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_KEYS = st.sampled_from(["text", "texts", "model", "plan", "min_score", "labels"])


@hypothesis_settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=150)
@given(st.dictionaries(_KEYS, _JSON) | st.fixed_dictionaries({"text": st.text()}), st.binary(max_size=3))
def test_any_body_is_answered_or_refused(fuzzed, value, noise):
    body = json.dumps(value).encode() + noise.strip()
    answer = fuzzed.post("/v1/label", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {200, 422}
    if answer.status_code == 200:
        assert [one["text"] for one in answer.json()["predictions"]] == (
            [value["text"]] if value.get("text") is not None else value["texts"]
        )
    else:
        refusal(answer)


def test_other_content_types_paths_and_methods_get_the_same_kind_of_answer(serve):
    client = serve()
    assert refusal(client.post("/v1/label", content=b'{"text": "a"}'))[0] == 415
    assert refusal(client.get("/nothing"))[0] == 404
    assert refusal(client.get("/page/../app.py"))[0] == 404
    assert refusal(client.get("/v1/label"))[0] == 405


MANY = 200_000
WRONG_ITEMS = {
    "texts": (b'{"texts": [' + b"1," * MANY + b"1]}", 413),
    "labels": (b'{"text": "a", "labels": [' + b"1," * MANY + b"1]}", 413),
    "min_score": (
        b'{"text": "a", "min_score": {' + b",".join(b'"%d":2' % n for n in range(50_000)) + b"}}",
        413,
    ),
    "keys": (b"{" + b",".join(b'"%d":2' % n for n in range(50_000)) + b"}", 422),
    "body": (b"[" + b"1," * MANY + b"1]", 422),
    "a few": (b'{"texts": [' + b"1," * 200 + b"1]}", 422),
}


@pytest.mark.parametrize("name", WRONG_ITEMS)
def test_many_wrong_items_are_counted_before_they_are_looked_at(name, monkeypatch):
    body, status = WRONG_ITEMS[name]
    looked_at = []
    monkeypatch.setattr(
        LabelRequest, "model_validate", lambda found: looked_at.append(found) or _validate(found)
    )
    with pytest.raises(Refusal) as caught:
        read_request(body, "application/json", ServerSettings())
    assert caught.value.status == status
    assert len(caught.value.error) <= 500
    assert bool(looked_at) == (name == "a few")


_validate = LabelRequest.model_validate


def test_settings_have_the_type_they_say():
    for wrong in ({"texts": True}, {"texts": "5"}, {"wait_ms": True}, {"texts": 5.0}):
        with pytest.raises(ValidationError):
            ServerSettings(**wrong)
    assert ServerSettings(timeout_seconds=5).timeout_seconds == 5.0


def test_a_request_for_another_host_is_refused(serve):
    client = serve(allowed_hosts=name_hosts("127.0.0.1", ["Labels.example.org:443"]))
    for host in ("127.0.0.1:8000", "LOCALHOST", "localhost.", "[::1]:8000", "labels.example.org"):
        assert client.get("/healthz", headers={"Host": host}).status_code == 200, host
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil:80", "[::2]", ""):
        for path in ("/", "/v1/models", "/healthz", "/page/page.js"):
            assert refusal(client.get(path, headers={"Host": host}))[0] == 400, host


def test_any_host_may_be_asked_for_where_others_are_let_in(serve):
    assert name_hosts("0.0.0.0", []) is None
    assert name_hosts("127.0.0.1", ["*"]) is None
    assert name_hosts("0.0.0.0", ["a.example"]) >= {"a.example", "localhost"}
    assert serve().get("/healthz", headers={"Host": "any.example"}).status_code == 200


def test_nothing_is_redirected_to_the_host_that_a_request_names(serve):
    client = serve()
    for path in ("/page", "/swagger", "/v1/models/", "/docs/", "/healthz/", "/v1/label/"):
        answer = client.get(path, headers={"Host": "evil.example"}, follow_redirects=False)
        assert (answer.status_code, answer.headers.get("location")) == (404, None), path


def test_head_is_answered_as_get(serve):
    client = serve()
    for path in (
        "/",
        "/docs",
        "/healthz",
        "/readyz",
        "/metrics",
        "/v1/models",
        "/openapi.json",
        "/page/page.js",
    ):
        answer = client.head(path)
        assert answer.status_code == 200, path
        if path != "/metrics":
            assert answer.headers["content-length"] == client.get(path).headers["content-length"]
    assert client.head("/nothing").status_code == 404
    assert client.head("/v1/label").status_code == 405


def test_sizes_are_limited(serve):
    client = serve(text_chars=10, texts=2, body_bytes=100)
    assert refusal(label(client, text="x" * 11)) == (413, "text 0 has 11 characters")
    assert refusal(label(client, texts=["x"] * 3)) == (413, "the request has 3 texts")
    assert refusal(label(client, text="x" * 100))[0] == 413
    assert found(label(client, texts=["x" * 10] * 2))


def test_tokens_are_limited_whatever_the_script(serve, tiny_llama_folder):
    client = serve({"tiny": tiny_labeler(tiny_llama_folder)}, text_tokens=300, queue_tokens=500)
    assert label(client, text="the quick brown fox " * 10).status_code == 200
    status, error = refusal(label(client, texts=["fox", "\u4e2d\u6587" * 100]))
    assert (status, error.partition(" tokens")[0].rpartition(" ")[0]) == (413, "text 1 has")
    status, error = refusal(label(client, texts=["\u4e2d\u6587" * 20] * 5))
    assert (status, error) == (413, "the request has more than 500 tokens")


def test_long_texts_get_the_same_labels_in_steps(serve, tiny_llama_folder, tmp_path):
    labeler = tiny_labeler(tiny_llama_folder, plan="0011")
    texts = ["Ada Lovelace was born in London . " * 200, "", " ", "\u4e2d\u6587 Toyota" * 20]
    answer = label(serve({"tiny": labeler}), texts=texts)
    assert answer.json()["predictions"] == [one.to_dict() for one in labeler.predict(texts)]


def test_a_body_of_unknown_length_is_limited_while_it_is_read(serve):
    sent = 0

    def chunks():
        nonlocal sent
        for _ in range(50):
            sent += 1
            yield b" " * 1000

    client = serve(body_bytes=5000)
    answer = client.post("/v1/label", content=chunks(), headers={"Content-Type": "application/json"})
    assert refusal(answer)[0] == 413


def test_a_full_queue_answers_429_and_recovers(serve, labeler):
    client = serve(queue_tokens=24, text_tokens=24, wait_ms=0)
    labeler.go.clear()
    answers: list = []
    held = threading.Thread(target=lambda: answers.append(label(client, text="Ann " * 15)))
    held.start()
    assert labeler.busy.wait(5)
    refused = label(client, text="Bea " * 15)
    assert refusal(refused)[0] == 429
    assert int(refused.headers["retry-after"]) >= 1
    labeler.go.set()
    held.join(5)
    assert found(answers[0]) == [["Ann"] * 15]
    assert found(label(client, text="Bea")) == [["Bea"]]


def test_no_answer_in_time_is_503_and_what_waits_is_dropped(serve, labeler):
    client = serve(timeout_seconds=0.2, wait_ms=0)
    labeler.go.clear()
    first = label(client, text="first")
    second = label(client, text="second")
    assert refusal(first)[0] == refusal(second)[0] == 503
    labeler.go.set()
    assert found(label(client, text="Third")) == [["Third"]]
    assert ["second"] not in labeler.batches


def test_a_crash_is_told_without_the_text_and_hurts_nobody_else(serve, log):
    client = serve()
    answer = label(client, texts=["Ann", "crash on this secret"])
    assert refusal(answer) == (500, "the server failed on this request (RuntimeError)")
    assert "secret" not in json.dumps(log())
    assert any("places" in fields for fields in log())
    assert found(label(client, text="Ann")) == [["Ann"]]


def test_logs_tell_of_requests_but_not_of_texts_unless_asked(serve, log):
    label(serve(), text="Ann's secret")
    (line,) = log()
    assert line["status"] == 200
    assert (line["model"], line["texts"], line["chars"]) == ("capitals", 1, 12)
    assert "secret" not in json.dumps(log())
    label(serve(log_texts=True), text="Ann's secret")
    assert log()[-1]["text"] == ["Ann's secret"]


def test_a_key_is_asked_for_where_texts_are_labeled(serve):
    client = serve(api_key="s3cret-ü")
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"X-API-Key": ""}):
        answer = client.post("/v1/label", json={"text": "Ann"}, headers=headers)
        assert refusal(answer)[0] == 401
        assert client.get("/metrics", headers=headers).status_code == 401
    encoded = "s3cret-ü".encode()
    for headers in ({"Authorization": b"Bearer " + encoded}, {"X-API-Key": encoded}):
        assert found(client.post("/v1/label", json={"text": "Ann"}, headers=headers)) == [["Ann"]]
    assert all(client.get(path).status_code == 200 for path in ("/", "/healthz", "/readyz", "/docs"))


@pytest.mark.parametrize(
    "key", ["voilà", "\u0445"]
)  # the last byte is whitespace where it is read as Latin-1
def test_a_key_is_compared_byte_by_byte(serve, key):
    client = serve(api_key=key)
    for headers in ({"Authorization": b"Bearer  " + key.encode()}, {"X-API-Key": key.encode()}):
        assert found(client.post("/v1/label", json={"text": "Ann"}, headers=headers)) == [["Ann"]]


def test_requests_have_a_number_that_the_client_may_give(serve):
    client = serve()
    given = client.get("/healthz", headers={"X-Request-Id": "abc-1"})
    assert given.headers["x-request-id"] == "abc-1"
    made = client.get("/healthz", headers={"X-Request-Id": "evil\tid"}).headers["x-request-id"]
    assert made.isalnum()


def test_metrics_count_requests_refusals_and_texts(serve):
    client = serve(texts=2)
    label(client, texts=["Ann", "Bea"])
    label(client, texts=["Ann"] * 3)
    text = client.get("/metrics").text
    assert 'lookboth_requests_total{path="/v1/label",status="200"} 1.0' in text
    assert 'lookboth_refused_requests_total{reason="too_large"} 1.0' in text
    assert 'lookboth_texts_total{model="capitals"} 2.0' in text
    assert "lookboth_queue_tokens 0.0" in text


def test_the_page_on_serving_names_every_setting_with_its_default():
    page = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", page.partition("| setting |")[2], re.MULTILINE))
    shown = {name: value.strip().replace(",", "") for name, value in rows.items()}
    defaults = ServerSettings().model_dump()
    assert shown.keys() == defaults.keys()
    assert {n: float(shown[n]) for n, value in defaults.items() if value} == {
        n: v for n, v in defaults.items() if v
    }


def test_the_api_is_described(serve):
    client = serve()
    operation = client.get("/openapi.json").json()["paths"]["/v1/label"]["post"]
    assert set(operation["responses"]) >= {"200", "413", "422", "429", "503"}
    assert "min_score" in json.dumps(operation["requestBody"])
    assert "security" not in operation
    operation = serve(api_key="k").get("/openapi.json").json()["paths"]["/v1/label"]["post"]
    assert operation["security"]


def test_pages_load_nothing_from_elsewhere(serve):
    client = serve()
    for page in ("/", "/docs"):
        answer = client.get(page)
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "http" not in answer.text.replace("http://www.w3.org/2000/svg", "")
        for name in answer.text.split('"')[1::2]:
            if name.endswith((".js", ".css", ".svg")):
                assert client.get(f"/{name}").status_code == 200, name


def test_readiness_ends_with_the_server(serve):
    client = serve()
    assert client.get("/readyz").status_code == client.get("/healthz").status_code == 200
    client.__exit__(None, None, None)
    assert client.get("/readyz").status_code == 503
    assert refusal(label(client, text="x"))[0] == 503


def test_models_of_one_name_and_nameless_ones_are_refused():
    from lookboth.errors import ConfigError

    for names in (["a/x", "b/x"], ["=a"], ["a="], ["x=a", "x=b"]):
        with pytest.raises(ConfigError):
            name_labelers(names)


def test_a_model_in_the_current_folder_is_called_by_the_folders_name(tmp_path, monkeypatch):
    (tmp_path / "ner" / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "ner")
    assert name_labelers(["."]) == {"ner": "."}
    assert name_labelers(["inner/"]) == {"inner": "inner/"}
    assert name_labelers(["./inner/.."]) == {"ner": "./inner/.."}
    assert name_labelers(["x=."]) == {"x": "."}


def test_labels_of_an_open_labeler_are_named_by_the_request(serve, tiny_llama_folder):
    labeler = tiny_labeler(tiny_llama_folder, plan="0011", head={"kind": "open"})
    client = serve({"open": labeler, "fixed": tiny_labeler(tiny_llama_folder)})
    texts, named = ["Ada Lovelace was born in London", "Toyota"], ["product: sold, or rented", "company"]
    assert [model["open"] for model in client.get("/v1/models").json()] == [True, False]

    def spans(**wanted):
        return label(client, texts=texts, **wanted).json()["predictions"]

    def expected(found):
        return [prediction.to_dict() for prediction in found.predict(texts)]

    for _ in range(2):
        assert spans(labels=named) == expected(labeler.with_labels(named))
        assert spans() == expected(labeler)
    assert spans(labels=named, plan="causal") == expected(labeler.with_plan("causal").with_labels(named))
    assert spans(labels=named, min_score={"company": 1.0, "product": 1.0}) == [
        {"text": text, "spans": []} for text in texts
    ]
    for wanted in (
        {"labels": ["a", "a"]},
        {"labels": [" "]},
        {"labels": ["a", "A"]},
        {"labels": named, "min_score": {"PER": 0.5}},
    ):
        assert refusal(label(client, text="x", **wanted))[0] == 422
    assert refusal(label(client, text="x", labels=["a: " + "b " * 600]))[0] == 422
    assert refusal(label(client, text="x", labels=["a" * 50_001]))[0] == 413
    # A labeler with fixed labels only selects among them.
    assert refusal(label(client, text="x", model="fixed", labels=named))[0] == 422


def test_views_of_many_requests_are_bounded(tiny_llama_folder):
    labeler = tiny_labeler(tiny_llama_folder, head={"kind": "open"})
    models = ServedModels({"open": labeler})
    for number in range(20):
        work = models.find(None, None, [f"label {number}"])
        (text,) = models.cut(work, ["Ada"])
        models.join(work, text, models.compute([work] * len(text.steps), text.steps))
    assert len(models._views) == 16


def test_a_document_is_read_with_context(serve, tiny_llama_folder):
    labeler = tiny_labeler(tiny_llama_folder, plan="0110")
    labeler.config = replace(labeler.config, context="document")
    client = serve({"tiny": labeler})
    texts = ["Ada Lovelace was born", "", "in London", "and worked with Charles Babbage"]
    for document in (True, False):
        answer = label(client, texts=texts, document=document)
        assert answer.status_code == 200, answer.text
        spans = [[span["label"] for span in one["spans"]] for one in answer.json()["predictions"]]
        wanted = labeler.predict(texts, document=document)
        assert spans == [[span.label for span in one.spans] for one in wanted]
        scores = [span["score"] for one in answer.json()["predictions"] for span in one["spans"]]
        assert scores == pytest.approx([span.score for one in wanted for span in one.spans], abs=2e-3)
    refused = label(serve({"plain": tiny_labeler(tiny_llama_folder)}), texts=texts, document=True)
    assert refused.status_code == 422
    assert "alone" in refused.text
