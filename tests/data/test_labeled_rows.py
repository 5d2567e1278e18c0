"""Rows of Parquet files and of the datasets library: words with tags, texts with spans, and numbers of classes."""

import gzip
import json

import pytest

from lookboth.data.checks import check_data
from lookboth.data.readers import ReadOptions, read_dataset, read_split
from lookboth.errors import DataError

datasets = pytest.importorskip("datasets")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

TAGS = ["O", "B-PER", "I-PER"]
WORDS = {"id": [1, 2], "tokens": [["Ann", "Lee", "ran"], ["no"]], "ner_tags": [[1, 2, 0], [0]]}
SPAN = {
    "start": datasets.Value("int32"),
    "end": datasets.Value("int32"),
    "label": datasets.ClassLabel(names=["LOC"]),
}


def spans_of(dataset):
    return [[(" ".join(e.words[s.start : s.end]), s.label) for s in e.spans] for e in dataset.examples]


def write_parquet(path, rows, **metadata):
    table = pa.table(rows).replace_schema_metadata(metadata or None)
    pq.write_table(table, path)
    return path


def tagged(names=TAGS):
    features = {
        "tokens": datasets.List(datasets.Value("string")),
        "ner_tags": datasets.List(datasets.ClassLabel(names=names)),
    }
    return datasets.Dataset.from_dict({k: WORDS[k] for k in features}, features=datasets.Features(features))


def test_parquet_files_of_datasets_name_their_classes(tmp_path):
    tagged().to_parquet(tmp_path / "train.parquet")
    assert spans_of(read_dataset(tmp_path / "train.parquet")) == [[("Ann Lee", "PER")], []]
    assert check_data([tmp_path]).ok
    packed = tmp_path / "a.parquet.gz"
    packed.write_bytes(gzip.compress((tmp_path / "train.parquet").read_bytes()))
    assert spans_of(read_dataset(packed)) == [[("Ann Lee", "PER")], []]


CARD = """---
license: mit
dataset_info:
- config_name: {config}
  features:
  - name: id
    dtype: int64
  - name: tokens
    {sequence}: string
  - name: ner_tags
    {sequence}:
      class_label:
        names:
          '0': O
          '1': B-PER
          '2': I-PER
- config_name: other
  features:
  - name: id
    dtype: int64
  - name: tokens
    sequence: string
  - name: ner_tags
    sequence:
      class_label:
        names:
          '0': No
---
# Data
"""


@pytest.mark.parametrize(("folder", "sequence"), [("names", "sequence"), ("names/data", "list")])
def test_the_readme_of_a_repository_names_the_classes_of_its_files(tmp_path, folder, sequence):
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "README.md").write_text(CARD.format(config="names", sequence=sequence).replace("\n", "\r\n"))
    write_parquet(tmp_path / folder / "train-00000-of-00001.parquet", WORDS)
    assert spans_of(read_split(tmp_path / "names", "train")) == [[("Ann Lee", "PER")], []]
    # Two configurations have these columns, and no folder names one: the numbers stay without names.
    (tmp_path / "README.md").write_text(CARD.format(config="default", sequence=sequence))
    assert "--class-names" in read_split(tmp_path / "names", "train").problems[0].message
    for broken in ("---\n- [\n---\n", "---\ndataset_info: 1\n---\n", "# none"):
        (tmp_path / "README.md").write_text(broken)
        assert "--class-names" in read_split(tmp_path / "names", "train").problems[0].message
    with pytest.raises(DataError, match=r"There is one in a folder of it; type .*/names\."):
        read_split(tmp_path, "train")


def test_the_readme_names_the_classes_of_spans_and_of_whole_texts(tmp_path):
    classes = "dtype:\n{0}class_label:\n{0}  names:\n{0}    '0': No\n{0}    '1': LOC\n"
    card = "---\ndataset_info:\n  features:\n  - name: text\n    dtype: string\n"
    spans = card + "  - name: spans\n    list:\n    - name: start\n      dtype: int64\n    - name: end\n"
    spans += "      dtype: int64\n    - name: label\n      " + classes.format(" " * 8) + "---\n"
    (tmp_path / "README.md").write_text(spans)
    path = write_parquet(
        tmp_path / "a.parquet", {"text": ["in Rome"], "spans": [[{"start": 3, "end": 7, "label": 1}]]}
    )
    assert spans_of(read_dataset(path)) == [[("Rome", "LOC")]]
    (tmp_path / "README.md").write_text(card + "  - name: label\n    " + classes.format(" " * 6) + "---\n")
    path = write_parquet(tmp_path / "b.parquet", {"text": ["so", "not"], "label": [1, 0]})
    found = read_dataset(path, ReadOptions(task="classification")).examples
    assert [example.text_labels for example in found] == [("LOC",), ("No",)]


def test_rows_of_another_split_in_one_file_are_not_read(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", WORDS | {"partition": ["train", "test"]})
    options = ReadOptions(class_names=tuple(TAGS))
    assert [e.words for e in read_split(path, "test", options).examples] == [("no",)]
    texts = {"text": ["so", "no"], "label": ["x", "y"], "split": ["train", "valid"]}
    path = write_parquet(tmp_path / "b.parquet", texts)
    assert [e.text for e in read_split(path, "dev", ReadOptions(task="classification")).examples] == ["no"]


def test_numbers_without_names_are_named_by_an_option(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", WORDS)
    line = tmp_path / "a.jsonl"
    line.write_text(json.dumps({"tokens": ["Ann"], "tags": [1]}))
    for file in (path, line):
        assert (
            "name the classes of the numbers from 0: --class-names" in read_dataset(file).problems[0].message
        )
    assert spans_of(read_dataset(path, ReadOptions(class_names=tuple(TAGS)))) == [[("Ann Lee", "PER")], []]
    assert spans_of(read_dataset(line, ReadOptions(class_names=tuple(TAGS)))) == [[("Ann", "PER")]]
    few = read_dataset(path, ReadOptions(class_names=("O", "B-PER")))
    assert "item 2 of 'ner_tags' is 2" in few.problems[0].message


@pytest.mark.parametrize("as_lists", [False, True])
def test_columns_of_character_spans(as_lists, tmp_path):
    rows = {"text": ["Ann in Oslo", "no"], "entities": [[{"start": 7, "end": 11, "label": 0}], []]}
    features = datasets.Features(text=datasets.Value("string"), entities=datasets.List(SPAN))
    if as_lists:
        rows["entities"] = [{"start": [7], "end": [11], "label": [0]}, {"start": [], "end": [], "label": []}]
        features["entities"] = {key: datasets.List(value) for key, value in SPAN.items()}
    data = datasets.Dataset.from_dict(rows, features=features)
    data.to_parquet(tmp_path / "train.parquet")
    datasets.DatasetDict(train=data).save_to_disk(tmp_path / "saved")
    for read in (read_dataset(tmp_path / "train.parquet"), read_split(tmp_path / "saved", "train")):
        assert spans_of(read) == [[("Oslo", "LOC")], []], read.problems


def test_own_tokens_of_a_text_are_its_words(tmp_path):
    rows = {
        "text": ["anti-IL10 ok"],
        "tokens": [["anti-", "IL10", "ok"]],
        "spans": [[{"start": 5, "end": 9, "label": "G"}]],
    }
    assert spans_of(read_dataset(write_parquet(tmp_path / "a.parquet", rows))) == [[("IL10", "G")]]


def test_words_and_tags_as_strings(tmp_path):
    rows = {"text": ["fly to oslo", "hi there"], "slots": ["O O B-city", "O"]}
    path = write_parquet(tmp_path / "a.parquet", rows)
    dataset = read_dataset(path, ReadOptions(text_field="text", label_field="slots"))
    assert spans_of(dataset) == [[("oslo", "city")]]
    assert "2 text but 1 slots" in dataset.problems[0].message


def test_shards_and_a_data_folder_are_one_split(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "README.md").write_text("# a repository of the hub")
    for number in range(2):
        tagged().to_parquet(tmp_path / "data" / f"train-0000{number}-of-00002.parquet")
    tagged().to_parquet(tmp_path / "data" / "validation-00000-of-00001.parquet")
    assert [(split.split, split.num_sentences) for split in check_data([tmp_path]).splits] == [
        ("train", 4),
        ("dev", 2),
    ]
    (tmp_path / "data" / "train-00001-of-00002.parquet").unlink()
    assert len(read_split(tmp_path, "train").examples) == 2


def test_a_missing_or_different_shard_is_refused(tmp_path):
    for number in (0, 1):
        tagged().to_parquet(tmp_path / f"train-0000{number}-of-00003.parquet")
    with pytest.raises(DataError, match="2 of 3 files of 'train'"):
        read_split(tmp_path, "train")
    write_parquet(tmp_path / "train-00002-of-00003.parquet", {"words": [["a"]]})
    with pytest.raises(DataError, match="other columns"):
        read_split(tmp_path, "train")


def test_parquet_of_whole_texts_and_damaged_files(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", {"text": ["fine"], "label": ["good"]})
    assert read_dataset(path, ReadOptions(task="classification")).labels() == ("good",)
    with pytest.raises(DataError, match="no column tokens or words"):
        read_dataset(path)
    path.write_bytes(b"PAR1junk")
    with pytest.raises(DataError, match="not a Parquet file"):
        read_dataset(path)
