"""Every row of the input is in exactly one part, whatever the lines look like and wherever parts end."""

import bz2
import codecs
import gzip
import os
import re
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from bulk_reading import read_all
from hypothesis import assume, given, settings, strategies as st
from pyarrow import parquet

from lookboth.bulk import parts as parts_module
from lookboth.bulk.bulk_options import BulkOptions
from lookboth.bulk.input_files import find_files
from lookboth.bulk.parts import divide_into_parts
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
    assume(0 not in data and not data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)))
    assume(b"\n" in data or b"\r" not in data)
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


REPEATED = pa.array([f"{'x' * 1000}{i % 3}" for i in range(3000)])
PARQUET = {
    "dictionary in the file": pa.table({"text": REPEATED}),
    "dictionary in the table": pa.table({"text": REPEATED.dictionary_encode()}),
    "plain": pa.table({"text": [f"{i}{'x' * 1000}" for i in range(3000)]}),
    "a name with dots": pa.table({"a.b": REPEATED, "a": [{"b": 1}] * 3000}),
}


@pytest.mark.parametrize("kind", PARQUET)
def test_parts_of_parquet_have_about_the_bytes_asked_for(tmp_path, kind):
    parquet.write_table(PARQUET[kind], tmp_path / "a.parquet", row_group_size=1000)
    column = PARQUET[kind].schema.names[0]
    parts, rows = read_all(tmp_path, BulkOptions(column=column, part_bytes=100_000))
    assert all(90 <= part.num_rows <= 110 for part in parts[:-1])
    assert all(80_000 < part.size < 120_000 for part in parts[:-1])
    assert [row.text for own in rows for row in own] == PARQUET[kind].column(column).to_pylist()


def test_a_column_name_that_occurs_twice_is_refused(tmp_path):
    table = pa.table([pa.array(["a"]), pa.array(["b"]), pa.array(["c"])], names=["text", "text", "id"])
    parquet.write_table(table, tmp_path / "a.parquet")
    for options in (BulkOptions(), BulkOptions(column="id", keep=("text",))):
        with pytest.raises(DataError, match="has 2 columns 'text'"):
            read_all(tmp_path, options)
    assert read_all(tmp_path, BulkOptions(column="id"))[1][0][0].text == "c"


OTHER_TEXT = {
    "UTF-16": ("Ada\nRome\n".encode("utf-16"), "the file is UTF-16"),
    "UTF-16 without a mark": ("Ada\nRome\n".encode("utf-16-le"), "the file is UTF-16"),
    "UTF-32": ("Ada\nRome\n".encode("utf-32"), "the file is UTF-16"),
    "packed": (gzip.compress("Ada\nRome\n".encode("utf-16-be")), "the file is UTF-16"),
    "ends of old Macs": (b"Ada\rRome\r", "lines end in CR only"),
}


@pytest.mark.parametrize("kind", OTHER_TEXT)
def test_text_that_would_be_labeled_as_something_else_is_refused(tmp_path, kind):
    content, said = OTHER_TEXT[kind]
    (tmp_path / ("a.txt.gz" if kind == "packed" else "a.txt")).write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_all(tmp_path, BulkOptions())


def test_a_link_is_followed_once(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "a.txt").write_text("one\n")
    (outside / "c.txt").write_text("two\n")
    (inside / "b.txt").symlink_to(outside / "c.txt")
    assert [len(rows) for rows in read_all(inside, BulkOptions())[1]] == [1, 1]
    (outside / "c.txt").rename(tmp_path / "c.txt")
    (inside / "b.txt").unlink()
    (inside / "other").symlink_to(outside)
    assert [len(rows) for rows in read_all(inside, BulkOptions())[1]] == [1, 1]


@pytest.mark.parametrize("target", ["a.txt", "sub", "sub/c.txt"])
def test_a_file_that_is_reached_twice_is_refused(tmp_path, target):
    (tmp_path / "a.txt").write_text("one\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.txt").write_text("one\n")
    (tmp_path / "z.txt").symlink_to(tmp_path / target)
    with pytest.raises(DataError, match=r"z\.txt.* is the same file as .*[ac]\.txt"):
        read_all(tmp_path, BulkOptions())


def test_a_loop_of_links_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("one\n")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "loop").symlink_to(tmp_path)
    with pytest.raises(DataError, match=r"deep.loop: is a symbolic link back to"):
        read_all(tmp_path, BulkOptions())


def _pipe(path: Path) -> None:
    os.mkfifo(path)


LOST = {
    "broken link": (lambda path: path.symlink_to(path.with_name("missing.txt")), "does not exist"),
    "link to itself": (lambda path: path.symlink_to(path), "does not exist"),
    "pipe": (_pipe, "not a plain file"),
    "name": (lambda path: Path(os.fsdecode(os.fsencode(path) + b"\xff.txt")).touch(), "not UTF-8"),
}


@pytest.mark.parametrize("kind", LOST)
def test_a_file_that_cannot_be_read_is_not_passed_over(tmp_path, kind):
    make, said = LOST[kind]
    (tmp_path / "a.txt").write_text("one\n")
    make(tmp_path / "b.txt")
    with pytest.raises(DataError, match=said):
        read_all(tmp_path, BulkOptions())
    if kind != "name":  # hidden files are left out, whatever they are
        (tmp_path / "b.txt").rename(tmp_path / "_b.txt")
        assert len(read_all(tmp_path, BulkOptions())[1]) == 1


def test_a_path_that_is_not_utf8_is_refused(tmp_path):
    with pytest.raises(DataError, match="not UTF-8"):
        read_all(Path(os.fsdecode(os.fsencode(tmp_path) + b"\xff")), BulkOptions())
    with pytest.raises(DataError, match="zero character"):
        open_place(f"{tmp_path}\0")


def test_an_unknown_suffix_is_refused_unless_a_format_is_given(tmp_path):
    (tmp_path / "a.log").write_text("one\n")
    with pytest.raises(DataError, match="--input-format"):
        read_all(tmp_path, BulkOptions())
    assert read_all(tmp_path, BulkOptions(input_format="text"))[1][0][0].text == "one"


@pytest.mark.parametrize(
    ("column", "said"),
    [("body", "there is no column 'body', only id, text"), ("id", "has the type int64, not text")],
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
    parts = divide_into_parts(folder, files, BulkOptions())
    path.write_text("other\n")
    with pytest.raises(DataError, match=r"a\.txt: changed or removed"):
        list(read_rows(folder, files[0], parts[0], BulkOptions()))


@pytest.mark.parametrize(("name", "separator"), [("a.csv", ";"), ("a.csv", ","), ("a.tsv", "\t")])
def test_a_table_of_texts_is_refused_with_the_command_that_converts_it(tmp_path, name, separator):
    rows = [["id", "text"], ["1", "Ann saw Rome"]]
    (tmp_path / name).write_text("".join(separator.join(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(DataError, match="It seems to be a table") as refused:
        find_files(open_place(str(tmp_path)), None)
    command = re.search(r"in Python: (.*)\. Then", str(refused.value))[1]
    assert f"delimiter={separator!r}" in command
    exec(command.replace("'texts.parquet'", repr(f"{tmp_path}/texts.parquet")), {})
    assert parquet.read_table(tmp_path / "texts.parquet").column("text").to_pylist() == ["Ann saw Rome"]
