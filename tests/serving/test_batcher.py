"""Requests share batches, take turns, and neither lose nor disturb each other."""

import threading
import time
from concurrent.futures import wait
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookboth.serving.batcher import Batcher
from lookboth.serving.metrics import Metrics
from lookboth.serving.models import Work
from lookboth.serving.refusals import Refusal
from lookboth.serving.settings import ServerSettings

A, B = Work("a"), Work("b")


class Echo:
    """Gives back work and text; waits until it may go on; knows what it was asked."""

    def __init__(self, *, held: bool = False) -> None:
        self.calls: list[tuple[Work, list[str]]] = []
        self.go, self.busy = threading.Event(), threading.Event()
        if not held:
            self.go.set()

    def __call__(self, work, texts):
        self.calls.append((work, list(texts)))
        self.busy.set()
        assert self.go.wait(10)
        if any("bad" in text for text in texts):
            raise ValueError(f"cannot label {texts}")
        return [(work.model, text) for text in texts]


def start(label, *, batch_tokens: int = 512, **settings) -> Batcher:
    settings = {"wait_ms": 0, **settings}
    return Batcher(label, ServerSettings(**settings), Metrics(), batch_tokens=batch_tokens)


def hold(echo: Echo, batcher: Batcher):
    """Give the worker something to be busy with; return its future."""
    first = batcher.submit(A, ["first"])
    assert echo.busy.wait(5)
    return first


@given(
    st.lists(st.tuples(st.sampled_from([A, B]), st.lists(st.text(max_size=30), max_size=5)), max_size=12),
    st.integers(1, 30),
)
def test_every_request_gets_its_own_answers_in_order(requests, batch_tokens):
    batcher = start(Echo(), batch_tokens=batch_tokens)
    futures = [batcher.submit(work, texts) for work, texts in requests]
    batcher.close()
    for (work, texts), future in zip(requests, futures, strict=True):
        assert future.result(0) == [(work.model, text) for text in texts]


def test_what_waits_is_labeled_together_and_one_model_at_a_time():
    echo = Echo(held=True)
    batcher = start(echo)
    hold(echo, batcher)
    for work, text in ((A, "1"), (B, "2"), (A, "3"), (B, "4")):
        batcher.submit(work, [text])
    echo.go.set()
    batcher.close()
    assert echo.calls[1:] == [(A, ["1", "3"]), (B, ["2", "4"])]


def test_a_lone_request_waits_for_company_but_not_for_long():
    echo = Echo()
    batcher = start(echo, wait_ms=300)
    one = batcher.submit(A, ["1"])
    two = batcher.submit(A, ["2"])
    start_time = time.monotonic()
    one.result(5), two.result(5)
    assert time.monotonic() - start_time < 3
    assert echo.calls == [(A, ["1", "2"])]
    batcher.close()


def test_a_full_batch_does_not_wait():
    batcher = start(Echo(), wait_ms=60_000, batch_tokens=10)
    assert batcher.submit(A, ["x" * 100]).result(5)
    batcher.close()


def test_a_small_request_is_not_held_behind_a_large_one():
    echo = Echo(held=True)
    batcher = start(echo, batch_tokens=20)
    hold(echo, batcher)
    large = batcher.submit(A, ["l" * 30] * 50)
    small = batcher.submit(A, ["small"])
    small.add_done_callback(lambda _: done.append(large.done()))
    done: list[bool] = []
    echo.go.set()
    large.result(5)
    batcher.close()
    assert done == [False]


def test_what_nobody_waits_for_is_not_computed_and_takes_no_room():
    echo = Echo(held=True)
    batcher = start(echo, queue_chars=100, text_chars=100)
    hold(echo, batcher)
    for _ in range(50):  # each would fill the queue
        assert batcher.submit(A, ["gone" * 10]).cancel()
    kept = batcher.submit(A, ["kept"])
    echo.go.set()
    assert kept.result(5) == [("a", "kept")]
    batcher.close()
    assert "gone" * 10 not in [text for _, texts in echo.calls for text in texts]


def test_a_full_queue_refuses_and_says_when_to_come_back():
    echo = Echo(held=True)
    batcher = start(echo, queue_chars=200, text_chars=150)
    hold(echo, batcher)
    batcher.submit(A, ["x" * 120])
    with pytest.raises(Refusal) as caught:
        batcher.submit(A, ["y" * 120])
    assert caught.value.status == 429
    assert caught.value.retry_after >= 1
    with pytest.raises(Refusal) as caught:
        batcher.submit(A, ["y" * 120] * 2)
    assert caught.value.status == 413
    echo.go.set()
    batcher.close()


def test_what_could_not_be_answered_in_time_is_refused_at_once():
    def slow(work, texts):
        time.sleep(0.05 * len(texts))
        return [(work.model, text) for text in texts]

    batcher = start(slow, batch_tokens=1, timeout_seconds=1.0)
    for _ in range(20):  # it learns how slow it is: about 700 characters a second
        batcher.submit(A, ["x" * 20]).result(5)
    accepted, begin = [], time.monotonic()
    with suppress(Refusal):
        for _ in range(200):
            accepted.append(batcher.submit(A, ["x" * 20]))
    for future in accepted:
        future.result(5)
    assert 5 < len(accepted) < 200
    assert time.monotonic() - begin < 2
    batcher.close()


def test_a_text_that_cannot_be_labeled_fails_alone():
    echo = Echo(held=True)
    batcher = start(echo)
    hold(echo, batcher)
    good, bad = batcher.submit(A, ["good", "fine"]), batcher.submit(A, ["ok", "bad", "ok"])
    echo.go.set()
    assert good.result(5) == [("a", "good"), ("a", "fine")]
    with pytest.raises(ValueError, match="bad"):
        bad.result(5)
    assert batcher.submit(A, ["on"]).result(5) == [("a", "on")]
    batcher.close()


def test_a_request_without_texts_never_meets_the_worker(monkeypatch):
    batcher = start(Echo())
    leave = batcher._leave

    def leave_late(job, weight):
        wait([batcher._working], timeout=2)  # time for the worker to trip over what is queued
        leave(job, weight)

    monkeypatch.setattr(batcher, "_leave", leave_late)
    assert batcher.submit(A, []).result(5) == []
    assert batcher.alive
    monkeypatch.setattr(batcher, "_leave", leave)
    assert batcher.submit(A, ["on"]).result(5) == [("a", "on")]
    batcher.close()
    with pytest.raises(Refusal):
        batcher.submit(A, [])


def test_a_labeler_that_gives_back_too_few_fails_these_texts_alone():
    def forgetful(work, texts):
        return [(work.model, text) for text in texts if text != "lost"]

    batcher = start(forgetful, wait_ms=100)
    good, lost = batcher.submit(A, ["1", "2"]), batcher.submit(A, ["lost"])
    assert good.result(5) == [("a", "1"), ("a", "2")]
    with pytest.raises(ValueError, match="shorter"):
        lost.result(5)
    assert batcher.submit(A, ["on"]).result(5) == [("a", "on")]
    batcher.close()


def test_what_fails_around_labeling_fails_its_batch_and_not_the_worker(monkeypatch):
    batcher = start(Echo())
    with monkeypatch.context() as patched:
        patched.setattr(batcher._metrics, "count_batch", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            batcher.submit(A, ["one", "two"]).result(5)
    assert batcher.alive
    assert batcher.submit(A, ["on"]).result(5) == [("a", "on")]
    batcher.close()


def test_closing_finishes_what_was_accepted_and_accepts_no_more():
    echo = Echo(held=True)
    batcher = start(echo)
    hold(echo, batcher)
    waiting = batcher.submit(A, ["waiting"])
    closing = threading.Thread(target=batcher.close)
    closing.start()
    while batcher.accepts:
        time.sleep(0.001)
    with pytest.raises(Refusal) as caught:
        batcher.submit(A, ["late"])
    assert caught.value.status == 503
    echo.go.set()
    closing.join(5)
    assert waiting.result(0) == [("a", "waiting")]
    assert not batcher.alive
