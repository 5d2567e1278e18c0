"""What a bulk run writes, resumes and refuses; its parts are labeled in this process."""

import json
import os
import shutil
import signal
import sys
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from tiny import tiny_labeler

from lookboth.bulk import bulk_run as run
from lookboth.bulk.bulk_options import BulkOptions, Workers
from lookboth.bulk.bulk_run import run_bulk
from lookboth.bulk.encoding import encode_json_lines
from lookboth.bulk.manifest import Manifest
from lookboth.bulk.part_results import OutFolder, Receipt
from lookboth.bulk.rows import Row
from lookboth.bulk.storage import open_place
from lookboth.bulk.worker import PartLabeler, WorkerSpec, receipt_from
from lookboth.errors import ConfigError, DataError, LookbothError, ModelError
from lookboth.inference.confidence import Confidence
from lookboth.labelers.labeler_config import read_confidence
from lookboth.types import Prediction, TextLabel

TEXTS = [
    "Ada Lovelace was born in London and worked with Charles Babbage",
    "Toyota opened a plant near New York",
    "",
    "nobody knows the word 😀 !",
    "the house in the north",
]
SMALL = BulkOptions(part_rows=2)


@pytest.fixture
def texts(tmp_path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    (folder / "b.txt").write_text("\n".join(reversed(TEXTS)), encoding="utf-8")
    return folder


@pytest.fixture
def bulk(without_ray, labeler_folder, tmp_path):
    """Run with the tiny labeler into tmp_path/out; give the result and the numbers of the parts it labeled."""

    def bulk_run(source, options=SMALL, out=tmp_path / "out"):
        without_ray.clear()
        result = run_bulk(source, out, options, model=labeler_folder)
        return result, list(without_ray)

    return bulk_run


def test_an_interrupt_that_gets_lost_ends_the_run_after_the_part(bulk, texts, monkeypatch, tmp_path):
    before, label_parts = signal.getsignal(signal.SIGINT), run.label_parts

    def deaf(*arguments):
        for receipt in label_parts(*arguments):
            with suppress(KeyboardInterrupt):  # as some of Ray's threads do
                signal.raise_signal(signal.SIGINT)
            yield receipt

    with monkeypatch.context() as patched:
        patched.setattr(run, "label_parts", deaf)
        with pytest.raises(KeyboardInterrupt):
            bulk(texts)
    assert signal.getsignal(signal.SIGINT) is before
    result, labeled = bulk(texts)
    assert (
        result.total.parts == result.total.all_parts == len(labeled) + 1
    )  # the part that was done stays done


def read_lines(folder: Path) -> list[dict]:
    return [
        json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().splitlines()
    ]


def spans_of(labeler, texts) -> list[list[tuple]]:
    """Return what the labeler finds by itself."""
    found = [prediction.labeled_spans() for prediction in labeler.predict(texts)]
    return [
        [(s.start_char, s.end_char, s.label, pytest.approx(s.score, abs=1e-3)) for s in own] for own in found
    ]


def spans_in(records) -> list[list[tuple]]:
    return [[(s["start"], s["end"], s["label"], s["score"]) for s in record["spans"]] for record in records]


def test_rows_come_in_order_with_what_the_labeler_finds(bulk, texts, labeler, tmp_path):
    result, parts = bulk(texts)
    records = read_lines(tmp_path / "out")
    places = [(name, row) for name in ("a.txt", "b.txt") for row in range(len(TEXTS))]
    assert [(record["source"], record["row"]) for record in records] == places
    assert spans_in(records) == spans_of(labeler, [*TEXTS, *reversed(TEXTS)])
    assert parts == [0, 1, 2, 3, 4, 5]
    total = result.total
    assert (total.rows, total.bad, total.parts) == (10, 0, 6)
    assert total.words == 2 * sum(len(p.words) for p in labeler.predict(TEXTS))
    assert total.spans == sum(len(record["spans"]) for record in records) > 0


def test_parquet_in_parquet_out(bulk, labeler, tmp_path):
    key = pa.array([{"n": i} if i else None for i in range(5)], pa.struct([("n", pa.int16())]))
    source = tmp_path / "in.parquet"
    parquet.write_table(pa.table({"key": key, "body": TEXTS}), source)
    bulk(source, BulkOptions(column="body", keep=("key", "body"), part_rows=2))
    table = parquet.read_table(tmp_path / "out")  # as a data set: what begins with _ is left out
    assert table.schema.names == ["source", "row", "key", "body", "spans"]
    assert table.schema.field("key").type == key.type
    assert str(table.schema.field("spans").type) == (
        "list<element: struct<start: int64 not null, end: int64 not null, label: string not null, "
        "score: float not null> not null>"
    )
    records = table.to_pylist()
    assert [record["key"] for record in records] == key.to_pylist()
    assert [record["body"] for record in records] == TEXTS
    assert spans_in(records) == spans_of(labeler, TEXTS)


def test_json_lines_to_parquet_has_one_type_a_column(bulk, tmp_path):
    keys = [1, "two", None, [3], {"four": 4}]
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps({"text": "a", "k": key}) + "\n" for key in keys))
    bulk(source, BulkOptions(keep=("k",), output_format="parquet", part_rows=1))
    found = parquet.read_table(tmp_path / "out").column("k").to_pylist()
    assert found == ["1", "two", None, "[3]", '{"four": 4}']


def test_bad_rows_go_to_the_side(bulk, tmp_path):
    source = tmp_path / "in.jsonl"
    good = [{"text": text, "id": i} for i, text in enumerate(TEXTS)]
    lines = [json.dumps(record) for record in good]
    lines[1:1] = ['{"text": null, "id": 9}', "{"]
    source.write_text("\n".join(lines))
    result, _ = bulk(source, BulkOptions(keep=("id",), part_rows=2))
    assert [r["id"] for r in read_lines(tmp_path / "out")] == [0, 1, 2, 3, 4]
    null, broken = read_lines(tmp_path / "out" / "_bad")
    assert {**null, "message": ""} == {
        "source": "in.jsonl", "row": 1, "byte": len(lines[0]) + 1, "reason": "null", "message": "", "id": 9
    }  # fmt: skip
    assert (broken["row"], broken["reason"]) == (2, "not-json")
    assert (result.total.rows, result.total.bad) == (5, 2)
    assert "2 invalid rows, with reasons:" in result.describe()


def test_a_text_that_the_labeler_refuses_is_a_bad_row(bulk, texts, labeler, tmp_path, monkeypatch):
    stream = labeler.stream

    def refusing(given, **options):
        if TEXTS[1] in given:
            raise DataError("this one not")
        return stream(given, **options)

    monkeypatch.setattr(labeler, "stream", refusing)
    bulk(texts)
    bad = read_lines(tmp_path / "out" / "_bad")
    assert [(r["source"], r["row"], r["reason"], r["message"]) for r in bad] == [
        ("a.txt", 1, "not-labeled", "this one not"),
        ("b.txt", 3, "not-labeled", "this one not"),
    ]
    assert len(read_lines(tmp_path / "out")) == 8


def test_only_missing_parts_are_done_again(bulk, texts, tmp_path):
    out = tmp_path / "out"
    bulk(texts)
    before = read_lines(out)
    (out / "part-00000001.jsonl").unlink()
    (out / "part-00000002.jsonl").write_text("cut of")
    (out / "_bulk" / "parts" / "part-00000004.json").write_text("{")
    (out / "_bulk" / "work" / "left-over").write_text("half a par")
    stamps = {path.name: path.stat().st_mtime_ns for path in out.glob("part-*")}
    result, parts = bulk(texts)
    assert parts == [1, 2, 4]
    assert read_lines(out) == before
    assert result.total.rows == 10
    kept = ["part-00000000.jsonl", "part-00000003.jsonl", "part-00000005.jsonl"]
    assert [(out / name).stat().st_mtime_ns for name in kept] == [stamps[name] for name in kept]
    assert not list((out / "_bulk" / "work").iterdir())
    assert bulk(texts)[1] == []


def test_a_part_that_is_written_is_not_labeled_again(bulk, texts, labeler_folder, tmp_path, monkeypatch):
    """Ray may give a part to a second worker when it has lost sight of the first."""
    bulk(texts)
    worker = PartLabeler(WorkerSpec(str(texts), str(texts), str(tmp_path / "out"), {"": str(labeler_folder)}))
    monkeypatch.setattr(PartLabeler, "_predict", None)
    assert receipt_from(worker({"part": 3})).rows == 2


def test_a_worker_keeps_few_products_and_returns_memory_after_each_part(
    bulk, texts, labeler_folder, tmp_path, monkeypatch
):
    bulk(texts)
    (tmp_path / "out" / "part-00000003.jsonl").unlink()
    capacities, returned = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"), []
    for name in capacities:
        # Set first, so that what the worker sets is removed after the test.
        monkeypatch.setenv(name, "1024")
        monkeypatch.delenv(name)
    monkeypatch.setattr("lookboth.bulk.worker.return_free_memory", lambda: returned.append(1))
    worker = PartLabeler(WorkerSpec(str(texts), str(texts), str(tmp_path / "out"), {"": str(labeler_folder)}))
    assert receipt_from(worker({"part": 3})).rows == 2
    assert all(int(os.environ[name]) <= 64 for name in capacities)
    assert returned == [1]


def test_a_part_over_which_workers_die_is_given_up(bulk, texts, labeler_folder, tmp_path):
    bulk(texts)
    (tmp_path / "out" / "part-00000003.jsonl").unlink()
    worker = PartLabeler(WorkerSpec(str(texts), str(texts), str(tmp_path / "out"), {"": str(labeler_folder)}))
    for _ in range(4):
        worker._count_try(3)
    with pytest.raises(LookbothError, match=r"b\.txt: 4 workers died while labeling 2 rows from row 0"):
        worker.label_part(3)
    assert bulk(texts)[1] == [3]  # started again, it is tried again


def test_what_a_worker_raises_arrives(bulk, texts, labeler_folder, tmp_path, monkeypatch):
    bulk(texts)
    (tmp_path / "out" / "part-00000000.jsonl").unlink()
    (texts / "a.txt").write_text("changed\n")
    worker = PartLabeler(WorkerSpec(str(texts), str(texts), str(tmp_path / "out"), {"": str(labeler_folder)}))
    with pytest.raises(DataError, match=r"a\.txt: changed or removed"):
        receipt_from(worker({"part": 0}))
    monkeypatch.setattr(PartLabeler, "label_part", lambda self, number: 1 / 0)
    with pytest.raises(LookbothError, match=r"part 0, worker .*: ZeroDivisionError: division by zero"):
        receipt_from(worker({"part": 0}))


CHANGES = {
    "column": replace(SMALL, column="body"),
    "keep": replace(SMALL, keep=("text",)),
    "output_format": replace(SMALL, output_format="parquet"),
    "min_score": replace(SMALL, min_score=0.5),
    "max_chars": replace(SMALL, max_chars=9),
    "part_rows": replace(SMALL, part_rows=3),
}


@pytest.mark.parametrize("name", CHANGES)
def test_other_options_are_refused(bulk, texts, name):
    bulk(texts)
    with pytest.raises(ConfigError, match=rf"{name} was .* and is "):
        bulk(texts, CHANGES[name])


def test_thresholds_that_the_labeler_lacks_are_told_before_anything_is_begun(bulk, texts, tmp_path):
    with pytest.raises(ConfigError, match="does not have thresholds"):
        bulk(texts, replace(SMALL, thresholds=True))
    assert not (tmp_path / "out").exists()


def test_thresholds_of_a_calibrated_labeler_are_read_from_its_folder(labeler_folder, tmp_path):
    folder = shutil.copytree(labeler_folder, tmp_path / "calibrated")
    settings = json.loads((folder / "config.json").read_text())
    settings["confidence"] = Confidence(precision=0.9, thresholds={"PER": 0.5}).to_dict()
    (folder / "config.json").write_text(json.dumps(settings))
    assert read_confidence(folder) == Confidence(precision=0.9, thresholds={"PER": 0.5})
    assert read_confidence(labeler_folder) == Confidence()


@pytest.mark.parametrize("name", CHANGES)
def test_a_run_that_has_written_nothing_may_be_begun_otherwise(bulk, texts, name, monkeypatch):
    def fail(*_):
        raise ModelError("cannot be loaded")

    with monkeypatch.context() as patched:
        patched.setattr(run, "label_parts", fail)
        with pytest.raises(ModelError):
            bulk(texts)
    assert bulk(texts, CHANGES[name])[1][0] == 0
    with pytest.raises(ConfigError, match=rf"{name} was .* and is "):
        bulk(texts)


@pytest.mark.parametrize("name", ["part-00000000.jsonl", "_bad/part-00000000.jsonl"])
def test_what_was_written_without_a_receipt_is_not_mixed_with_another_kind(bulk, texts, tmp_path, name):
    out = tmp_path / "out"
    bulk(texts)
    for path in [*out.glob("part-*"), *(out / "_bulk" / "parts").iterdir()]:
        path.unlink()
    (out / name).write_text("")
    with pytest.raises(ConfigError, match="belongs to a run with other options"):
        bulk(texts, CHANGES["part_rows"])


def test_other_input_is_refused(bulk, texts):
    bulk(texts)
    with (texts / "b.txt").open("a") as file:
        file.write("more\n")
    with pytest.raises(ConfigError, match=r"b\.txt in the input has changed"):
        bulk(texts)
    (texts / "b.txt").unlink()
    with pytest.raises(ConfigError, match=r"b\.txt in the input was removed"):
        bulk(texts)


def test_another_labeler_is_refused(bulk, texts, labeler_folder, tmp_path, without_ray):
    bulk(texts)
    other = shutil.copytree(labeler_folder, tmp_path / "same")
    run_bulk(texts, tmp_path / "out", SMALL, model=other)  # in another place, but the same
    (other / "README.md").write_text("changed")
    with pytest.raises(ConfigError, match="the labeler is a different one"):
        run_bulk(texts, tmp_path / "out", SMALL, model=other)
    (tmp_path / "out" / "part-00000000.jsonl").unlink()
    with pytest.raises(ModelError, match="differs from the one on the machine"):
        PartLabeler(WorkerSpec(str(texts), str(texts), str(tmp_path / "out"), {"": str(other)})).label_part(0)


def test_a_folder_with_other_things_is_refused(bulk, texts, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "part-00000000.jsonl").write_text("mine\n")
    with pytest.raises(ConfigError, match=r"contains other files \(part-00000000.jsonl\)"):
        bulk(texts)
    (out / "part-00000000.jsonl").unlink()
    bulk(texts)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"contains other files \(notes.txt\)"):
        bulk(texts)


def test_output_inside_the_input_is_refused(bulk, texts):
    with pytest.raises(ConfigError, match="is in the input folder"):
        bulk(texts, out=texts / "out")


@pytest.mark.skipif(not hasattr(os, "symlink") or sys.platform == "win32", reason="no links")
def test_links_are_not_followed_out_of_the_folder(bulk, texts, tmp_path):
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "out"
    elsewhere.mkdir()
    out.mkdir()
    (out / "_bulk").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="_bulk is a link"):
        bulk(texts)
    (out / "_bulk").unlink()
    bulk(texts)
    victim = elsewhere / "victim"
    victim.write_text("untouched")
    for name in ("part-00000001.jsonl", "_bulk/parts/part-00000002.json"):
        (out / name).unlink()
        (out / name).symlink_to(victim)
    (out / "_bulk" / "work" / "x").symlink_to(elsewhere)
    assert bulk(texts)[1] == [1, 2]
    assert victim.read_text() == "untouched"
    assert not (out / "part-00000001.jsonl").is_symlink()


def test_two_runs_do_not_write_into_one_folder(bulk, texts, tmp_path):
    folder = OutFolder(open_place(str(tmp_path / "out")))
    folder.prepare()
    with folder.lock(), pytest.raises(ConfigError, match="another run"):
        bulk(texts)


def test_object_stores(bulk, texts, tmp_path, labeler_folder):
    """fsspec's memory stands for a store without renaming; `file://` for pyarrow's own URLs."""
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.put(str(texts), "/bulk-in", recursive=True)
    bulk("memory://bulk-in", out="memory://bulk-out")
    bulk(f"file://{texts}", out=f"file://{tmp_path}/out")
    names = [f"part-{number:08}.jsonl" for number in range(6)]
    assert [memory.cat(f"/bulk-out/{name}") for name in names] == [
        (tmp_path / "out" / name).read_bytes() for name in names
    ]
    memory.rm("/bulk-out/part-00000002.jsonl")
    assert bulk("memory://bulk-in", out="memory://bulk-out")[1] == [2]


EMPTY = {
    "no rows": ("a.txt", b"", "the files contain no rows"),
    "every row is invalid": (
        "a.jsonl",
        b"{\nnull\n",
        r"no row was labeled. All 2 rows are invalid.*not JSON",
    ),
    "a mistyped column": ("a.jsonl", b'{"body": "a"}\n', "no record has the key 'text'. The keys are body"),
}


@pytest.mark.parametrize("case", EMPTY)
def test_a_run_that_labels_nothing_is_an_error(bulk, tmp_path, case):
    name, content, said = EMPTY[case]
    (tmp_path / name).write_bytes(content)
    for _ in range(2):  # also when it is resumed
        with pytest.raises(DataError, match=said):
            bulk(tmp_path / name)


def test_a_kept_column_that_no_record_has_is_refused_before_the_run(bulk, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jsonl").write_text('{"text": "a"}\n{\n{"text": "b", "meta": {"id": 1}}\n')
    with pytest.raises(
        DataError, match=r"no record has the key 'id'. The keys are text, meta. Type: --keep NAME"
    ):
        bulk(folder, BulkOptions(keep=("id",)))
    (folder / "b.jsonl").write_text('{"text": "c"}\n{"text": "d", "id": 2}\n')  # some have it
    bulk(folder, BulkOptions(keep=("id",)))
    assert [record["id"] for record in read_lines(tmp_path / "out")] == [None, None, None, 2]


def test_kept_columns_of_parquet_are_those_of_the_input(bulk, tmp_path):
    broken = pa.Array.from_buffers(pa.string(), 3, pa.array([b"\xff", b"a", None]).buffers())
    kept = pa.table(
        {
            "nanoseconds": pa.array([1, 2, 5], pa.time64("ns")),
            "far": pa.array([4_000_000, 1, None], pa.int32()).cast(pa.date32()),
            "later": pa.array([2**62, 1, None], pa.int64()).cast(pa.timestamp("us", "UTC")),
            "broken": pa.ListArray.from_arrays(pa.array([0, 1, 2, 3]), broken),
            "map": pa.array([[("a", b"\xff")], None, []], pa.map_(pa.string(), pa.binary())),
            "name.with.dots": pa.array(["a", "b", "a"]).dictionary_encode(),
        }
    )
    parquet.write_table(kept.append_column("text", pa.array(["one", None, "three"])), tmp_path / "in.parquet")
    bulk(tmp_path / "in.parquet", BulkOptions(keep=tuple(kept.schema.names), part_rows=2))
    found = parquet.read_table(tmp_path / "out").select(kept.schema.names)
    assert found.schema.types == kept.schema.types
    for name in set(kept.schema.names) - {"broken"}:
        assert found.column(name).combine_chunks() == kept.column(name).take([0, 2]).combine_chunks()
    assert found["broken"].combine_chunks().flatten().cast(pa.binary()).to_pylist() == [b"\xff", None]
    bulk(
        tmp_path / "in.parquet",
        BulkOptions(keep=tuple(kept.schema.names), output_format="jsonl"),
        tmp_path / "lines",
    )
    first, _ = read_lines(tmp_path / "lines")
    assert {name: first[name] for name in kept.schema.names} == {
        "nanoseconds": "00:00:00.000000001", "far": "12921-08-18",
        "later": 2**62, "broken": ["\\xff"], "map": [["a", "/w=="]],
        "name.with.dots": "a",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("{", "damaged"),
        ('{"format": 2}', "format 2"),
        ('{"format": 1, "options": {"keep": [], "colour": 1}}', "damaged"),
        ('{"format": 1, "options": {"keep": [], "precision": "fp8"}}', "damaged.*fp8"),
        ("[" * 100_000, "damaged"),
    ],
)
def test_a_damaged_manifest_is_refused(bulk, texts, tmp_path, data, said):
    bulk(texts)
    (tmp_path / "out" / "_bulk" / "manifest.json").write_text(data)
    with pytest.raises(DataError, match=said):
        bulk(texts)


def test_nonsense_options_are_refused():
    for make in (
        lambda: BulkOptions(input_format="pickle"),
        lambda: BulkOptions(precision="fp8"),
        lambda: BulkOptions(keep=("spans",)),
        lambda: BulkOptions(keep=("id", "id")),
        lambda: BulkOptions(part_bytes=0),
        lambda: Workers(count=0),
        lambda: Workers(gpus=-1),
    ):
        with pytest.raises(ConfigError):
            make()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_told(bulk, texts, tmp_path):
    (tmp_path / "out").mkdir(mode=0o500)
    with pytest.raises(DataError, match="out"):
        bulk(texts)


def test_a_folder_below_a_file_is_told(bulk, texts):
    with pytest.raises(DataError, match=r"a\.txt"):
        bulk(texts / "b.txt", out=texts / "a.txt" / "out")


def test_a_label_of_a_whole_text_is_a_span_over_it():
    found = Prediction(
        "so it is", ("so", "it", "is"), ((0, 2), (3, 5), (6, 8)), (), labels=(TextLabel("joy", 0.5),)
    )
    (line,) = encode_json_lines("a.txt", [(Row(4, "so it is"), {"": found})]).splitlines()
    assert json.loads(line)["spans"] == [{"start": 0, "end": 8, "label": "joy", "score": 0.5}]


CHOSEN = [
    (Workers(), {"CPU": 8}, (1, 0, 8, None)),
    (Workers(count=3), {"CPU": 8}, (3, 0, 2, None)),
    (Workers(), {"CPU": 8, "GPU": 2}, (2, 1, 4, 8192)),
    (Workers(gpus=0.5), {"CPU": 8, "GPU": 2}, (4, 0.5, 2, 8192)),
    (Workers(gpus=0), {"CPU": 8, "GPU": 2}, (1, 0, 8, None)),
    (Workers(address="auto"), {"CPU": 128, "GPU": 16}, (16, 1, 1, 8192)),
    (Workers(count=64, address="auto"), {"CPU": 2}, (64, 0, 1, None)),
    (Workers(count=2, cpus=0.5, batch_tokens=7), {"CPU": 1}, (2, 0, 0.5, 7)),
]


@pytest.mark.parametrize(("asked", "there", "chosen"), CHOSEN)
def test_what_is_there_is_shared_out(asked, there, chosen):
    workers = asked.chosen(there)
    assert (workers.count, workers.gpus, workers.cpus, workers.batch_tokens) == chosen


@pytest.mark.parametrize("asked", [Workers(count=3), Workers(gpus=1), Workers(cpus=2.5)])
def test_more_than_there_is_is_refused(asked):
    with pytest.raises(ConfigError, match="there are 2 CPUs and 0 GPUs"):
        asked.chosen({"CPU": 2})


def test_receipts_say_where_and_how_long(bulk, texts, tmp_path):
    bulk(texts)
    folder = OutFolder(open_place(str(tmp_path / "out")))
    manifest = folder.read_manifest()
    receipts = folder.receipts(manifest)
    assert sorted(receipts) == list(range(6))
    assert all(isinstance(receipt, Receipt) and receipt.seconds >= 0 for receipt in receipts.values())
    assert receipts[0].worker.endswith(f":{os.getpid()}")


def test_labels_of_an_open_labeler_are_named_and_belong_to_the_run(
    texts, tiny_llama_folder, monkeypatch, tmp_path
):
    labeler = tiny_labeler(tiny_llama_folder, head={"kind": "open"})
    labeler.save_pretrained(tmp_path / "open")
    monkeypatch.setattr(run, "connected", lambda workers: nullcontext())

    def label_parts(job, parts, workers):
        yield from map(PartLabeler(job).label_part, parts)

    monkeypatch.setattr(run, "label_parts", label_parts)
    out, named = tmp_path / "out", ("company", "product: sold, or rented")
    run_bulk(texts, out, replace(SMALL, labels=named), model=tmp_path / "open")
    found = {span["label"] for row in read_lines(out) for span in row["spans"]}
    assert found
    assert found <= {"company", "product"}
    with pytest.raises(ConfigError, match="labels was"):
        run_bulk(texts, out, SMALL, model=tmp_path / "open")


def test_a_run_that_an_earlier_version_began_has_no_labels():
    manifest = Manifest(SMALL, {"": "digest"}, ())
    data = json.loads(manifest.to_json())
    del data["options"]["labels"]
    assert Manifest.from_json(json.dumps(data), "manifest.json") == manifest


def test_a_labeler_of_any_kind_is_loaded(texts, monkeypatch, tmp_path):
    monkeypatch.setattr(run, "connected", lambda workers: nullcontext())
    monkeypatch.setattr(
        run, "label_parts", lambda job, parts, workers: (PartLabeler(job).label_part(part) for part in parts)
    )
    saved = Path(__file__).parents[1] / "models" / "formats" / "1"
    # The base that the saved labeler names is next to it.
    monkeypatch.chdir(saved)
    result = run_bulk(texts, tmp_path / "out", SMALL, model=saved / "generative")
    assert result.total.rows == 10
