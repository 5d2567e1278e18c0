"""Bad rows: each has a reason and a place, and none takes another with it."""

import json
import tempfile
import uuid
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from bulk_reading import read_all
from hypothesis import given, settings, strategies as st
from pyarrow import parquet

from lookboth.bulk import rows as rows_module
from lookboth.bulk.bulk_options import BulkOptions
from lookboth.bulk.encoding import as_strings, encode_bad, encode_json_lines, encode_parquet
from lookboth.bulk.rows import Row
from lookboth.errors import DataError
from lookboth.types import Prediction

BAD_LINES = {
    b'{"text": null}': "null",
    b'{"text": 5}': "not-a-string",
    b'{"text": ["a"]}': "not-a-string",
    b'{"id": 1}': "no-column",
    b"{}": "no-column",
    b'{"text": "a"': "not-json",
    b"": "not-json",
    b'{"text": "a", "more": {"id": 1, "id": 2}}': "repeated-key",
    b'{"text": "a", "id": NaN}': "not-json",
    b'{"text": "a", "id": ' + b"9" * 5000 + b"}": "not-json",
    b'{"text": ' + b"[" * 100_000: "not-json",
    b'["text"]': "not-an-object",
    b'{"text": "Z\xfcrich"}': "not-utf-8",
    b'{"text": "a\\ud800b"}': "lone-surrogate",
    b'{"text": "a", "id": "\\uDFFF"}': "lone-surrogate",
    b'{"text": "' + b"x" * 101 + b'"}': "too-long",
    b'{"text": "' + b"x" * 300_001 + b'"}': "line-too-long",
}
OPTIONS = BulkOptions(max_chars=100, keep=("id",))


@pytest.mark.parametrize("line", BAD_LINES, ids=lambda line: BAD_LINES[line])
def test_a_bad_line_has_a_reason_and_costs_no_other(tmp_path, monkeypatch, line):
    monkeypatch.setattr(rows_module, "LINE_BYTES", 300_000)
    good = b'{"text": "\\ud83d\\ude00", "id": 7}'
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([good, line, good]) + b"\n")
    (rows,) = read_all(tmp_path, OPTIONS)[1]
    assert [row.reason for row in rows] == ["", BAD_LINES[line], ""]
    assert [row.text for row in rows] == ["\U0001f600", None, "\U0001f600"]
    assert [row.byte for row in rows] == [0, len(good) + 1, len(good) + len(line) + 2]
    assert rows[1].message


JSON = st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=8), st.lists, max_leaves=4)
LINES = st.one_of(
    st.binary(max_size=40),
    st.fixed_dictionaries({"text": JSON}, optional={"id": JSON}).map(lambda r: json.dumps(r).encode()),
).map(lambda line: line.replace(b"\n", b" "))


@settings(max_examples=60, deadline=None)
@given(lines=st.lists(LINES, min_size=1, max_size=8))
def test_whatever_stands_in_a_line_it_is_one_row(lines):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.jsonl").write_bytes(b"\n".join(lines) + b"\n")
        rows = [row for own in read_all(Path(folder), OPTIONS)[1] for row in own]
    assert len(rows) == len(lines)
    for row in rows:
        assert (row.text is None) == bool(row.reason and row.message)
    labeled = [(row, {"": Prediction("", (), (), ())}) for row in rows if row.text is not None]
    assert encode_json_lines("a", labeled).decode().count("\n") == len(labeled)
    assert len(
        parquet.read_table(
            pa.BufferReader(
                encode_parquet("a", labeled, {"id": as_strings(row.kept["id"] for row, _ in labeled)})
            )
        )
    ) == len(labeled)


def test_a_line_without_end_is_not_held_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(rows_module, "LINE_BYTES", 1000)
    monkeypatch.setattr(rows_module, "_CHUNK", 64)
    (tmp_path / "a.txt").write_bytes(b"x" * 5000)
    assert [row.reason for row in read_all(tmp_path, BulkOptions())[1][0]] == ["line-too-long"]


def test_kept_columns_of_json_come_as_they_are(tmp_path):
    record = {"text": "a", "id": {"n": [1, None]}}
    (tmp_path / "a.jsonl").write_text(f"{json.dumps(record)}\n" + '{"text": "b"}\n')
    (rows,) = read_all(tmp_path, BulkOptions(keep=("id", "text")))[1]
    assert [row.kept for row in rows] == [{"id": {"n": [1, None]}, "text": "a"}, {"id": None, "text": "b"}]


def test_text_may_be_kept_and_has_no_other_columns(tmp_path):
    (tmp_path / "a.txt").write_text("\ufeffone\r\n\ntwo", encoding="utf-8", newline="")
    (rows,) = read_all(tmp_path, BulkOptions(keep=("text",)))[1]
    assert [row.text for row in rows] == ["one", "", "two"]
    assert rows[0].kept == {"text": "one"}
    with pytest.raises(DataError, match="does not have the column 'id'"):
        read_all(tmp_path, BulkOptions(keep=("text", "id")))


BYTES = pa.array([b"a", None, b"\xff", b"x" * 101, "é".encode()])
COLUMNS = {
    "bytes": BYTES,
    "large bytes": BYTES.cast(pa.large_binary()),
    "strings that are none": pa.Array.from_buffers(pa.string(), len(BYTES), BYTES.buffers()),
    "dictionary": pa.Array.from_buffers(pa.string(), len(BYTES), BYTES.buffers()).dictionary_encode(),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_bad_rows_of_parquet(tmp_path, kind):
    table = pa.table({"text": COLUMNS[kind], "id": [1, 2, 3, 4, 5]})
    parquet.write_table(table, tmp_path / "a.parquet")
    (rows,) = read_all(tmp_path, OPTIONS)[1]
    assert [row.reason for row in rows] == ["", "null", "not-utf-8", "too-long", ""]
    assert [row.text for row in rows] == ["a", None, None, None, "é"]
    assert [row.kept for row in rows] == [{"id": number} for number in (1, 2, 3, 4, 5)]


KEPT_BYTES = {
    "bytes": (pa.array([b"\xff", b"a", None]), [b"\xff", b"a", None]),
    "a view": (pa.array([b"\xff", b"a", None], pa.binary_view()), [b"\xff", b"a", None]),
    "of one length": (pa.array([b"\xff\x00", b"ab", None], pa.binary(2)), [b"\xff\x00", b"ab", None]),
    "dictionary": (pa.array([b"\xff", b"a", None]).dictionary_encode(), [b"\xff", b"a", None]),
    "in a list": (pa.array([[b"\xff"], [b"a"], None]), [[b"\xff"], [b"a"], None]),
    "strings that are none": (
        pa.Array.from_buffers(pa.string(), 3, pa.array([b"\xff", b"a", None]).buffers()),
        ["\\xff", "a", None],
    ),
}


@pytest.mark.parametrize("kind", KEPT_BYTES)
def test_a_kept_column_spoils_no_row_and_comes_as_it_is(tmp_path, kind):
    column, expected = KEPT_BYTES[kind]
    parquet.write_table(pa.table({"text": ["a", "b", None], "id": column}), tmp_path / "a.parquet")
    (rows,) = read_all(tmp_path, OPTIONS)[1]
    assert [row.reason for row in rows] == ["", "", "null"]
    assert [row.kept["id"] for row in rows] == expected
    labeled = [(row, {"": Prediction("", (), (), ())}) for row in rows]
    written = parquet.read_table(pa.BufferReader(encode_parquet("a", labeled, {"id": column})))
    assert written.column("id").combine_chunks() == column
    assert written.schema.field("id").type == column.type


def test_texts_that_are_bytes_are_kept_as_texts(tmp_path):
    parquet.write_table(pa.table({"text": pa.array(["é".encode(), b"\xff"])}), tmp_path / "a.parquet")
    (rows,) = read_all(tmp_path, BulkOptions(keep=("text",)))[1]
    assert [(row.text, row.reason, row.kept) for row in rows] == [
        ("é", "", {"text": "é"}),
        (None, "not-utf-8", {"text": "\\xff"}),
    ]


def test_what_json_does_not_know_is_written_as_what_it_does():
    number = uuid.UUID(int=5)
    kept = {
        "bytes": b"\xff\x00", "nested": [{"n": float("nan"), "b": b"a"}, "é"], "inf": float("-inf"),
        "date": date(2026, 1, 2), "uuid": number, "half": 0.5, "nan": "NaN",
    }  # fmt: skip
    expected = {
        "bytes": "/wA=", "nested": [{"n": None, "b": "YQ=="}, "é"], "inf": None,
        "date": "2026-01-02", "uuid": str(number), "half": 0.5, "nan": "NaN",
    }  # fmt: skip
    row = Row(0, "a", kept)
    prediction = Prediction("a", ("a",), ((0, 1),), ("O",))
    for line in (encode_json_lines("a", [(row, {"": prediction})]), encode_bad("a", [row])):
        found = json.loads(line, parse_constant=pytest.fail)
        assert {name: found[name] for name in kept} == expected
        assert "é".encode() in line
    (tagged,) = parquet.read_table(
        pa.BufferReader(encode_parquet("a", [(Row(0, "a"), {"": prediction})], {"id": as_strings([[1e999]])}))
    ).to_pylist()
    assert tagged["id"] == "[null]"


def test_a_column_of_nothing_but_nulls(tmp_path):
    parquet.write_table(pa.table({"text": pa.nulls(3)}), tmp_path / "a.parquet")
    assert [row.reason for row in read_all(tmp_path, BulkOptions())[1][0]] == ["null"] * 3
