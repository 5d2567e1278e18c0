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
