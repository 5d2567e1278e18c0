"""Bulk runs with several labelers: one pass over the files, and the name of its labeler in each span."""

import json
from contextlib import nullcontext
from dataclasses import replace

import pytest
from pyarrow import parquet
from tiny import tiny_labeler
from typer.testing import CliRunner

from lookboth.bulk import bulk_run as run
from lookboth.bulk.bulk_options import BulkOptions
from lookboth.bulk.bulk_run import run_bulk
from lookboth.bulk.worker import PartLabeler
from lookboth.cli import app
from lookboth.errors import ConfigError, DataError, ModelError
from lookboth.labelers.labeler import Labeler
from lookboth.labelers.labeler_pool import LabelerPool
from lookboth.models.labeler_model import LabelerModel

TEXTS = [
    "Ada Lovelace was born in London",
    "Toyota opened a plant near New York",
    "",
    "the house in the north",
]
OPTIONS = BulkOptions(part_rows=3, precision="fp32")


@pytest.fixture(scope="module")
def models(tiny_llama_folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("labelers")
    for seed, name in enumerate("ab"):
        tiny_labeler(tiny_llama_folder, plan="0011", seed=seed).save_pretrained(root / name)
    tiny_labeler(tiny_llama_folder, head={"kind": "open"}, seed=3).save_pretrained(root / "open")
    return {name: root / name for name in ("a", "b", "open")}


@pytest.fixture(scope="module")
def alone(models):
    """What each labeler finds by itself in each text."""
    found = {}
    for name in ("a", "b"):
        predictions = Labeler.from_pretrained(models[name], device="cpu", precision="fp32").predict(TEXTS)
        found[name] = [[(s.start_char, s.end_char, s.label) for s in one.spans] for one in predictions]
    return found


@pytest.fixture
def label(monkeypatch, tmp_path):
    """Label the texts in this process; give the labelers of the worker, which are loaded once."""
    workers = []
    (tmp_path / "in.txt").write_text("\n".join(TEXTS) + "\n")

    def label_parts(job, parts, workers_asked):
        workers.append(PartLabeler(job))
        yield from map(workers[-1].label_part, parts)

    monkeypatch.setattr(run, "connected", lambda workers: nullcontext())
    monkeypatch.setattr(run, "label_parts", label_parts)

    def label(models, options=OPTIONS, out=tmp_path / "out"):
        workers.clear()
        result = run_bulk(tmp_path / "in.txt", out, options, model=models)
        return result, [worker._labelers for worker in workers]

    return label


def two(models):
    return {name: models[name] for name in ("a", "b")}


def lines_of(folder):
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.open()]


def spans_by_model(records):
    names = ("a", "b")
    return {
        name: [
            [(s["start"], s["end"], s["label"]) for s in row["spans"] if s["model"] == name]
            for row in records
        ]
        for name in names
    }


def test_each_span_names_the_labeler_that_finds_it_alone(label, models, alone, tmp_path):
    result, [labelers] = label(two(models))
    records = lines_of(tmp_path / "out")
    assert spans_by_model(records) == alone
    assert any(alone["a"])
    assert alone["a"] != alone["b"]
    total = result.total
    assert (total.rows, total.bad, total.parts) == (4, 0, 2)
    assert total.spans == sum(len(row["spans"]) for row in records)
    assert total.words == sum(len(text.split()) for text in TEXTS)
    # One backbone in memory, and batches with the texts of both.
    weights = [
        labeler.model.backbone.get_input_embeddings().weight.data_ptr() for labeler in labelers.values()
    ]
    assert weights[0] == weights[1]
    assert label(two(models))[1] == []


def test_texts_of_both_labelers_are_computed_in_the_same_passes(label, models, monkeypatch):
    rows, passes = [], LabelerModel.run
    monkeypatch.setattr(
        LabelerModel, "run", lambda self, *args: rows.append(len(args[1])) or passes(self, *args)
    )
    label(two(models), replace(OPTIONS, part_rows=10))
    # Three texts with words for each of the two, in one pass.
    assert max(rows) == 6


def test_parquet_has_the_name_in_the_struct_even_without_spans(label, models, alone, tmp_path):
    options = replace(OPTIONS, output_format="parquet")
    label(two(models), options)
    table = parquet.read_table(tmp_path / "out")
    assert spans_by_model(table.to_pylist()) == alone
    label(two(models), replace(options, min_score=1.0), tmp_path / "none")
    assert parquet.read_table(tmp_path / "none").schema == table.schema
    label({"b": models["b"]}, options, tmp_path / "one")
    assert parquet.read_table(tmp_path / "one").schema == table.schema


def test_a_run_is_resumed_with_the_same_names_and_labelers_only(label, models, tmp_path):
    label(two(models))
    (tmp_path / "out" / "part-00000001.jsonl").unlink()
    before = lines_of(tmp_path / "out")
    result, _ = label(two(models))
    assert (result.total.parts, lines_of(tmp_path / "out")[: len(before)]) == (2, before)
    for other, said in (
        ({"a": models["a"]}, "the labelers were a, b and are a"),
        ({"b": models["b"], "a": models["a"]}, "the labelers were a, b and are b, a"),
        (models["a"], "the labelers were a, b and are one without a name"),
        ({"a": models["a"], "b": models["a"]}, "the labeler b is a different one"),
    ):
        with pytest.raises(ConfigError, match=said):
            label(other)


def test_a_text_that_one_labeler_refuses_is_an_invalid_row_with_its_name(
    label, models, monkeypatch, tmp_path
):
    pools, load = [], LabelerPool.add
    monkeypatch.setattr(LabelerPool, "add", lambda self, sources: pools.append(self) or load(self, sources))
    read = Labeler.read_text

    def refusing(self, text, source=""):
        if text == TEXTS[1] and self is pools[-1]["b"]:
            raise DataError("not this one")
        return read(self, text, source)

    monkeypatch.setattr(Labeler, "read_text", refusing)
    result, _ = label(two(models))
    (bad,) = lines_of(tmp_path / "out" / "_bad")
    assert (bad["row"], bad["reason"], bad["message"]) == (1, "not-labeled", "b: not this one")
    assert (result.total.rows, len(lines_of(tmp_path / "out"))) == (3, 3)


def test_labels_are_those_of_the_open_labelers(label, models, tmp_path):
    label({"a": models["a"], "open": models["open"]}, replace(OPTIONS, labels=("company", "city")))
    found = {(s["model"], s["label"]) for row in lines_of(tmp_path / "out") for s in row["spans"]}
    assert {name for name, _ in found} == {"a", "open"}
    assert {name for name, text in found if text in {"company", "city"}} == {"open"}
    with pytest.raises(ModelError, match="the labels of this labeler are fixed"):
        label(two(models), replace(OPTIONS, labels=("company",)), tmp_path / "fixed")


def test_thresholds_that_one_labeler_lacks_are_refused_with_its_name(label, models):
    with pytest.raises(ConfigError, match="a: the labeler does not have thresholds yet"):
        label(two(models), replace(OPTIONS, thresholds=True))


@pytest.mark.parametrize("named", [{}, {"": "shipped"}])
def test_labelers_without_names_are_refused(label, named):
    with pytest.raises(ConfigError, match="must name one labeler or more"):
        label(named)


def test_names_on_the_command_line_are_those_of_serve(label, models, monkeypatch, tmp_path):
    def bulk(out, *given):
        arguments = ["bulk", str(tmp_path / "in.txt"), str(tmp_path / out), "--precision", "fp32"]
        return CliRunner().invoke(
            app, arguments + [part for model in given for part in ("--model", str(model))]
        )

    assert bulk("named", f"x={models['a']}", models["b"]).exit_code == 0
    assert {s["model"] for row in lines_of(tmp_path / "named") for s in row["spans"]} == {"x", "b"}
    assert bulk("one", models["a"]).exit_code == 0
    assert all("model" not in s for row in lines_of(tmp_path / "one") for s in row["spans"])
    error = bulk("twice", models["a"], models["a"]).exception
    assert f"two models have the name 'a': {models['a']} and {models['a']}. Name them: one=" in str(error)
    assert not (tmp_path / "twice").exists()
