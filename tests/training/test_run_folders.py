"""A command's worth of training: what is said before it, which data a folder is of, what is kept between seeds."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from test_distributed import write_data

from lookboth.config.recipe_files import parse_config
from lookboth.errors import DataError
from lookboth.training import training_runs as run
from lookboth.training.best_weights import History
from lookboth.training.run_finishing import TrainedRun


@pytest.fixture
def data(tmp_path) -> Path:
    """A folder with train, dev and test data."""
    write_data(tmp_path / "data")
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("count", "method", "told"),
    [(0, "classifier", False), (1, "classifier", False), (2, "classifier", True), (2, "search", False)],
)
def test_gpus_that_are_not_used_are_named_once(data, tmp_path, monkeypatch, progress, count, method, told):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(run, "train_one", lambda *_, **__: None)
    config = parse_config({"data": {"train": str(data)}, "method": method})
    run.train(config, tmp_path / "out")
    assert [line for line in progress() if "GPU" in line] == told * [
        "2 GPUs found, one is used. To use all: torchrun --nproc-per-node 2 -m lookboth ... (docs/distributed.md)"
    ]


class Model(torch.nn.Linear):
    """Counts as being on a GPU until it is moved."""

    def __init__(self):
        super().__init__(1, 1)
        self.place = "cuda"

    def to(self, place):
        self.place = str(place)
        return self


def test_only_the_last_labeler_stays_on_the_gpu(data, tmp_path, monkeypatch):
    made, before, emptied = [], [], []

    def train_one(config, splits, seed, folder):
        before.append([model.place for model in made])
        made.append(Model())
        labeler = SimpleNamespace(model=made[-1])
        return TrainedRun(seed, folder, labeler, History(), None, {})

    monkeypatch.setattr(run, "train_one", train_one)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(len(made)))
    config = parse_config({"data": {"train": str(data)}, "training": {"seeds": [0, 1, 2]}})
    runs = run.train(config, tmp_path / "out")
    assert before == [[], ["cpu"], ["cpu", "cpu"]]
    assert emptied == [1, 2]
    assert [one.labeler.model for one in runs] == made
    assert made[-1].place == "cuda"


@pytest.fixture
def begin(data, tmp_path, monkeypatch):
    """Begins, or goes on with, a training that leaves a folder for its seed; returns how many were begun in all."""
    begun = []

    def train_one(config, splits, seed, folder):
        folder.mkdir(parents=True, exist_ok=True)
        begun.append(folder)

    def train(**sections):
        config = parse_config({"data": {"train": str(data)}, **sections})
        run.train(config, tmp_path / "out")
        return len(begun)

    monkeypatch.setattr(run, "train_one", train_one)
    return train


def relabel(file: Path) -> None:
    file.write_text(file.read_text(encoding="utf-8").replace("B-PER", "B-ORG", 1), encoding="utf-8")


@pytest.mark.parametrize("split", ["train", "dev"])
def test_edited_data_is_other_data(data, begin, split):
    assert begin() == 1
    assert begin() == 2
    relabel(data / f"{split}.conll")
    with pytest.raises(DataError, match=rf"other data \({split}: {data}\)\. Give another --out"):
        begin()


def test_edited_raw_text_is_other_data(tmp_path, begin):
    text = tmp_path / "raw.txt"
    text.write_text("one text\n\nanother text\n", encoding="utf-8")
    adaptation = {"objective": "mntp", "text": str(text)}
    assert begin(adaptation=adaptation) == 1
    text.write_text("one text\n\nsome other text\n", encoding="utf-8")
    with pytest.raises(DataError, match=rf"other data \(text: {text}\)"):
        begin(adaptation=adaptation)


def test_lines_that_change_no_sentence_and_test_data_are_no_other_data(data, begin):
    assert begin() == 1
    train = data / "train.conll"
    train.write_text("\n\n" + train.read_text(encoding="utf-8"), encoding="utf-8")
    relabel(data / "test.conll")  # scored anew each time
    assert begin() == 2


def test_a_run_of_an_older_version_goes_on(data, tmp_path, begin):
    assert begin() == 1
    (tmp_path / "out" / "data.json").unlink()
    assert begin() == 2
    relabel(data / "train.conll")
    with pytest.raises(DataError, match="other data"):
        begin()


def test_a_folder_in_which_nothing_was_trained_takes_other_data(data, tmp_path, begin):
    assert begin() == 1
    (tmp_path / "out" / "seed-0").rmdir()
    relabel(data / "train.conll")
    assert begin() == begin() - 1 == 2
