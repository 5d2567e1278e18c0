"""What `predict` is given becomes examples; what cannot be read is named with file and line."""

import io
import os
import threading

import pytest

from lookboth.errors import DataError
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
    with pytest.raises(DataError, match=r"a\.txt:2: not UTF-8"):
        words_of(file)


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
