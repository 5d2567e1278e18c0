"""Run folders: what is written comes back, says what it was, and breaks loudly."""

import dataclasses
import gzip
import hashlib
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from lookboth.errors import DataError
from lookboth.evaluation.metrics import score_tags
from lookboth.evaluation.runfile import (
    has_predictions,
    read_predictions,
    read_run,
    write_predictions,
    write_run,
)
from lookboth.types import Example, PredictedSpan, Span

STARTED = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
SCORES = score_tags([["B-PER", "O"]], [["B-PER", "O"]])


def write(folder, **changes):
    arguments = {
        "config": {"plan": "0011", "seed": 3, "adapter": {"rank": 8, "folder": Path("out")}},
        "scores": {"test": SCORES},
        "plan": "0011",
        "seed": 3,
        "started": STARTED,
        "wall_seconds": 12.3456,
        "data_files": {},
    }
    return write_run(folder, **(arguments | changes))


def test_a_run_comes_back_as_it_was_written(tmp_path):
    written = write(tmp_path / "new" / "folder")
    run = read_run(tmp_path / "new" / "folder")
    assert run == written
    assert run == read_run(tmp_path / "new" / "folder" / "run.json")
    assert run.folder == tmp_path / "new" / "folder"
    assert run.scores["test"]["micro"]["f1"] == 1.0
    assert run.scores["test"]["scorer"] == "strict entity-level, IOB2"
    assert (run.plan, run.seed, run.started) == ("0011", 3, "2025-03-01T12:00:00+00:00")


def test_a_run_says_what_it_was_run_with(tmp_path):
    data = tmp_path / "train.conll"
    data.write_bytes(b"Ada\tB-PER\n")
    run = write(tmp_path, data_files={"train": data})
    entry = {"path": str(data), "bytes": 10, "sha256": hashlib.sha256(b"Ada\tB-PER\n").hexdigest()}
    assert run.data == {"train": entry}
    assert set(run.versions) == {"lookboth", "torch", "transformers", "peft", "numpy", "python"}
    assert run.versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert run.machine["num_cpus"] == os.cpu_count()
    assert run.machine["device"]
    assert run.peak_memory_bytes["cpu"] > 1_000_000


def test_missing_data_file_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"gone\.conll: cannot be hashed"):
        write(tmp_path, data_files={"train": tmp_path / "gone.conll"})
    assert list(tmp_path.iterdir()) == []


def test_configuration_of_any_kind_becomes_json(tmp_path):
    @dataclasses.dataclass
    class Config:
        folder: Path
        targets: tuple[str, ...]
        loss: float

    run = write(
        tmp_path, config={"typed": Config(Path("a/b"), ("q", "v"), float("nan"))}, plan=None, seed=None
    )
    expected = {"folder": str(Path("a/b")), "targets": ["q", "v"], "loss": None}
    assert run.config == {"typed": expected}
    assert "NaN" not in (tmp_path / "run.json").read_text()
    assert read_run(tmp_path) == run


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b'{"schema_version": 1, "config"', "not JSON"),
        (b"[1]", "JSON list; it must be an object"),
        (b"{}", "schema_version is None"),
        (b'{"schema_version": 99}', "schema_version is 99; this version of lookboth reads 1"),
        (b'{"schema_version": 1, "config": {}}', "missing keys: scores, plan, seed"),
        (b"\xff\xfe", "not UTF-8"),
        (None, "cannot be read"),
    ],
)
def test_a_broken_run_file_says_what_and_where(tmp_path, content, message):
    if content is not None:
        (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_run(tmp_path)
    assert str(tmp_path / "run.json") in str(caught.value)


def test_scores_that_are_no_object_are_refused(tmp_path):
    write(tmp_path)
    stored = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(stored | {"scores": 0.5}))
    with pytest.raises(DataError, match="scores is float; it must be an object"):
        read_run(tmp_path)


def test_a_failed_write_leaves_the_old_file_and_no_debris(tmp_path):
    write_predictions(tmp_path, [Example(("a",))], [[]])
    before = (tmp_path / "predictions.jsonl").read_bytes()
    with pytest.raises(DataError, match="more examples than predictions, from number 1 on"):
        write_predictions(tmp_path, [Example(("b",)), Example(("c",))], [[]])
    with pytest.raises(DataError, match="more predictions than examples, from number 0 on"):
        write_predictions(tmp_path, [], [[]])
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.jsonl"]
    assert (tmp_path / "predictions.jsonl").read_bytes() == before


def test_predictions_hold_words_gold_and_scored_spans(tmp_path):
    example = Example(("Ada", "ist", "hübsch"), (Span(0, 1, "PER"),), source="x.conll:1")
    found = PredictedSpan(2, 3, "LOC", "hübsch", 8, 14, 0.87654321)
    write_predictions(tmp_path, [example, Example(("a",))], [[found], [Span(0, 1, "PER")]])
    first, second = read_predictions(tmp_path)
    assert first == {
        "words": ["Ada", "ist", "hübsch"],
        "gold": [{"start": 0, "end": 1, "label": "PER"}],
        "predicted": [{"start": 2, "end": 3, "label": "LOC", "score": 0.8765}],
        "source": "x.conll:1",
    }
    assert second["predicted"] == [{"start": 0, "end": 1, "label": "PER"}]
    assert "hübsch" in (tmp_path / "predictions.jsonl").read_text(encoding="utf-8")


def test_rows_say_which_split_they_belong_to(tmp_path):
    examples = [Example((word,), (Span(0, 1, "X"),), source=word) for word in "abc"]
    with pytest.raises(DataError, match="no split for example 2"):
        write_predictions(tmp_path, examples, [[]] * 3, splits=["dev", "dev"])
    write_predictions(tmp_path, examples, [[]] * 3, splits=["dev", "test:x", "dev"])
    assert [record["split"] for record in read_predictions(tmp_path)] == ["dev", "test:x", "dev"]


@given(words=st.lists(st.text(st.characters(), max_size=5) | st.just("a\ud800b") | st.just("\u2028\x85")))
def test_any_words_come_back(tmp_path_factory, words):
    folder = tmp_path_factory.mktemp("run")
    write_predictions(folder, [Example(tuple(words))], [[]])
    assert [record["words"] for record in read_predictions(folder)] == [words]


def test_compressed_predictions_are_read_where_there_are_no_others(tmp_path):
    assert not has_predictions(tmp_path)
    path = write_predictions(tmp_path, [Example(("ü", "\u2028"))] * 3, [[]] * 3)
    rows = list(read_predictions(tmp_path))
    (tmp_path / "predictions.jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert has_predictions(tmp_path)
    assert list(read_predictions(tmp_path)) == rows
    (tmp_path / "predictions.jsonl.gz").write_bytes(gzip.compress(b"{}")[:-3])
    with pytest.raises(DataError, match=r"jsonl\.gz: cannot be read"):
        list(read_predictions(tmp_path))


def test_a_byte_that_is_not_utf8_is_named_by_its_line(tmp_path):
    whole = write_predictions(tmp_path, [Example(("a",))] * 3, [[]] * 3).read_bytes()
    place = whole.index(b"\n") + 20
    (tmp_path / "predictions.jsonl").write_bytes(whole[:place] + b"\xff" + whole[place + 1 :])
    with pytest.raises(DataError, match=r"predictions\.jsonl:2: not UTF-8"):
        list(read_predictions(tmp_path))


def test_a_flipped_byte_of_compressed_predictions_is_an_error(tmp_path):
    words = tuple(f"w{number * 7919 % 1000}" for number in range(2000))
    path = write_predictions(tmp_path, [Example(words)], [[]])
    packed = gzip.compress(path.read_bytes())
    path.unlink()
    for place in range(10, len(packed), len(packed) // 50):  # behind the header, which holds the time
        damaged = packed[:place] + bytes([packed[place] ^ 0xFF]) + packed[place + 1 :]
        (tmp_path / "predictions.jsonl.gz").write_bytes(damaged)
        with pytest.raises(DataError, match=r"predictions\.jsonl\.gz"):
            list(read_predictions(tmp_path))


def test_a_broken_line_is_named(tmp_path):
    write_predictions(tmp_path, [Example(("a",))], [[]])
    with (tmp_path / "predictions.jsonl").open("a") as file:
        file.write('{"words": ["b"]')
    with pytest.raises(DataError, match=r"predictions\.jsonl:2: not JSON"):
        list(read_predictions(tmp_path))
    with pytest.raises(DataError, match="lookboth evaluate"):
        list(read_predictions(tmp_path / "nowhere"))
