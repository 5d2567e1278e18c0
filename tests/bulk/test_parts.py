"""Every row of the input is in exactly one part, whatever the lines look like and wherever parts end."""

import bz2
import gzip
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from bulk_reading import read_all
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from lookboth.bulk import parts as parts_module
from lookboth.bulk.inputs import find_files
from lookboth.bulk.options import BulkOptions
from lookboth.bulk.parts import plan_parts
from lookboth.bulk.rows import read_rows
from lookboth.bulk.storage import open_place
from lookboth.errors import DataError

LINES = st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=40)
SIZES = st.tuples(st.integers(1, 60), st.integers(1, 12))


def check_parts(parts, rows, options: BulkOptions) -> None:
    for part, own in zip(parts, rows, strict=True):
        assert [row.number for row in own] == list(range(part.row, part.row + part.num_rows))
        assert 1 <= part.num_rows <= options.part_rows
    ends = [(part.row + part.num_rows, part.start + part.size) for part in parts]
    assert [(part.row, part.start) for part in parts[1:]] == ends[:-1]


@pytest.mark.parametrize("pack", [None, gzip.compress, bz2.compress])
@settings(max_examples=40, deadline=None)
@given(lines=LINES, sizes=SIZES, ends=st.booleans(), chunk=st.sampled_from([1, 7, 4096]))
def test_lines_are_read_once(pack, lines, sizes, ends, chunk):
    data = b"\n".join(lines) + b"\n" * ends
    options = BulkOptions(part_bytes=sizes[0], part_rows=sizes[1])
    suffix = {None: "", gzip.compress: ".gz", bz2.compress: ".bz2"}[pack]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts_module, "_CHUNK", chunk)
        path = Path(folder, "a.txt" + suffix)
        path.write_bytes(pack(data) if pack else data)
        parts, rows = read_all(path, options)
    check_parts(parts, rows, options)
    expected = data.removesuffix(b"\n").split(b"\n") if data else []
    found = [row for own in rows for row in own]
    assert sum(part.size for part in parts) == len(data)
    assert len(found) == len(expected)
    byte = 0
    for row, line in zip(found, expected, strict=True):
        assert row.byte == byte
        byte += len(line) + 1
        try:
            text = line.removesuffix(b"\r").removeprefix(b"\xef\xbb\xbf" if row.number == 0 else b"").decode()
        except UnicodeDecodeError:
            assert (row.text, row.reason) == (None, "not-utf-8")
        else:
            assert row.text == text


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(st.text(max_size=10), max_size=40), group=st.integers(1, 20), sizes=SIZES)
def test_rows_of_parquet_are_read_once(texts, group, sizes):
    options = BulkOptions(part_bytes=sizes[0], part_rows=sizes[1])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.parquet")
        texts = [text.encode("utf-8", "ignore").decode() for text in texts]
        parquet.write_table(pa.table({"text": pa.array(texts, pa.string())}), path, row_group_size=group)
        parts, rows = read_all(path, options)
    assert [row.text for own in rows for row in own] == texts
    assert [row.number for own in rows for row in own] == list(range(len(texts)))
    assert all(part.num_rows <= options.part_rows for part in parts)


@pytest.mark.parametrize("name", ["A.TXT.GZ", "a.txt.Bz2", "a.TXT.zst", "A.Jsonl.GZ"])
def test_capital_letters_in_a_suffix_mean_the_same(tmp_path, name):
    suffix, packing = Path(name.lower()).suffix, {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
    lines = b'{"text": "one"}\n{"text": "two"}\n' if "json" in name.lower() else b"one\ntwo\n"
    with pa.output_stream(tmp_path / name, compression=packing[suffix]) as stream:
        stream.write(lines)
    parts, rows = read_all(tmp_path, BulkOptions(part_rows=1))
    assert [row.text for own in rows for row in own] == ["one", "two"]
    assert sum(part.size for part in parts) == len(lines)


def test_files_of_a_folder_come_in_the_order_of_their_names(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "1.txt").write_text("b1\n")
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "c.txt").write_text("")
    (tmp_path / "_SUCCESS").write_text("")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "x.txt").write_text("x\n")
    parts, rows = read_all(tmp_path, BulkOptions())
    assert [row.text for own in rows for row in own] == ["a", "b1"]
    assert [part.file for part in parts] == [0, 1]


def test_parts_are_small_and_not_too_small(tmp_path):
    (tmp_path / "a.txt").write_text("0123456789\n" * 1000)
    sizes = [part.size for part in read_all(tmp_path, BulkOptions(part_bytes=1000))[0]]
    assert all(1000 <= size < 1011 for size in sizes[:-1])


def test_an_unknown_suffix_is_refused_unless_a_format_is_given(tmp_path):
    (tmp_path / "a.log").write_text("one\n")
    with pytest.raises(DataError, match="--input-format"):
        read_all(tmp_path, BulkOptions())
    assert read_all(tmp_path, BulkOptions(input_format="text"))[1][0][0].text == "one"


@pytest.mark.parametrize(
    ("column", "said"), [("body", "no column 'body'; there are id, text"), ("id", "holds int64, not text")]
)
def test_parquet_without_the_texts_is_refused_at_once(tmp_path, column, said):
    parquet.write_table(pa.table({"id": [1], "text": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=said):
        read_all(tmp_path, BulkOptions(column=column))


def test_what_is_no_parquet_file_is_named(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR0")
    with pytest.raises(DataError, match=r"a\.parquet: not a Parquet file"):
        read_all(tmp_path, BulkOptions())


def test_input_that_changed_is_refused(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one\n")
    folder, files = find_files(open_place(str(path)), None)
    parts = plan_parts(folder, files, BulkOptions())
    path.write_text("other\n")
    with pytest.raises(DataError, match=r"a\.txt: changed or gone"):
        list(read_rows(folder, files[0], parts[0], BulkOptions()))
