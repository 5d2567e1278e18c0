"""Requests share batches, take turns, and neither lose nor disturb each other."""

import threading
import time
from contextlib import suppress

import pytest
from hypothesis import given, strategies as st

from lookboth.serving.batcher import Batcher
from lookboth.serving.refusals import Refusal
from lookboth.serving.served_models import Work
from lookboth.serving.server_metrics import Metrics
from lookboth.serving.settings import ServerSettings
from lookboth.serving.steps import CutText, Step
from lookboth.types import Example

A, B = Work("a"), Work("b")


class Echo:
    """Gives back work and text; a letter is a token; waits until it may go on; knows what it was asked."""

    def __init__(self, *, held: bool = False) -> None:
        self.calls: list[tuple[Work, list[str]]] = []
        self.go, self.busy = threading.Event(), threading.Event()
        if not held:
            self.go.set()

    def compute(self, works, steps):
        return self.label(works[0], [step.piece for step in steps])

    def join(self, work, text, results):
        return (work.model, "".join(results))

    def label(self, work, texts):
        self.calls.append((work, list(texts)))
        self.busy.set()
        assert self.go.wait(10)
        if any("bad" in text for text in texts):
            raise ValueError(f"cannot label {texts}")
        return texts


def cut(texts, window: int = 1000) -> list[CutText]:
    """Return texts cut into windows of that many letters."""
    windows = [[text[i : i + window] for i in range(0, len(text), window)] for text in texts]
    return [
        CutText(Example((), text=text), tuple(Step(len(one), one) for one in pieces))
        for text, pieces in zip(texts, windows, strict=True)
    ]


class Batches(Batcher):
    """A batcher that is given texts, to be answered within `seconds`."""

    def give(self, work, texts, *, window: int = 1000, seconds: float = 60.0):
        return self.submit(work, cut(texts, window), time.monotonic() + seconds)


def start(echo, *, batch_tokens: int = 512, **settings) -> Batches:
    settings = {"wait_ms": 0, "text_tokens": 100, **settings}
    speeds = {"a": 1e6, "b": 1e6}
    return Batches(echo, ServerSettings(**settings), Metrics(), batch_tokens=batch_tokens, speeds=speeds)


def hold(echo: Echo, batcher: Batcher):
    """Give the worker something to be busy with; return its future."""
    first = batcher.give(A, ["first"])
    assert echo.busy.wait(5)
    return first


@given(
    st.lists(st.tuples(st.sampled_from([A, B]), st.lists(st.text(max_size=30), max_size=5)), max_size=12),
    st.integers(1, 30),
)
def test_every_request_gets_its_own_answers_in_order(requests, batch_tokens):
    batcher = start(Echo(), batch_tokens=batch_tokens)
    futures = [batcher.give(work, texts) for work, texts in requests]
    batcher.close()
    for (work, texts), future in zip(requests, futures, strict=True):
        assert future.result(0) == [(work.model, text) for text in texts]


def test_what_waits_is_labeled_together_and_one_model_at_a_time():
    echo = Echo(held=True)
    batcher = start(echo)
    hold(echo, batcher)
    for work, text in ((A, "1"), (B, "2"), (A, "3"), (B, "4")):
        batcher.give(work, [text])
    echo.go.set()
    batcher.close()
    assert echo.calls[1:] == [(A, ["1", "3"]), (B, ["2", "4"])]


def test_a_lone_request_waits_for_company_but_not_for_long():
    echo = Echo()
    batcher = start(echo, wait_ms=300)
    one = batcher.give(A, ["1"])
    two = batcher.give(A, ["2"])
    start_time = time.monotonic()
    one.result(5), two.result(5)
    assert time.monotonic() - start_time < 3
    assert echo.calls == [(A, ["1", "2"])]
    batcher.close()


def test_a_client_that_asks_alone_waits_for_company_only_once():
    batcher = start(Echo(), wait_ms=300)
    seconds = []
    for text in ("1", "2", "3"):
        start_time = time.monotonic()
        batcher.give(A, [text]).result(5)
        seconds.append(time.monotonic() - start_time)
    assert seconds[0] >= 0.3
    assert max(seconds[1:]) < 0.3
    batcher.close()


def test_requests_that_come_together_wait_for_each_other_again():
    echo = Echo(held=True)
    batcher = start(echo, wait_ms=300)
    alone, company = hold(echo, batcher), [batcher.give(A, [text]) for text in ("1", "2")]
    echo.go.set()
    for future in (alone, *company):
        future.result(5)
    later = [batcher.give(A, [text]) for text in ("3", "4")]
    for future in later:
        future.result(5)
    assert echo.calls == [(A, ["first"]), (A, ["1", "2"]), (A, ["3", "4"])]
    batcher.close()


def test_a_full_batch_does_not_wait():
    batcher = start(Echo(), wait_ms=60_000, batch_tokens=10)
    assert batcher.give(A, ["x" * 100]).result(5)
    batcher.close()


def test_a_small_request_is_not_held_behind_a_large_one():
    echo = Echo(held=True)
    batcher = start(echo, batch_tokens=20)
    hold(echo, batcher)
    large = batcher.give(A, ["l" * 30] * 50)
    small = batcher.give(A, ["small"])
    small.add_done_callback(lambda _: done.append(large.done()))
    done: list[bool] = []
    echo.go.set()
    large.result(5)
    batcher.close()
    assert done == [False]


def test_what_nobody_waits_for_is_not_computed_and_takes_no_room():
    echo = Echo(held=True)
    batcher = start(echo, queue_tokens=100)
    hold(echo, batcher)
    for _ in range(50):  # each would fill the queue
        assert batcher.give(A, ["gone" * 10]).cancel()
    kept = batcher.give(A, ["kept"])
    echo.go.set()
    assert kept.result(5) == [("a", "kept")]
    batcher.close()
    assert "gone" * 10 not in [text for _, texts in echo.calls for text in texts]


def test_a_full_queue_refuses_and_says_when_to_come_back():
    echo = Echo(held=True)
    batcher = start(echo, queue_tokens=200)
    hold(echo, batcher)
    batcher.give(A, ["x" * 120])
    with pytest.raises(Refusal) as caught:
        batcher.give(A, ["y" * 120])
    assert caught.value.status == 429
    assert caught.value.retry_after >= 1
    with pytest.raises(Refusal) as caught:
        batcher.give(A, ["y" * 120] * 2)
    assert caught.value.status == 413
    echo.go.set()
    batcher.close()


class Slow(Echo):
    """Takes a second for 1000 letters."""

    def label(self, work, texts):
        time.sleep(sum(map(len, texts)) / 1000)
        return super().label(work, texts)


def slow(echo=None, *, speed: float = 1000.0, **settings) -> Batches:
    settings = {"wait_ms": 0, "text_tokens": 100, **settings}
    return Batches(
        echo or Echo(), ServerSettings(**settings), Metrics(), batch_tokens=20, speeds={"a": speed}
    )


def refused(batcher: Batches, *args, **keywords) -> int:
    with pytest.raises(Refusal) as caught:
        batcher.give(*args, **keywords)
    return caught.value.status


def test_only_what_can_be_answered_in_time_is_taken_on():
    echo = Echo(held=True)
    batcher = slow(echo, timeout_seconds=60.0)
    hold(echo, batcher)
    accepted = []
    with suppress(Refusal):
        while len(accepted) < 60:
            accepted.append(batcher.give(A, ["x" * 20] * 50))  # a second of work
    assert 40 <= len(accepted) <= 45
    echo.go.set()
    batcher.close()


def test_what_is_too_slow_at_any_time_is_too_large():
    batcher = slow(speed=10.0, timeout_seconds=60.0)
    assert refused(batcher, A, ["x" * 500]) == 413
    assert batcher.give(A, ["x" * 20]).result(
        5
    )  # up to a full batch it is tried, or the speed would never be learned
    batcher.close()


def test_nothing_is_taken_on_that_would_make_a_request_late_that_was_taken_on():
    echo = Echo(held=True)
    batcher = slow(echo, timeout_seconds=60.0)
    hold(echo, batcher)
    batcher.give(A, ["x" * 20] * 2200)  # 44 seconds of 60
    batcher.give(A, ["y" * 20] * 500)  # passes it, but leaves it enough time
    assert refused(batcher, A, ["z" * 20] * 500) == 429
    assert refused(batcher, A, ["z" * 20] * 400, seconds=1000) == 429
    batcher.give(A, ["z"])
    batcher.give(A, ["z" * 20] * 2240, seconds=1000)  # does not pass it
    echo.go.set()
    batcher.close()


def test_the_speed_is_learned():
    batcher = slow(Slow(), speed=1e9, timeout_seconds=1.0)
    for _ in range(20):
        batcher.give(A, ["x" * 20]).result(5)
    assert refused(batcher, A, ["x" * 20] * 500) == 413
    batcher.close()


def test_a_long_text_is_labeled_window_by_window_and_others_come_between():
    echo = Echo(held=True)
    batcher = start(echo, batch_tokens=20)
    hold(echo, batcher)
    long = batcher.give(A, ["l" * 400], window=20)
    short = batcher.give(A, ["short"])
    done: list[int] = []
    short.add_done_callback(lambda _: done.append(len(echo.calls)))
    echo.go.set()
    assert long.result(5) == [("a", "l" * 400)]
    assert done[0] <= 4
    assert len(echo.calls) >= 20
    batcher.close()


def test_a_batch_is_not_made_twice_as_large_by_the_last_step_it_takes():
    echo = Echo()
    batcher = start(echo, batch_tokens=20)
    batcher.give(A, ["l" * 190], window=19).result(5)
    batcher.give(A, ["s" * 5] * 40).result(5)
    batcher.close()
    sizes = [sum(map(len, texts)) for _, texts in echo.calls]
    assert sizes == [19] * 10 + [20] * 10


def test_a_text_that_nobody_waits_for_any_more_is_not_finished():
    echo = Echo(held=True)
    batcher = start(echo, batch_tokens=20)
    long = batcher.give(A, ["l" * 400], window=20)
    assert echo.busy.wait(5)
    assert long.cancel()
    echo.go.set()
    batcher.give(A, ["on"]).result(5)
    assert [texts for _, texts in echo.calls] == [["l" * 20], ["on"]]
    batcher.close()


def test_requests_of_one_size_are_answered_one_after_the_other():
    echo = Echo(held=True)
    batcher = start(echo, batch_tokens=20)
    hold(echo, batcher)
    done: list[int] = []
    futures = [batcher.give(A, [str(number) * 10] * 10) for number in range(5)]
    for number, future in enumerate(futures):
        future.add_done_callback(lambda _, number=number: done.append(number))
    echo.go.set()
    batcher.close()
    assert done == [0, 1, 2, 3, 4]
    first_done = next(i for i, (_, texts) in enumerate(echo.calls) if "1" * 10 in texts)
    assert first_done >= 5


def test_a_large_request_is_not_passed_by_small_ones_for_ever():
    echo = Echo(held=True)
    batcher = start(echo, batch_tokens=20)
    hold(echo, batcher)
    large = batcher.give(A, ["l" * 20] * 10)
    small = [batcher.give(A, [str(number) * 20]) for number in range(20, 60)]
    large.add_done_callback(lambda _: left.append(sum(not future.done() for future in small)))
    left: list[int] = []
    echo.go.set()
    batcher.close()
    assert left[0] >= 25


def test_a_text_that_cannot_be_labeled_fails_alone():
    echo = Echo(held=True)
    batcher = start(echo)
    hold(echo, batcher)
    good, bad = batcher.give(A, ["good", "fine"]), batcher.give(A, ["ok", "bad", "ok"])
    echo.go.set()
    assert good.result(5) == [("a", "good"), ("a", "fine")]
    with pytest.raises(ValueError, match="bad"):
        bad.result(5)
    assert batcher.give(A, ["on"]).result(5) == [("a", "on")]
    batcher.close()


def test_a_request_with_nothing_to_compute_never_meets_the_worker():
    batcher = start(Echo())
    assert batcher.give(A, []).result(0) == []
    assert batcher.give(A, ["", ""]).result(0) == [("a", ""), ("a", "")]
    assert batcher.alive
    assert batcher.give(A, ["on"]).result(5) == [("a", "on")]
    batcher.close()
    with pytest.raises(Refusal):
        batcher.give(A, [])


def test_a_labeler_that_gives_back_too_few_fails_these_texts_alone():
    class Forgetful(Echo):
        def label(self, work, texts):
            return [text for text in texts if text != "lost"]

    batcher = start(Forgetful(), wait_ms=100)
    good, lost = batcher.give(A, ["1", "2"]), batcher.give(A, ["lost"])
    assert good.result(5) == [("a", "1"), ("a", "2")]
    with pytest.raises(ValueError, match="shorter"):
        lost.result(5)
    assert batcher.give(A, ["on"]).result(5) == [("a", "on")]
    batcher.close()


def test_what_fails_around_labeling_fails_its_batch_and_not_the_worker(monkeypatch):
    batcher = start(Echo())
    with monkeypatch.context() as patched:
        patched.setattr(batcher._metrics, "count_batch", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            batcher.give(A, ["one", "two"]).result(5)
    assert batcher.alive
    assert batcher.give(A, ["on"]).result(5) == [("a", "on")]
    batcher.close()


def test_closing_finishes_what_was_accepted_and_accepts_no_more():
    echo = Echo(held=True)
    batcher = start(echo)
    hold(echo, batcher)
    waiting = batcher.give(A, ["waiting"])
    closing = threading.Thread(target=batcher.close)
    closing.start()
    while batcher.accepts:
        time.sleep(0.001)
    with pytest.raises(Refusal) as caught:
        batcher.give(A, ["late"])
    assert caught.value.status == 503
    echo.go.set()
    closing.join(5)
    assert waiting.result(0) == [("a", "waiting")]
    assert not batcher.alive
