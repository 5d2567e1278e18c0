"""Borders of documents: kept by every reader whose format has them, and never crossed."""

import json

import pytest

from lookboth.data import ReadOptions, read_dataset, read_source
from lookboth.data.documents import document_starts, has_documents

TAGGED = "Ann\tB-PER\n\nran\tO\n"


def write(path, content):
    path.write_text(content, encoding="utf-8")
    return path


def texts_of(dataset):
    """Return the first words of the texts in the document of each example."""
    for example in dataset.examples:
        assert not example.document or example.document[example.place] == example.words
    return ["".join(words[0][0] for words in example.document) for example in dataset.examples]


def columns(*borders):
    """Return four sentences of one word, a, b, c and d, with a text before each."""
    return "".join(f"{border}{word}\tO\n\n" for border, word in zip(borders, "abcd", strict=True))


@pytest.mark.parametrize(
    ("content", "documents", "found"),
    [
        (columns("", "", "", ""), None, ["", "", "", ""]),
        (columns("", "", "", ""), "file", ["abcd"] * 4),
        (columns("-DOCSTART-\tO\n\n", "", "-DOCSTART-\tO\n\n", ""), None, ["ab", "ab", "cd", "cd"]),
        (columns("", "-DOCSTART-\n", "", ""), None, ["a", "bcd", "bcd", "bcd"]),
        (columns("-DOCSTART-\tO\n\n", "", "-DOCSTART-\tO\n\n", ""), "file", ["abcd"] * 4),
        (columns("# newdoc id = 1\n", "", "", "# newdoc\n# text = d\n"), None, ["abc"] * 3 + ["d"]),
        (columns("###MEDLINE:1\n\n", "", "###MEDLINE:2\n\n", ""), None, ["ab"] * 2 + ["cd"] * 2),
        (columns("", "", "\n", ""), "blank_lines", ["ab", "ab", "cd", "cd"]),
        (columns("", "", "\n\n\n", ""), "blank_lines", ["ab", "ab", "cd", "cd"]),
        (columns("", "", "\n", ""), None, ["", "", "", ""]),
    ],
)
def test_borders_in_columns(content, documents, found, tmp_path):
    path = write(tmp_path / "a.conll", content)
    assert texts_of(read_dataset(path, ReadOptions(documents=documents))) == found


@pytest.mark.parametrize("key", ["document", "document_id", "doc_id", "doc_key"])
def test_records_name_their_document(key, tmp_path):
    names = ["x", "x", None, 7, "x", 7]
    records = [
        {"tokens": [word], "tags": ["O"]} | ({} if name is None else {key: name})
        for word, name in zip("abcdef", names, strict=True)
    ]
    path = write(tmp_path / "a.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    assert texts_of(read_dataset(path)) == ["abe", "abe", "", "df", "abe", "df"]
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    parquet.write_table(
        pyarrow.Table.from_pylist([r | {key: str(r.get(key))} for r in records]), tmp_path / "a.parquet"
    )
    assert texts_of(read_dataset(tmp_path / "a.parquet")) == ["abe", "abe", "c", "df", "abe", "df"]


def test_documents_end_at_the_border_of_a_part(tmp_path):
    write(tmp_path / "train.conll", columns("-DOCSTART-\tO\n\n", "", "", ""))
    assert texts_of(read_source(f"{tmp_path}:train[:75%]")) == ["abc"] * 3
    assert texts_of(read_source(f"{tmp_path}:train[75%:]")) == ["d"]
    assert texts_of(read_source(f"{tmp_path}:train")) == ["abcd"] * 4


def test_starts_of_documents(tmp_path):
    path = write(tmp_path / "a.conll", columns("-DOCSTART-\n", "", "-DOCSTART-\n", ""))
    examples = read_dataset(path).examples
    assert document_starts(examples) == (0, 2)
    assert has_documents(examples)
    assert not has_documents(examples[:0])
    alone = read_dataset(write(tmp_path / "b.conll", TAGGED)).examples
    assert document_starts(alone) == ()
    assert not has_documents(alone)
