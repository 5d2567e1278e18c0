"""The measurements of streams on tiny labelers: which plans have them, and that they are those of the labeler."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from tiny import tiny_labeler

from lookboth.data import read_split
from lookboth.evaluation import evaluate_labeler

ROOT = Path(__file__).parents[2]


@pytest.fixture
def streaming(monkeypatch):
    spec = importlib.util.spec_from_file_location("streaming", ROOT / "experiments" / "streaming.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "LENGTHS", (2, 10))
    return module


def test_every_labeler_is_measured(streaming, tiny_llama_folder, tmp_path, monkeypatch, capsys):
    data = tmp_path / "data"
    data.mkdir()
    (data / "test.conll").write_text(
        "Ada\tB-PER\nin\tO\nLondon\tB-LOC\n\nthe\tO\nfox\tO\n" * 6, encoding="utf-8"
    )
    labelers = {plan: tiny_labeler(tiny_llama_folder, plan=plan) for plan in ("full", "0,1,0,1")}
    for number, labeler in enumerate(labelers.values()):
        run = tmp_path / "runs" / f"seed-{number}"
        labeler.save_pretrained(run / "labeler")
        (run / "run.json").write_text("{}", encoding="utf-8")
    arguments = [str(tmp_path / "runs"), "--data", f"{data}:test", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["streaming.py", *arguments])
    streaming.main()
    ahead, full = json.loads((tmp_path / "out" / "streaming.json").read_text())
    assert (ahead["look_ahead"], full["look_ahead"], full["ms_stream"]) == (2, None, None)
    assert "f1_greedy" in ahead
    assert ahead["words_waited"] > 0
    assert len(ahead["ms_stream"]) == len(full["ms_again"]) == 2
    assert min(ahead["ms_stream"] + full["ms_again"]) > 0
    for row, plan in ((ahead, "0,1,0,1"), (full, "full")):
        evaluation = evaluate_labeler(labelers[plan], read_split(str(data), "test").examples, interval=False)
        assert row["f1"] == pytest.approx(evaluation.scores.micro.f1, abs=1e-4)
