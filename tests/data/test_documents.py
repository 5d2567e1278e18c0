"""Borders of documents: kept by every reader whose format has them, and never crossed."""

import io
import json

import pytest

from lookboth.data import ReadOptions, read_dataset, read_source
from lookboth.data.conversion import KINDS, ConvertOptions, convert
from lookboth.data.documents import document_numbers, has_documents
from lookboth.errors import ConfigError, DataError
from lookboth.inference import read_documents

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


def test_numbers_of_documents(tmp_path):
    path = write(tmp_path / "a.conll", columns("-DOCSTART-\n", "", "-DOCSTART-\n", ""))
    examples = read_dataset(path).examples
    assert document_numbers(examples) == [1, 1, 2, 2]
    assert has_documents(examples)
    assert not has_documents(examples[:0])
    alone = read_dataset(write(tmp_path / "b.conll", TAGGED)).examples
    assert document_numbers(alone) == []
    assert not has_documents(alone)


CONLL2012_LINE = "x 0 0 {word} NN * - - - - (PER) -\n"
CONVERTED = {
    "bioc": "<collection><document><id>1</id>"
    + "".join(f"<passage><offset>0</offset><text>{word}</text></passage>" for word in "ab")
    + "</document><document><id>2</id><passage><offset>0</offset><text>c</text></passage></document></collection>",
    "bioc-json": "".join(
        json.dumps({"passages": [{"offset": 0, "text": word, "annotations": []} for word in words]}) + "\n"
        for words in ("ab", "c")
    ),
    "conll2003": "-DOCSTART- -X- O O\n\na NN O O\n\nb NN O O\n\n-DOCSTART- -X- O O\n\nc NN O O\n",
    "conll2012": "".join(
        f"#begin document ({words})\n" + "".join(CONLL2012_LINE.format(word=word) + "\n" for word in words)
        for words in ("ab", "c")
    ),
    "conllu": "".join(
        f"{border}1\t{word}\t_\t_\t_\t_\t_\t_\t_\tEntity=(e1-person-1)\n\n"
        for border, word in (("# newdoc id = 1\n", "a"), ("", "b"), ("# newdoc id = 2\n", "c"))
    ),
    "pubtator": "1|t|a\n1|a|b\n1\t0\t1\ta\tX\n\n2|t|c\n2\t0\t1\tc\tX\n",
    "json": "".join(
        json.dumps({"tokens": [word], "tags": ["O"], "doc_id": name}) + "\n"
        for word, name in zip("abc", ("x", "x", "y"), strict=True)
    ),
}


@pytest.mark.parametrize("suffix", [".conll", ".jsonl"])
@pytest.mark.parametrize("kind", CONVERTED)
def test_converted_files_keep_the_borders_when_asked_for(kind, suffix, tmp_path):
    path, out = write(tmp_path / "in.txt", CONVERTED[kind]), tmp_path / f"out{suffix}"
    convert(kind, path, out, ConvertOptions(documents=True))
    assert texts_of(read_dataset(out)) == ["ab", "ab", "c"]
    assert texts_of(KINDS[kind].read(path, ConvertOptions(), repair=False).dataset) == ["ab", "ab", "c"]
    convert(kind, path, out)
    assert texts_of(read_dataset(out)) == ["", "", ""]


def test_a_file_of_brat_and_of_webanno_is_a_document(tmp_path):
    for name, text in (("1", "a\nb\n"), ("2", "c\n")):
        write(tmp_path / f"{name}.txt", text)
        write(tmp_path / f"{name}.ann", "T1\tPER 0 1\t" + text[0] + "\n")
    assert texts_of(read_dataset(tmp_path)) == ["ab", "ab", "c"]
    tokens = "".join(f"#Text={word}\n1-1\t0-1\t{word}\tPER\n\n" for word in "ab")
    path = write(tmp_path / "a.tsv", f"#FORMAT=WebAnno TSV 3.3\n#T_SP=custom.NamedEntity|value\n\n\n{tokens}")
    assert texts_of(read_dataset(path)) == ["ab", "ab"]


def test_columns_cannot_hold_documents_whose_texts_are_apart(tmp_path):
    records = [
        {"tokens": [word], "tags": ["O"], "document": name} for word, name in zip("aba", "xyx", strict=True)
    ]
    path = write(tmp_path / "a.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    with pytest.raises(DataError, match=r"\.jsonl"):
        convert("json", path, tmp_path / "out.conll", ConvertOptions(documents=True))
    convert("json", path, tmp_path / "out.jsonl", ConvertOptions(documents=True))
    assert texts_of(read_dataset(tmp_path / "out.jsonl")) == ["aa", "b", "aa"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.txt"])
def test_blank_lines_are_borders_of_columns_only(name, tmp_path):
    path = write(tmp_path / name, json.dumps({"tokens": ["a"], "tags": ["O"]}) + "\n")
    if name == "a.jsonl":
        with pytest.raises(ConfigError, match="blank_lines"):
            read_dataset(path, ReadOptions(documents="blank_lines"))
    with pytest.raises(ConfigError, match="blank_lines"):
        read_documents(str(path), io.BytesIO(), documents="blank_lines")
