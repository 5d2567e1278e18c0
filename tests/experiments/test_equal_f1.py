"""The usual batches of the comparison to equal F1, and how its curves are compared."""

import sys
from pathlib import Path

import pytest

from lookboth.config.recipe_files import parse_config
from lookboth.training.batches import RunBatches
from lookboth.types import TokenizedExample

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))
import equal_f1


def test_the_usual_batches_have_16_sentences_in_an_order_of_each_epoch() -> None:
    pieces = [
        TokenizedExample(tuple(range(1, 3 + index % 7)), ((0, 1),), (0,), example=index)
        for index in range(40)
    ]
    config = parse_config({"data": {"train": "x"}, "training": {"epochs": 2}})
    batches = RunBatches.build(pieces, config=config, seed=0, pad_id=0)
    usual = equal_f1._sixteens(batches, seed=0)
    assert [len(batch) for batch in usual.schedule] == [16, 16, 8] * 2
    assert usual.epoch_ends == (3, 6)
    first, second = usual.schedule[:3], usual.schedule[3:]
    assert first != second
    for epoch in (first, second):
        assert sorted(index for batch in epoch for index in batch) == list(range(40))
    assert usual[0]["input_ids"].shape[0] == 16


def curve(*points: tuple[float, float, float]) -> list[dict[str, float]]:
    keys = ("seconds", "processor_seconds", "dev_f1")
    return [dict(zip(keys, point, strict=True)) for point in points]


def test_sides_are_compared_at_the_best_f1_of_the_usual_way(capsys: pytest.CaptureFixture[str]) -> None:
    curves = {
        "usual": curve((10, 8, 0.2), (20, 16, 0.4)),
        "fast": curve((4, 4, 0.4), (8, 8, 0.6)),
        "weak": curve((4, 4, 0.3)),
    }
    usual, fast, weak = equal_f1.compared(curves)
    assert (usual["times_as_fast"], usual["processor_times_as_fast"]) == (1, 1)
    assert (fast["times_as_fast"], fast["processor_times_as_fast"]) == (5, 4)
    assert (fast["best_dev_f1"], fast["seconds_to_usual"], fast["seconds"]) == (0.6, 4, 8)
    assert weak["times_as_fast"] is weak["seconds_to_usual"] is None
    assert capsys.readouterr().out.count("side") == 3
