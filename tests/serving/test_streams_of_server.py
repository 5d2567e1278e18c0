"""Streams over HTTP: events while the text arrives, within the limits of the server."""

import http.client
import json
from contextlib import closing, contextmanager

import pytest
from running import running
from tiny import CORPUS, tiny_labeler

TEXT = CORPUS[1]


@pytest.fixture(scope="module")
def labelers(tiny_llama_folder):
    return {
        "one": tiny_labeler(tiny_llama_folder, plan="0,1,0,1"),
        "full": tiny_labeler(tiny_llama_folder, plan="full"),
    }


class Client:
    """A client of a server on this machine."""

    def __init__(self, port, headers=None):
        self.port, self.headers = port, {"Content-Type": "application/json", **(headers or {})}

    def post(self, path, **body):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("POST", path, json.dumps(body), self.headers)
        return connection, connection.getresponse()

    def push(self, stream, text="", **more):
        connection, answer = self.post(f"/v1/streams/{stream}", text=text, **more)
        with closing(connection):
            return answer.status, json.load(answer)

    @contextmanager
    def open(self, **body):
        connection, answer = self.post("/v1/streams", **body)
        with closing(connection):
            assert answer.status == 200, answer.read()
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            yield answer, next_event(answer)[1]["stream"]


def next_event(answer):
    """Return name and data of the next event."""
    lines = [answer.readline().decode().strip() for _ in range(3)]
    assert lines[2] == ""
    return lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))


def rest_of(answer):
    events = []
    while not events or events[-1][0] != "end":
        events.append(next_event(answer))
    return events


def test_updates_are_those_of_the_whole_text(labelers):
    expected = labelers["one"].predict(TEXT)[0]
    with running(labelers, stop_seconds=1) as (_, port):
        client = Client(port)
        with client.open() as (answer, stream):
            for start in range(0, len(TEXT), 9):
                assert client.push(stream, TEXT[start : start + 9]) == (
                    202,
                    {"chars": min(len(TEXT), start + 9)},
                )
            client.push(stream, finish=True)
            *updates, (_, last) = rest_of(answer)
            assert client.push(stream, "more")[0] == 404
    words = [word for _, update in updates for word in update["words"]]
    assert [word["tag"] for word in words] == list(expected.tags)
    assert [(word["start"], word["end"]) for word in words] == list(expected.offsets)
    spans = [span for _, update in updates for span in update["spans"]]
    assert spans == [pytest.approx(span.to_dict(), abs=1e-3) for span in expected.spans]
    assert last == {"chars": len(TEXT)}


def test_a_stream_finds_the_labels_of_its_request(labelers, tiny_llama_folder):
    made = [tiny_labeler(tiny_llama_folder, plan="causal", head={"kind": "open"}) for _ in range(2)]
    expected = made[0].with_labels(["firm", "town: a place"]).predict(TEXT)[0]
    with running({**labelers, "open": made[1]}, stop_seconds=1) as (_, port):
        client = Client(port)
        with client.open(model="open", labels=["town: a place", "firm"]) as (answer, stream):
            client.push(stream, TEXT, finish=True)
            updates = [update for _, update in rest_of(answer)[:-1]]
        for body, message in (
            ({"labels": ["firm"]}, "the labels of the model 'one' are fixed"),
            ({"model": "open", "labels": []}, "0 labels are named"),
        ):
            connection, answer = client.post("/v1/streams", **body)
            with closing(connection):
                assert (answer.status, message in json.load(answer)["error"]) == (422, True)
    assert [word["tag"] for update in updates for word in update["words"]] == list(expected.tags)


def test_an_event_comes_before_the_text_has_ended(labelers):
    with running(labelers, stop_seconds=1) as (_, port):
        client = Client(port)
        with client.open(lag=0, plan="causal") as (answer, stream):
            client.push(stream, "Ada Lovelace ")
            name, update = next_event(answer)
            assert (name, [word["text"] for word in update["words"]]) == ("update", ["Ada", "Lovelace"])


def test_limits(labelers):
    with running(labelers, stop_seconds=1, streams=1, stream_chars=10, text_chars=8, stream_seconds=0.5) as (
        _,
        port,
    ):
        client = Client(port)
        with client.open() as (answer, stream):
            connection, second = client.post("/v1/streams")
            with closing(connection):
                assert (second.status, json.load(second)["error"]) == (429, "1 streams are open")
            assert client.push(stream, "a" * 9)[0] == 413
            assert client.push(stream, "a" * 8)[0] == 202
            assert client.push(stream, "aaa")[0] == 413
            # Idle: the stream ends, and its place is free.
            assert rest_of(answer)[-1][0] == "end"
        with client.open():
            pass


def test_a_client_that_leaves_frees_its_place(labelers):
    with running(labelers, stop_seconds=1, streams=1) as (_, port):
        client = Client(port)
        for _ in range(3):
            with client.open() as (answer, stream):
                client.push(stream, "Ada was in London. ")
                answer.close()
            # The server notices when it writes, or when the connection is closed.
            for _ in range(100):
                connection, again = client.post("/v1/streams")
                connection.close()
                if again.status == 200:
                    break
            assert again.status == 200


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"model": "full"}, 422, "no limit in layers 0, 1, 2, 3"),
        ({"plan": "0011"}, 422, "no limit in layers 2, 3"),
        ({"model": "none"}, 422, "there is no model"),
        ({"lag": -1}, 422, "lag"),
        ({"text": "Ada"}, 422, "text"),
    ],
    ids=str,
)
def test_what_cannot_be_opened_is_refused(labelers, serve, body, status, message):
    answer = serve(labelers).post("/v1/streams", json=body)
    assert answer.status_code == status
    assert message in answer.json()["error"]


def test_streams_need_the_key(labelers, serve):
    client = serve(labelers, api_key="secret")
    assert client.post("/v1/streams", json={}).status_code == 401
    assert client.post("/v1/streams/x", json={"text": "a"}).status_code == 401
    answer = client.post("/v1/streams/x", json={"text": "a"}, headers={"Authorization": "Bearer secret"})
    assert answer.status_code == 404
