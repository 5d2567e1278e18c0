"""The benchmark's clockwork: every side as often as the others, ratios against the first."""

import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parent.parent.parent / "experiments" / "bench"


@pytest.fixture
def alternate(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    sys.modules.pop("alternate", None)
    import alternate

    return alternate


def test_sides_take_turns_and_the_first_is_the_measure(alternate):
    order = []

    def side(name, seconds):
        return alternate.Side(name, lambda: order.append(name) or seconds, words=10)

    rows = alternate.alternate([side("a", 2.0), side("b", 0.5)], rounds=2, say=lambda _: None)
    assert order == ["a", "b", "a", "b", "b", "a"]  # once to warm up; every second round backwards
    assert [row["ratio"] for row in rows] == [1.0, 4.0]
    assert rows[1]["words_per_second"] == 20.0


def test_the_limit_counts_every_layer(alternate, monkeypatch):
    import torch

    monkeypatch.setattr(alternate, "timed", lambda work: work() is None or 2.0)
    shapes = [(4, 8), (4, 8), (8, 4)]
    assert alternate.matmul_limit(shapes, 16, torch.float32, "cpu") == pytest.approx(6.0)
