"""A command's worth of training: what is said before it, what is kept between seeds."""

from pathlib import Path

import pytest
import torch
from test_distributed import write_data

from lookboth.config import parse_config
from lookboth.training import run


@pytest.fixture
def data(tmp_path) -> Path:
    """A folder with train, dev and test data."""
    write_data(tmp_path / "data")
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("count", "method", "told"),
    [(0, "classifier", False), (1, "classifier", False), (2, "classifier", True), (2, "search", False)],
)
def test_gpus_that_are_not_used_are_named_once(data, tmp_path, monkeypatch, count, method, told):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(run, "train_one", lambda *_, **__: None)
    said = []
    config = parse_config({"data": {"train": str(data)}, "method": method})
    run.train(config, tmp_path / "out", say=said.append)
    assert [line for line in said if "GPU" in line] == told * [
        "2 GPUs here, one is used. All of them: torchrun --nproc-per-node 2 -m lookboth ... (docs/distributed.md)"
    ]
