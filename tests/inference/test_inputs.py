"""What `predict` is given becomes examples; what cannot be read is named with file and line."""

import io
import os
import threading

import pytest
from hypothesis import given, settings, strategies as st

from lookboth.data.conll import stream_words
from lookboth.data.problems import StrictLog
from lookboth.data.readers import read_dataset, read_text
from lookboth.errors import ConfigError, DataError
from lookboth.inference.inputs import read_inputs

NOTHING = io.BytesIO()


def words_of(source, stdin=NOTHING):
    return [example.words for example in read_inputs(str(source), stdin)]


def test_a_text_is_itself():
    (example,) = read_inputs("Ann  saw\nRome.", NOTHING)
    assert example.text == "Ann  saw\nRome."
    assert example.words == ("Ann", "saw", "Rome", ".")


def test_a_text_longer_than_any_path_is_a_text():
    assert len(words_of("word " * 5000)[0]) == 5000


def test_a_file_has_a_text_a_line_blank_lines_included(tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes("\ufeffAnn\r\n\r\nRome".encode())
    assert words_of(file) == [("Ann",), (), ("Rome",)]


TABLES = {
    "comma.csv": 'id,Text\n1,Ann saw\n2,"Rome, here\nand there"\n3,\n',
    "semicolon.csv": 'id;Text\r\n1;Ann saw\r\n2;"Rome, here\r\nand there"\r\n3;\r\n',
    "tab.CSV": 'id\tText\n1\tAnn saw\n\n2\t"Rome, here\nand there"\n3\t\n',
    "one.csv": 'text\nAnn saw\n"Rome, here\nand there"\n""\n',
    "a.tsv": "Text\tid\nAnn saw\t1\nRome, here and there\t2\n\t3\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_gives_its_column_of_texts_by_any_separator(tmp_path, name):
    file = tmp_path / name
    file.write_text(TABLES[name], encoding="utf-8", newline="")
    assert words_of(file) == [("Ann", "saw"), ("Rome", ",", "here", "and", "there"), ()]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv",
            "id;satz\n1;Ann saw\n2;Rome\n",
            r"2 columns separated by semicolons \('id, satz'\).*\(text\)",
        ),
        ("a.csv", "1\tAnn saw\n2\tRome\n", "2 columns separated by tabs"),
        ("a.tsv", "1\tAnn saw\n2\tRome\n", "2 columns separated by tabs"),
        ("a.csv", "word,tag\nAnn,B-PER\nsaw,O\n", "words and tags.*suffix .conll"),
        ("a.tsv", "text\ttag\nAnn\tB-PER\nsaw\tO\n", "words and tags.*suffix .conll"),
        ("a.csv", "id,text\n1,Ann\n2\n", "a.csv:3: 1 columns; the header has 2"),
        ("a.csv", 'id,text\n1,"Ann\n', "a.csv:2: not CSV from here on"),
    ],
)
def test_a_table_without_texts_names_its_separator(tmp_path, name, content, message):
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        words_of(file)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_a_file_that_is_not_a_table_has_a_text_per_line(tmp_path, name):
    file = tmp_path / name
    file.write_text('Ann, "it said\n\nsaw Rome\n', encoding="utf-8")
    assert words_of(file) == [("Ann", ",", '"', "it", "said"), (), ("saw", "Rome")]
    file.write_text("", encoding="utf-8")
    assert words_of(file) == []


def test_columns_give_words_and_sentences(tmp_path):
    file = tmp_path / "a.conll"
    file.write_text("-DOCSTART- O\n\nAnn\tB-PER\nsaw\tO\n\n\nRome LOC\n")
    assert words_of(file) == [("Ann", "saw"), ("Rome",)]


def test_json_lines_give_text_or_tokens(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "Ann saw"}\n{"tokens": ["New York", "x"]}\n')
    assert words_of(file) == [("Ann", "saw"), ("New York", "x")]


@pytest.mark.parametrize("line", ["{", "[1]", "{}", '{"tokens": [1]}', "[" * 100_000])
def test_bad_json_names_its_line(tmp_path, line):
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "Ann"}\n' + line + "\n")
    with pytest.raises(DataError, match=r"a\.jsonl:2"):
        words_of(file)


def test_other_encodings_are_named(tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes("ok\nZürich\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.txt:2: byte 0xfc is not UTF-8.* --encoding cp1252"):
        words_of(file)
    file.write_bytes("S\u00e3o Tom\u00e9 \u00e9 longe\n".encode("cp1252"))
    with pytest.raises(DataError, match="type --encoding cp1252"):
        words_of(file)
    file.write_bytes("ok\nZ\u00fcrich\n".encode("latin-1"))
    read = list(read_inputs(str(file), NOTHING, "cp1252"))
    assert [example.text for example in read] == ["ok", "Zürich"]
    with pytest.raises(ConfigError, match="no such encoding"):
        list(read_inputs(str(file), NOTHING, "utf-9"))


@pytest.mark.parametrize("name", ["missing.jsonl", "artcles.json", "x.bioes", "NEWS.TXT", "folder/a.Conll"])
def test_a_missing_file_is_not_taken_for_a_text(name):
    with pytest.raises(DataError, match="no such file"):
        words_of(name)


def test_a_folder_is_not_taken_for_a_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "articles").mkdir()
    for name in ("articles", "articles/", tmp_path):
        with pytest.raises(DataError, match=r"is a folder.*lookboth bulk"):
            words_of(name)
    assert words_of("") == [()]


def test_what_is_no_regular_file_is_read_all_the_same(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("Ann\nRome\n",), daemon=True)
    writer.start()
    assert words_of(pipe) == [("Ann",), ("Rome",)]
    writer.join(10)
    with (tmp_path / "a").open("w+") as file:
        file.write("Bob\n")
        file.flush()
        file.seek(0)
        assert words_of(f"/dev/fd/{file.fileno()}") == [("Bob",)]


def test_standard_input_is_read_as_it_comes():
    stdin = io.BytesIO(b"Ann\nRome\n")
    examples = read_inputs("-", stdin)
    assert next(examples).words == ("Ann",)


@pytest.mark.parametrize("suffix", [".conll", ".iob", ".iob2", ".bio", ".bioes", ".conllu", ".IOB2"])
@pytest.mark.parametrize(
    "content",
    [
        "# sent_id = 1\n# text = Ann saw\nAnn\tB-PER\nsaw\tO\n\t\n# sent_id = 2\nRome\tB-LOC\n",
        "# newdoc\nAnn B-PER\nsaw O\n  \nRome B-LOC\n",
        "Ann\nsaw\n\nRome",
        "Ann\tB-PER\nsaw\n\nRome\tB-LOC\n",
        "Ann B-PER\rsaw O\r\rRome B-LOC\r",
        "\ufeffAnn B-PER\r\nsaw O\r\n\r\nRome B-LOC\r\n",
        "# text = a\n1\tAnn\tO\t-\n2-3\tx\tO\t-\n2\tsaw\tO\t-\n2.1\ty\tO\t-\n\n1\tRome\tO\t-\n",
    ],
)
def test_columns_are_read_as_everywhere(tmp_path, suffix, content):
    file = tmp_path / f"a{suffix}"
    file.write_bytes(content.encode())
    assert words_of(file) == [("Ann", "saw"), ("Rome",)]


def test_a_hash_that_is_a_word_stays_one(tmp_path):
    file = tmp_path / "a.conll"
    for content in ("# O\n1 B-X\n", "#\tO\n1\tB-X\n", "#\n1\n"):
        file.write_text(content)
        assert words_of(file) == [("#", "1")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("Ann\tO\nNew York B-LOC\n", "a.conll:2: 3 columns; the lines of this file usually have 2"),
        ("Ann\nsaw\nNew York\n", "a.conll:3: 2 columns; the lines of this file usually have 1"),
        ("Ann\tO\n\tO\n", "a.conll:2: the word column is empty"),
        ("1\tAnn\tO\n2\tsaw\tO\n3\n", "a.conll:3: 1 column; "),
    ],
)
def test_columns_that_name_no_word_are_an_error(tmp_path, content, said):
    file = tmp_path / "a.conll"
    file.write_text(content)
    with pytest.raises(DataError) as caught:
        words_of(file)
    assert said in str(caught.value)


LINES = [
    "",
    "\t",
    " ",
    "#",
    "# O",
    "# a = b",
    "#a",
    "#\tO",
    "Ann\tB-X",
    "it O",
    "a\tNN\tO",
    "-DOCSTART- O",
    "1\tO",
]


@settings(max_examples=300, deadline=None)
@given(lines=st.lists(st.sampled_from(LINES), max_size=12), end=st.sampled_from(["\n", "\r\n", "\r"]))
def test_words_are_those_of_labeled_data(lines, end, tmp_path_factory):
    file = tmp_path_factory.mktemp("same") / "a.conll"
    file.write_bytes(end.join(lines).encode())
    dataset = read_dataset(file)
    if not any(problem.fatal for problem in dataset.problems):
        assert words_of(file) == [example.words for example in dataset.examples]


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json", "A.JSON"])
def test_json_lines_by_any_name_with_blank_lines(tmp_path, name):
    file = tmp_path / name
    file.write_text('{"text": "Ann saw"}\n\n{"tokens": ["Rome"]}\n \n\n')
    examples = list(read_inputs(str(file), NOTHING))
    assert [example.words for example in examples] == [("Ann", "saw"), ("Rome",)]
    assert examples[1].source == f"{file}:3"


def test_one_json_list_is_no_json_lines(tmp_path):
    file = tmp_path / "a.json"
    file.write_text('[{"text": "Ann"},\n{"text": "Rome"}]\n')
    with pytest.raises(DataError, match=r"a\.json:1: the file is one JSON list; write"):
        words_of(file)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "Ann\r\nZoé\n"),
        ("a.conll", "Ann\tO\n\nZoé\tO\n"),
        ("a.jsonl", '{"text": "Ann"}\n{"text": "Zoé"}\n'),
    ],
)
def test_utf16_is_read_by_its_mark_and_else_named(tmp_path, name, content):
    file = tmp_path / name
    file.write_bytes(content.encode("utf-16"))
    assert words_of(file) == [("Ann",), ("Zoé",)]
    assert words_of("-", io.BytesIO("Ann\nZoé\n".encode("utf-16"))) == [("Ann",), ("Zoé",)]
    file.write_bytes(content.encode("utf-16-le"))
    with pytest.raises(DataError, match=r"looks like UTF-16-LE .* --encoding utf-16-le"):
        words_of(file)


@given(
    content=st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\xef\xbb\xbf", "\u2028".encode()]), max_size=8)
)
def test_a_text_a_line_is_what_read_text_gives(content, tmp_path_factory):
    file = tmp_path_factory.mktemp("text") / "a.txt"
    file.write_bytes(b"".join(content))
    assert list(read_inputs(str(file), NOTHING)) == read_text(file).examples


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("Ann")
    examples = read_inputs(str(file), NOTHING)
    file.unlink()
    with pytest.raises(DataError, match=r"a\.txt: cannot be read"):
        next(examples)


def test_a_large_file_of_columns_is_read_as_it_is_needed():
    taken = 0

    def lines():
        nonlocal taken
        for number in range(1_000_000):
            taken += 1
            yield f"word{number}\tO" if number % 10 else ""

    sentences = stream_words(lines(), StrictLog("a"))
    for _ in range(2000):
        next(sentences)
    assert taken < 30_000
