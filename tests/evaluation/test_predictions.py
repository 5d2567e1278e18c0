"""Predictions by split: named rows, old rows cut by the scores' sizes, and rows nobody can tell apart."""

from datetime import UTC, datetime

import pytest

from lookboth.errors import DataError
from lookboth.evaluation.predictions import ScoredSentence, predictions_by_split
from lookboth.evaluation.runfile import read_run, write_predictions, write_run
from lookboth.run_folder import PREDICTIONS_FILE
from lookboth.types import Example, PredictedSpan, Span

EXAMPLES = [Example((word, "!"), (Span(0, 1, "X"),), source=f"f:{i}") for i, word in enumerate("abcde")]
FOUND = [[PredictedSpan(0, 1, "Y", "a", 0, 1, 0.5)]] * 5


def run_in(folder, sizes, splits=None):
    write_predictions(folder, EXAMPLES, FOUND, splits=splits)
    scores = {name: {"num_sentences": size} for name, size in sizes.items()} | {"history": {"best": 3}}
    write_run(
        folder,
        config={},
        scores=scores,
        plan=None,
        seed=0,
        started=datetime(2025, 3, 1, tzinfo=UTC),
        wall_seconds=1.0,
        data_files={},
    )
    return read_run(folder)


def test_named_rows_go_where_they_say_whatever_their_order(tmp_path):
    run = run_in(tmp_path, {}, splits=["dev", "test:a", "dev", "test:b", "test:a"])
    words = {name: [s.words[0] for s in found] for name, found in predictions_by_split(run).items()}
    assert words == {"dev": ["a", "c"], "test:a": ["b", "e"], "test:b": ["d"]}
    first = predictions_by_split(run)["dev"][0]
    assert first == ScoredSentence(("a", "!"), (Span(0, 1, "X"),), (Span(0, 1, "Y"),), "f:0")


def test_old_rows_are_cut_by_the_sizes_of_the_scores(tmp_path):
    found = predictions_by_split(run_in(tmp_path, {"dev": 2, "test:a": 3}))
    assert {name: len(sentences) for name, sentences in found.items()} == {"dev": 2, "test:a": 3}
    assert found["test:a"][0].words == ("c", "!")


def test_rows_that_cannot_be_told_apart_are_refused(tmp_path):
    with pytest.raises(DataError, match="5 rows without a split"):
        predictions_by_split(run_in(tmp_path, {"dev": 2}))
    run = run_in(tmp_path, {"dev": 5})
    (tmp_path / PREDICTIONS_FILE).write_text('{"words": ["a"]}\n')
    with pytest.raises(DataError, match=r"predictions\.jsonl: invalid row"):
        predictions_by_split(run)
