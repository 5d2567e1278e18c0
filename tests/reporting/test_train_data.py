"""Training data is read again as the run read it, or not at all."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from lookboth.config.recipe_files import parse_config
from lookboth.errors import DataError
from lookboth.evaluation.runfile import write_run
from lookboth.reporting.train_data import read_train_data
from lookboth.training.splits import read_splits

TEXT = "Ada\tB-PER\nmet\tO\n\n"


def trained(folder):
    for split, times in (("train", 5), ("dev", 1)):
        (folder / f"{split}.conll").write_text(TEXT * times, encoding="utf-8")
    config = parse_config(
        {"data": {"train": str(folder), "max_train_sentences": 3, "label_map": {"PER": "P"}}}
    )
    return write_run(
        folder / "run",
        config=config.to_dict(),
        scores={},
        plan=None,
        seed=0,
        started=datetime(2025, 3, 1, tzinfo=UTC),
        wall_seconds=1.0,
        data_files=read_splits(config).files,
    )


def test_the_sentences_are_those_of_the_recipe(tmp_path):
    examples = read_train_data(trained(tmp_path))
    assert [[span.label for span in example.spans] for example in examples] == [["P"]] * 3


def test_changed_or_missing_files_are_not_taken_for_the_old_ones(tmp_path):
    run = trained(tmp_path)
    (tmp_path / "train.conll").write_text(TEXT * 6, encoding="utf-8")
    with pytest.raises(DataError, match=r"train\.conll is not the file the run was trained on"):
        read_train_data(run)
    (tmp_path / "train.conll").unlink()
    with pytest.raises(DataError, match="training data cannot be read"):
        read_train_data(run)
    with pytest.raises(DataError, match="training data cannot be read"):
        read_train_data(replace(run, config={"command": "evaluate", "data": "wnut17"}))
