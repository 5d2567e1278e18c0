"""Exporting: what is measured is what is there, what lost too much is not written, nothing else is overwritten."""

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from making import WORDS, make
from typer.testing import CliRunner

from lookboth.cli import app
from lookboth.errors import ConfigError, ModelError
from lookboth.onnx import OnnxLabeler, export
from lookboth.onnx.parity import Found, compare
from lookboth.types import Example, PredictedSpan, Prediction, Span

DATA = "Ada\tB-PER\nwas\tO\nin\tO\nLondon\tB-LOC\n\nToyota\tO\nburns\tO\n\n" * 3


@pytest.fixture
def data(tmp_path):
    file = tmp_path / "test.conll"
    file.write_text(DATA, encoding="utf-8")
    return file


@pytest.fixture
def ready_made(exported_folder, monkeypatch):
    """Let exporting take the files that are there already, whatever labeler it is given."""

    def copy(labeler, folder, **_):
        shutil.copytree(exported_folder, folder, dirs_exist_ok=True)

    monkeypatch.setattr(export, "write_files", copy)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Saved labelers: the one that `exported_folder` was exported from, and another."""
    folder = tmp_path_factory.mktemp("saved")
    make(folder / "base", WORDS["linear"]).save_pretrained(folder / "same")
    other = WORDS["linear"]._replace(settings={"seed": 1})
    make(folder / "base2", other).save_pretrained(folder / "other")
    return folder


def test_the_command_says_what_was_kept(ready_made, saved, data, tmp_path):
    out = tmp_path / "deep" / "out"
    result = CliRunner().invoke(app, ["export", str(saved / "same"), str(out), "--data", str(data)])
    assert result.exit_code == 0, result.output
    assert "the same tags: 100.00 % of words; the same spans: F1 100.00" in result.output
    assert "times as fast" in result.output
    parity = OnnxLabeler.from_pretrained(out).config.parity
    assert (parity["data"], parity["texts"]) == ("test.conll", 6)
    assert parity["words"] == 18
    assert parity["score_difference"] < 1e-3
    assert parity["gold_f1"][0] == parity["gold_f1"][1]
    assert [file.name for file in out.parent.iterdir()] == ["out"]
    again = CliRunner().invoke(app, ["export", str(saved / "same"), str(out), "--data", str(data)])
    assert again.exit_code == 0, again.output  # an exported labeler is replaced


def test_data_are_repaired_and_read_by_columns_on_request(ready_made, saved, tmp_path):
    file, command = tmp_path / "test.conll", ["export", str(saved / "same"), str(tmp_path / "out")]
    file.write_text("B-PER\tAda\nO\twas\nI-LOC\tin\n\n" * 3, encoding="utf-8")
    how = ["--word-column", "1", "--tag-column", "0", "--scheme", "IOB2"]
    refused = CliRunner().invoke(app, [*command, "--data", str(file), *how])
    assert "pass --repair" in str(refused.exception)
    result = CliRunner().invoke(app, [*command, "--data", str(file), *how, "--repair"])
    assert result.exit_code == 0, result.output
    assert OnnxLabeler.from_pretrained(tmp_path / "out").config.parity["words"] == 9


def test_what_lost_too_much_is_not_written_unless_told(ready_made, saved, data, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ModelError, match=r"lost \d\.\d+ of the span F1.*--accept-loss"):
        export.export_labeler(str(saved / "other"), out, data=str(data))
    assert not out.exists()
    parity = export.export_labeler(str(saved / "other"), out, data=str(data), accept_loss=True)
    assert parity.loss > 0.1
    assert OnnxLabeler.from_pretrained(out).config.parity["span_f1"] == parity.span_f1
    kept = (out / "config.json").read_bytes()
    with pytest.raises(ModelError, match="lost"):
        export.export_labeler(str(saved / "other"), out, data=str(data), tolerance=0.1)
    assert (out / "config.json").read_bytes() == kept


@pytest.mark.parametrize("here", [".", "../here"])
def test_the_current_folder_may_be_written_and_replaced(ready_made, saved, data, tmp_path, monkeypatch, here):
    out = tmp_path / "here"
    out.mkdir()
    monkeypatch.chdir(out)
    for _ in range(2):
        export.export_labeler(str(saved / "same"), here, data=str(data))
        assert OnnxLabeler.from_pretrained(here).config.parity["data"] == "test.conll"
    (out / "model.onnx.data").write_text("of another export")
    export.export_labeler(str(saved / "same"), here, data=str(data))
    assert sorted(os.listdir()) == ["config.json", "model.onnx", "tokenizer.json"]
    assert sorted(os.listdir("..")) == ["here", "test.conll"]


def test_a_folder_that_cannot_be_replaced_keeps_its_labeler(ready_made, saved, data, tmp_path, monkeypatch):
    out = tmp_path / "out"
    export.export_labeler(str(saved / "same"), out, data=str(data))
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    replace = os.replace

    def full(source, target):
        if Path(target) == out / "model.onnx" and Path(source).parent.name == "labeler":
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        export.export_labeler(str(saved / "other"), out, data=str(data), accept_loss=True)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    assert [file.name for file in tmp_path.iterdir() if file.is_dir()] == ["out"]


def test_other_things_are_not_overwritten(saved, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="contains something that is not an exported labeler"):
        export.export_labeler(str(saved / "same"), tmp_path)
    with pytest.raises(ConfigError, match="not an exported labeler"):
        export.export_labeler(str(saved / "same"), saved / "same")
    with pytest.raises(ConfigError, match="allowed are fp32, int8"):
        export.export_labeler(str(saved / "same"), tmp_path / "out", weights="int4")
    assert (tmp_path / "file").read_text() == "x"


def test_the_folder_says_where_it_comes_from(saved, tmp_path):
    labeler = make(tmp_path / "base", WORDS["linear"])
    first = export._describe(str(saved / "same"), saved / "same", labeler)
    assert first["name"] == "same"
    assert str(tmp_path) not in json.dumps(first)
    assert first["sha256"] != export._describe("x", saved / "other", labeler)["sha256"]


def found(*spans, score=0.0, tagged=True):
    predicted = tuple(PredictedSpan(*span, "", 0, 0, 1.0) for span in spans)
    tags = ["O"] * 4
    for start, end, label in spans:
        tags[start:end] = [f"B-{label}", *[f"I-{label}"] * (end - start - 1)]
    shown = tuple(tags) if tagged else ()
    prediction = Prediction("", ("a", "b", "c", "d"), ((0, 0),) * 4, shown, predicted)
    return Found([np.full((4, 3), score)], [prediction])


def test_parity_counts_words_spans_and_scores():
    gold = Example(("a", "b", "c", "d"), spans=(Span(0, 2, "PER"),))
    reference = found((0, 2, "PER"), (3, 4, "LOC"))

    def hold(other, example=gold):
        return compare(reference, other, [example], data="x", words_per_second=(10.0, 20.0), threads=1)

    same = hold(reference)
    assert (same.loss, same.agreement, same.score_difference) == (0.0, 1.0, 0.0)
    assert same.gold_f1 == pytest.approx((2 / 3, 2 / 3))
    fewer = hold(found((0, 2, "PER"), score=0.5))
    assert (fewer.agreement, fewer.score_difference) == (0.75, 0.5)
    assert fewer.span_f1 == pytest.approx(2 / 3)
    assert fewer.gold_f1 == pytest.approx((2 / 3, 1.0))
    assert hold(found((0, 3, "PER"), (3, 4, "LOC"))).span_f1 == pytest.approx(0.5)
    assert hold(reference, Example(gold.words, spans=(Span(0, 2, "dish"),))).gold_f1 is None
    assert "2.0 times as fast" in same.describe()
    # Spans that overlap have no tags; the words under different spans are counted.
    reference = found((0, 3, "PER"), (2, 3, "LOC"), tagged=False)
    assert hold(reference).agreement == 1
    assert hold(found((0, 3, "PER"), tagged=False)).agreement == 0.75
