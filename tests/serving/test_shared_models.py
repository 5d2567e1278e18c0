"""Models that share a base in one server: mixed batches, and models that come and go while it runs."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from capitals import label, refusal
from fastapi.testclient import TestClient
from tiny import tiny_labeler

from lookboth.errors import ConfigError
from lookboth.labelers import labeler_pool
from lookboth.labelers.labeler import Labeler
from lookboth.models.labeler_model import LabelerModel
from lookboth.serving.admission import Pace
from lookboth.serving.http_app import build_app
from lookboth.serving.model_loading import load_models
from lookboth.serving.served_models import Work
from lookboth.serving.server import serve as run_server
from lookboth.serving.settings import ServerSettings

TEXTS = ["Ada Lovelace was born in London", "the quick brown fox", "Toyota"]
ADMIN = {"Authorization": "Bearer secret"}


@pytest.fixture(scope="module")
def folders(tiny_llama_folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("served")
    for seed, name in enumerate("abc"):
        tiny_labeler(tiny_llama_folder, plan="0011", seed=seed).save_pretrained(root / name)
    return {name: str(root / name) for name in "abc"}


@pytest.fixture(scope="module")
def expected(folders):
    """What each labeler alone finds in each text."""
    labelers = {
        name: Labeler.from_pretrained(f, device="cpu", precision="fp32") for name, f in folders.items()
    }
    return {
        name: [shown(one.to_dict()) for one in labeler.predict(TEXTS)] for name, labeler in labelers.items()
    }


def shown(prediction):
    return [(span["start"], span["end"], span["label"]) for span in prediction["spans"]]


@pytest.fixture
def start():
    """Return a function that starts a server for some models and returns its client."""
    clients = []

    def start(models, **keys):
        served = load_models(
            [f"{name}={folder}" for name, folder in models.items()], device="cpu", precision="fp32"
        )
        client = TestClient(build_app(served, ServerSettings(wait_ms=50, **keys.pop("settings", {})), **keys))
        clients.append(client)
        client.__enter__()
        return client

    yield start
    for client in clients:
        client.__exit__(None, None, None)


def answers(client, name, **request):
    response = label(client, texts=TEXTS, model=name, **request)
    assert response.status_code == 200, response.text
    return [shown(one) for one in response.json()["predictions"]]


def test_requests_for_different_models_share_batches(start, folders, expected, monkeypatch):
    client = start(folders)
    passes = []
    run = LabelerModel.run
    monkeypatch.setattr(
        LabelerModel, "run", lambda self, *args: passes.append(len(args[1])) or run(self, *args)
    )
    with ThreadPoolExecutor(3) as threads:
        found = dict(zip(folders, threads.map(lambda name: answers(client, name), folders), strict=True))
    assert found == expected
    # Three texts of three models, in fewer passes than models unless the requests came one by one.
    assert sum(passes) == 9
    assert max(passes) > 3


def test_models_are_added_and_removed_while_others_answer(start, folders, expected):
    client = start({"a": folders["a"]}, admin_key="secret", api_key="public")
    client.headers["Authorization"] = "Bearer public"
    assert answers(client, "a") == expected["a"]
    body = {"name": "b", "source": folders["b"]}
    assert refusal(client.post("/v1/models", json=body))[0] == 401
    added = client.post("/v1/models", json=body, headers=ADMIN)
    assert added.status_code == 201
    assert [model["name"] for model in added.json()] == ["a", "b"]
    for name in ("a", "b"):
        assert answers(client, name) == expected[name]
    assert refusal(client.delete("/v1/models/a"))[0] == 401
    left = client.delete("/v1/models/a", headers=ADMIN)
    assert [(model["name"], model["default"]) for model in left.json()] == [("b", True)]
    assert refusal(label(client, text="x", model="a")) == (422, "there is no model 'a'")
    assert answers(client, None) == expected["b"]
    assert refusal(client.delete("/v1/models/b", headers=ADMIN)) == (422, "'b' is the only model")
    assert answers(client, "b") == expected["b"]


def test_a_model_that_shares_batches_has_the_speed_of_the_others(folders):
    models = load_models([f"{name}={folders[name]}" for name in "ab"], device="cpu", precision="fp32")
    assert models.speeds["a"] == models.speeds["b"]
    pace = Pace(100, models.speeds)
    models.thread.submit(models.add, models.prepare("c", folders["c"])).result()
    models.thread.submit(models.warm_up, "c").result()
    assert pace.seconds(Work("c"), 100) == pace.seconds(Work("a"), 100) != pace.seconds(Work("unknown"), 100)


@pytest.mark.parametrize(
    ("body", "status", "found"),
    [
        ({"name": "a", "source": "x"}, 422, "the name 'a' is taken"),
        ({"name": "b", "source": "/no/such/folder"}, 422, "no such folder"),
        ({"name": "b/..", "source": "x"}, 422, "name"),
        ({"name": "b"}, 422, "source"),
    ],
)
def test_what_cannot_be_added_is_refused_and_changes_nothing(start, folders, expected, body, status, found):
    client = start({"a": folders["a"]}, admin_key="secret")
    answer = refusal(client.post("/v1/models", json=body, headers=ADMIN))
    assert answer[0] == status
    assert found in answer[1]
    assert answers(client, "a") == expected["a"]
    assert refusal(client.delete("/v1/models/none", headers=ADMIN)) == (422, "there is no model 'none'")


def test_without_a_key_for_the_administrator_models_are_fixed(start, folders):
    client = start({"a": folders["a"], "b": folders["b"]})
    for headers in ({}, ADMIN):
        assert refusal(client.post("/v1/models", json={}, headers=headers))[0] == 403
        assert refusal(client.delete("/v1/models/a", headers=headers))[0] == 403
    assert client.get("/v1/models").status_code == 200


def test_accepted_requests_are_answered_before_their_model_is_removed(start, folders, expected, monkeypatch):
    client = start(folders, admin_key="secret")
    go, busy = threading.Event(), threading.Event()
    run = LabelerModel.run

    def held(self, *args):
        busy.set()
        assert go.wait(10)
        return run(self, *args)

    monkeypatch.setattr(LabelerModel, "run", held)
    with ThreadPoolExecutor(2) as threads:
        waiting = threads.submit(answers, client, "c")
        assert busy.wait(10)
        removed = threads.submit(client.delete, "/v1/models/c", headers=ADMIN)
        while label(client, text="", model="c").status_code == 200:
            time.sleep(0.01)
        go.set()
        assert waiting.result() == expected["c"]
        assert [model["name"] for model in removed.result().json()] == ["a", "b"]
    assert answers(client, "a") == expected["a"]


def test_others_are_answered_while_a_labeler_is_loaded(start, folders, expected, monkeypatch):
    client = start({"a": folders["a"]}, admin_key="secret")
    go, loading, load = threading.Event(), threading.Event(), labeler_pool.load_folder

    def held(*args):
        loading.set()
        assert go.wait(20)
        return load(*args)

    monkeypatch.setattr(labeler_pool, "load_folder", held)
    with ThreadPoolExecutor(3) as threads:
        body = {"name": "b", "source": folders["b"]}
        added = threads.submit(client.post, "/v1/models", json=body, headers=ADMIN)
        assert loading.wait(10)
        try:
            answered = threads.submit(answers, client, "a").result(timeout=10)
            names = [model["name"] for model in client.get("/v1/models").json()]
            # A second change waits for the first.
            removed = threads.submit(client.delete, "/v1/models/a", headers=ADMIN)
        finally:
            go.set()
        assert (answered, names) == (expected["a"], ["a"])
        assert [model["name"] for model in added.result().json()] == ["a", "b"]
        assert [model["name"] for model in removed.result().json()] == ["b"]
    assert answers(client, "b") == expected["b"]


def test_clients_and_administrator_have_different_keys(monkeypatch):
    monkeypatch.setenv("LOOKBOTH_API_KEY", "one")
    monkeypatch.setenv("LOOKBOTH_ADMIN_KEY", "one ")
    with pytest.raises(ConfigError, match="Give the administrator another key"):
        run_server()
