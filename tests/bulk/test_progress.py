"""Counts, speed and time left."""

import pytest

from lookboth.bulk import bulk_progress as progress_module
from lookboth.bulk.bulk_progress import Meter, ProgressLine
from lookboth.bulk.part_results import Receipt


def receipt(part: int, words: int, seconds: float = 2.0) -> Receipt:
    return Receipt(
        part, rows=1, bad=part % 2, words=words, spans=3, size=10, seconds=seconds, worker="here:1"
    )


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    return now


def test_speed_is_that_of_this_try_without_loading(clock):
    meter = Meter([100, 100, 200, 400], [receipt(0, 5000)])
    assert (meter.progress().words, meter.progress().seconds_left) == (5000, None)
    clock[0] = 200.0  # the labeler was loaded for 98 seconds
    first = meter.add(receipt(1, 60))
    assert (first.words_a_second, first.seconds_left) == (30, pytest.approx(2 * 600 / 100))
    clock[0] = 204.0
    second = meter.add(receipt(2, 120))
    assert (second.words_a_second, second.seconds_left) == (30, pytest.approx(6 * 400 / 300))
    assert (second.parts, second.all_parts, second.bytes, second.all_bytes) == (3, 4, 400, 800)
    assert (second.rows, second.words, second.spans, second.bad) == (3, 5180, 9, 1)
    assert second.describe() == "50.0%, 3 of 4 parts, 5,180 words, 30 words/s, invalid rows: 1, 0:00:08 left"


def test_the_line_is_shown_now_and_then_and_at_the_end(clock, capsys):
    meter, line = Meter([1] * 30), ProgressLine()
    for part in range(30):
        clock[0] += 1
        line(meter.add(receipt(part, 10)))
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 4  # at 1, 11, 21 seconds and at the end
    assert shown[-1].startswith("100.0%, 30 of 30 parts")
