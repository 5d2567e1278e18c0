"""The benchmark: sides alternate, ratios are against the first, and every side of the training table can be built."""

import json
import sys
from importlib import import_module
from pathlib import Path

import pytest

BENCH = Path(__file__).parent.parent.parent / "experiments" / "bench"


MODULES = ("alternate", "training", "growth", "large")


@pytest.fixture
def bench(monkeypatch):
    """Return a function that imports a module of the benchmark."""
    monkeypatch.syspath_prepend(str(BENCH))
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield import_module
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def alternate(bench):
    return bench("alternate")


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


def test_every_side_of_the_training_table_trains(bench, tiny_llama_folder):
    sides = bench("training").sides(str(tiny_llama_folder), 12, "cpu")
    assert len(sides) == 8
    assert all(side.run() > 0 for side in sides)


@pytest.mark.slow
def test_the_script_for_large_models_trains_and_predicts(bench, monkeypatch, tmp_path):
    """The sides that need a GPU fail, with a message that says so."""
    options = f"large.py --shape tiny --device cpu --sentences 8 --rounds 1 --out {tmp_path}"
    monkeypatch.setattr(sys, "argv", options.split())
    bench("large").main()
    rows = json.loads((tmp_path / "large_tiny.json").read_text())["tables"]["sides"]
    assert len([row for row in rows if "seconds" in row]) == 5
    assert all("GPU" in row["failed"] for row in rows if "failed" in row)
