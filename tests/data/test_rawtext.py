import pytest

from lookboth.data.rawtext import MIN_PIECE, read_raw_text, read_unlabeled, undo_wikitext
from lookboth.data.readers import ReadOptions, read_split
from lookboth.data.sources import read_source, take_part
from lookboth.data.split_finding import BUILTIN
from lookboth.errors import DataError


@pytest.mark.parametrize("name", ["wnut17", "ud_en_atis_pos", "sentence_polarity_cls"])
def test_labeled_data_give_their_words(name):
    task = "labeling" if BUILTIN[name] == "labeling" else "classification"
    examples = read_source(f"{name}:dev", options=ReadOptions(task=task)).examples
    texts = read_raw_text(f"{name}:dev")
    assert [tuple(text.split(" ")) for text in texts] == [example.words for example in examples]


def test_wikitext_comes_without_its_marks():
    for split in ("train", "dev"):
        texts = read_raw_text("wikitext2_text", split)
        assert sum(len(text.split()) for text in texts) > 150_000
        assert not any(mark in text for text in texts for mark in ("<unk>", "@-@", "@,@", "@.@", " = = "))
        assert all(len(text.split()) > 0 and text == text.strip() for text in texts)
    with pytest.raises(DataError, match="no file for the split 'test'"):
        read_raw_text("wikitext2_text:test")


def test_a_text_is_cut_at_a_lost_word_and_short_pieces_go():
    words = " ".join("abcdefghij"[:MIN_PIECE])
    (long, short) = (f"{words} <unk> {words} x", f"a b <unk> {words[:-2]}")
    assert list(undo_wikitext([long, short, "a few words"])) == [words, f"{words} x", "a few words"]


def test_lines_of_a_file_are_texts(tmp_path):
    (tmp_path / "train.txt").write_text(
        "One text. <unk>\n\n  Another = one = \r\n= title =\n", encoding="utf-8"
    )
    expected = ["One text. <unk>", "Another = one =", "= title ="]
    assert read_raw_text(str(tmp_path / "train.txt")) == expected
    assert read_raw_text(str(tmp_path)) == expected
    assert read_raw_text(f"{tmp_path}:train[1:]") == expected[1:]
    (tmp_path / "dev.conll").write_text("EU\tB-ORG\nsaid\tO\n")
    assert read_raw_text(f"{tmp_path}:dev") == ["EU said"]
    with pytest.raises(DataError, match="by its name the train split"):
        read_raw_text(str(tmp_path / "train.txt"), "dev")


def test_columns_in_a_text_file_are_no_raw_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("EU B-ORG\nsaid O\n\n")
    with pytest.raises(
        DataError, match=r"holds words and tags \('EU B-ORG'\), not raw text; to read its words, rename it"
    ):
        read_raw_text(str(path))
    path.write_bytes(b"caf\xe9\n")
    with pytest.raises(DataError, match=r"not UTF-8.*'café' in cp1252.*; type --encoding cp1252"):
        read_raw_text(str(path), options=ReadOptions(repair=True))
    assert read_raw_text(str(path), options=ReadOptions(encoding="cp1252")) == ["café"]


def test_texts_of_other_forms(tmp_path):
    (tmp_path / "a.csv").write_text("label,text\nx,It's so\n")
    assert read_raw_text(str(tmp_path / "a.csv")) == ["It's so"]
    (tmp_path / "a.tsv").write_text("x\tIt is\n")
    assert read_raw_text(str(tmp_path / "a.tsv"), kind="classification") == ["It is"]


RAW_FILES = {
    "a.csv": ('text\n"Ada met, twice"\nso\n', ["Ada met , twice", "so"]),
    "b.csv": ("id,Text\n1,Ada met\n2, \n3,so\n", ["Ada met", "so"]),
    "semicolon.csv": ("id;Text\n1;Ada met, twice\n2;so\n", ["Ada met , twice", "so"]),
    "c.csv": ("text,label\nAda met,\nso,x\n", ["Ada met", "so"]),
    "words.csv": ("word,tag\nAda,B-PER\nmet,O\n", ["Ada met"]),
    "a.tsv": ("id\ttext\n1\tAda met\n2\tso\n", ["Ada met", "so"]),
    "b.tsv": ("x\tAda met\ny\tso\n", ["Ada met", "so"]),
    "words.tsv": ("Ada\tB-PER\nmet\tO\n\nso\tO\n", ["Ada met", "so"]),
    "a.conll": ("Ada\nmet\n\nso\n", ["Ada met", "so"]),
    "b.conll": ("# text = Ada met\nAda\nmet\n", ["Ada met"]),
    "a.conllu": ("1\tAda" + "\t_" * 8 + "\n2\tmet" + "\t_" * 8 + "\n", ["Ada met"]),
    "a.json": ('[{"text": "Ada met"}, {"text": "so"}]', ["Ada met", "so"]),
    "a.jsonl": ('{"tokens": ["Ada", "met"]}\n', ["Ada met"]),
    "b.jsonl": ('{"text": "Ada met", "tokens": [{"text": "Ada"}]}\n', ["Ada met"]),
}


@pytest.mark.parametrize("task", ["labeling", "classification"])
@pytest.mark.parametrize("name", RAW_FILES)
def test_files_without_labels(name, task, tmp_path):
    content, expected = RAW_FILES[name]
    (tmp_path / name).write_text(content, encoding="utf-8")
    if (name, task) == ("words.csv", "classification"):
        with pytest.raises(
            DataError, match=r"no column text .*; the first line has 'word, tag'.*data\.text_field"
        ):
            read_raw_text(str(tmp_path / name), options=ReadOptions(task=task))
    else:
        found = read_unlabeled(str(tmp_path / name), options=ReadOptions(task=task))
        assert [" ".join(example.words) for example in found] == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text\ncaf\xe9\n", "not UTF-8.*--encoding"),
        ("a.jsonl", '{"text": "Ada"}\nso\n', r"a\.jsonl:2: not JSON"),
        ("b.csv", "id,text\n1,Ada\n2\n", r"b\.csv:3: 1 columns; the header has 2"),
    ],
)
def test_what_is_wrong_with_a_file_without_labels_is_said(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=message) as error:
        read_raw_text(str(tmp_path / name))
    assert "1 problem" in str(error.value)


def test_parquet_without_labels(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    for name, columns in {
        "text": {"id": [1, 2], "text": ["Ada met", None]},
        "words": {"tokens": [["Ada", "met"]]},
        "tagged": {"tokens": [["Ada", "met"]], "tags": [["B-PER", "O"]]},
    }.items():
        write_table(pyarrow.table(columns), tmp_path / f"{name}.parquet")
        assert read_raw_text(str(tmp_path / f"{name}.parquet")) == ["Ada met"]


def test_of_records_of_several_splits_those_of_the_split_are_read(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "Ada", "split": "train"}\n{"text": "so", "split": "test"}\n')
    (tmp_path / "a.csv").write_text("text,split\nAda,train\nso,test\n")
    for name in ("a.jsonl", "a.csv"):
        assert read_raw_text(str(tmp_path / name)) == ["Ada"]
        assert read_raw_text(f"{tmp_path / name}:test") == ["so"]


def test_texts_are_split_by_the_named_splitter(tmp_path):
    (tmp_path / "a.txt").write_text("北京 ok\n", encoding="utf-8")
    (example,) = read_unlabeled(str(tmp_path / "a.txt"), options=ReadOptions(splitter="char"))
    assert example.words == ("北", "京", "o", "k")


def test_columns_of_hub_data_sets(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({"text": ["a b", "", "c"], "id": [1, 2, 3]}).save_to_disk(tmp_path / "text")
    assert read_raw_text(str(tmp_path / "text")) == ["a b", "c"]
    datasets.Dataset.from_dict({"tokens": [["a", "b"]]}).save_to_disk(tmp_path / "words")
    assert read_raw_text(str(tmp_path / "words")) == ["a b"]


def test_parts_of_a_split_are_disjoint_and_whole():
    whole = read_split("wnut17", "dev").examples
    first, rest = (read_source(f"wnut17:dev[{part}]").examples for part in (":90%", "90%:"))
    assert [*first, *rest] == list(whole)
    assert len(rest) == len(whole) - len(whole) * 90 // 100
    assert take_part(range(10), "dev[2:4]") == range(2, 4)
    with pytest.raises(DataError):
        read_source("wnut17:dev[a:]")
