import csv
import io
import json

import pytest
from hypothesis import given, strategies as st

from lookboth.data.checks import check_data
from lookboth.data.classification import parse_labels, read_classification
from lookboth.data.problems import require_clean
from lookboth.data.readers import ReadOptions, read_dataset, read_split
from lookboth.data.sources import map_labels, read_source
from lookboth.data.split_finding import BUILTIN, find_splits
from lookboth.errors import DataError
from lookboth.types import Dataset

SIZES = {"banking77_cls": (9000, 1003, 3080, 77), "sentence_polarity_cls": (8529, 1066, 1067, 2)}


def pairs(dataset: Dataset):
    return [(e.text, e.text_labels) for e in dataset.examples]


def read(tmp_path, name, content, **options):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8", newline="")
    return read_classification(path, **options)


def kinds(dataset):
    return [(p.where.rsplit(":", 1)[1], p.kind, p.fatal) for p in dataset.problems]


@pytest.mark.parametrize("name", [name for name, task in BUILTIN.items() if task == "classification"])
def test_built_in_texts_have_the_published_counts(name):
    splits = [
        read_source(name, split, ReadOptions(task="classification")) for split in ("train", "dev", "test")
    ]
    assert (*(len(d.examples) for d in splits), len(splits[0].labels())) == SIZES[name]
    assert all(d.problems == () and d.scheme == "text" for d in splits)
    assert find_splits(name, "classification") == ("train", "dev", "test")


def test_words_and_offsets_come_from_the_text(tmp_path):
    (example,) = read(tmp_path, "a.tsv", 'good\tIt\'s "fine" , really\n').examples
    assert example.text == 'It\'s "fine" , really'
    assert [example.text[a:b] for a, b in example.offsets] == list(example.words)
    assert (example.text_labels, example.spans, example.source) == (("good",), (), f"{tmp_path}/a.tsv:1")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", "joy|fear\tso it is\nanger\tno\n"),
        ("a.txt", "joy|fear\tso it is\r\n\r\nanger\tno\r\n"),
        ("a.tsv", "sentence\tlabel\nso it is\tjoy|fear\nno\tanger\n"),
        ("a.csv", "Text,Labels,id\nso it is,joy|fear,1\nno,anger,2\n"),
        ("a.csv", '"label";"text"\n"joy|fear";"so it is"\nanger;no\n'),
        ("a.csv", "label\ttext\njoy|fear\tso it is\nanger\tno\n"),
        ("a.csv", '"label","text"\n"joy|fear","so it is"\nanger,no\n'),
        ("a.jsonl", '{"text":"so it is","labels":["joy","fear"]}\n{"text":"no","labels":["anger"],"id":3}\n'),
    ],
)
def test_every_form_gives_the_same(tmp_path, name, content):
    dataset = read(tmp_path, name, content)
    assert pairs(dataset) == [("so it is", ("joy", "fear")), ("no", ("anger",))]
    assert dataset.problems == ()
    assert dataset.labels() == ("anger", "fear", "joy")


@given(st.lists(st.tuples(st.text("ab \",'\n|;", min_size=1), st.sampled_from(["x", "y z"])), min_size=1))
def test_a_written_csv_is_read_back(tmp_path_factory, rows):
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([("text", "label"), *rows])
    dataset = read(tmp_path_factory.mktemp("csv"), "a.csv", out.getvalue())
    assert pairs(dataset) == [(text, (label,)) for text, label in rows if text.split()]
    assert all(p.kind == "empty-text" for p in dataset.problems)


def test_what_is_wrong_is_named_by_line(tmp_path):
    content = "good\tfine\nbad\n\nbad\t \nbad\ta\tb\n\tnothing\n"
    dataset = read(tmp_path, "a.tsv", content)
    found = [
        ("2", "columns", True),
        ("4", "empty-text", False),
        ("5", "columns", True),
        ("6", "no-label", True),
    ]
    assert kinds(dataset) == found
    with pytest.raises(
        DataError, match=r"a\.tsv:2: 1 columns; a line must have 2, including a label and a text"
    ):
        require_clean(dataset)
    repaired = read(tmp_path, "a.tsv", content, repair=True)
    require_clean(repaired)
    assert pairs(repaired) == [("fine", ("good",))]


def test_json_that_is_no_labeled_text(tmp_path):
    lines = [{"text": "a"}, {"text": 3, "label": "x"}, {"text": "a", "label": 1.5}, {"text": "a", "label": 2}]
    dataset = read(tmp_path, "a.jsonl", "\n".join(map(json.dumps, [*lines, [1]])))
    assert kinds(dataset) == [
        ("1", "json", True),
        ("2", "json", True),
        ("3", "label", True),
        ("5", "json", True),
    ]
    assert pairs(dataset) == [("a", ("2",))]
    assert '"label": "..."' in dataset.problems[0].message


def test_a_text_may_have_no_label_only_where_texts_may_have_several(tmp_path):
    assert kinds(read(tmp_path, "a.tsv", "a|b\tx\n\ty\n")) == []
    assert kinds(read(tmp_path, "b.jsonl", '{"text":"x","labels":[]}\n')) == []
    assert kinds(read(tmp_path, "c.csv", "text,label\nx,\ny,a\n")) == [("2", "no-label", True)]


def test_a_csv_field_may_be_of_any_length_and_other_readers_keep_their_limit(tmp_path):
    before = csv.field_size_limit()
    long = "so " * (before // 2) + "it is"
    dataset = read(tmp_path, "a.csv", f'text,label\nx,a\n"{long}",b\n"never closed,b\n')
    assert pairs(dataset) == [("x", ("a",)), (long, ("b",))]
    assert kinds(dataset) == [("4", "csv", True)]
    assert csv.field_size_limit() == before


def test_csv_needs_a_header_and_closed_quotes(tmp_path):
    dataset = read(tmp_path, "a.csv", "good,fine\n")
    assert "the header has 'good, fine'; it needs text or sentence" in dataset.problems[0].message
    assert kinds(read(tmp_path, "b.csv", 'text,label\na,b\n"c,d\n')) == [("3", "csv", True)]
    named = read(tmp_path, "c.csv", "review,stars\nfine,5\n", text_field="review", label_field="stars")
    assert pairs(named) == [("fine", ("5",))]


@pytest.mark.parametrize(
    ("value", "said"),
    [(True, "not a name"), (None, "not a name"), ([[1]], "list of lists"), ("", "not a name")],
)
def test_labels_that_are_none(value, said):
    assert said in parse_labels(value)


def test_numbers_and_their_names():
    assert parse_labels(-1, ["a"]).startswith("the label -1 means that the label is hidden")
    assert "has no name" in parse_labels(1, ["a"])
    assert parse_labels([1, 0, 1]) == ("1", "0")


def test_each_task_refuses_the_data_of_another():
    with pytest.raises(
        DataError, match="banking77_cls: built-in data for classifying texts, requested as data"
    ):
        read_source("banking77_cls")
    with pytest.raises(DataError, match="choose one of banking77_cls, sentence_polarity_cls"):
        read_source("wnut17", options=ReadOptions(task="classification"))
    with pytest.raises(DataError, match="adaptation to raw text"):
        read_split("wikitext2_text", "train")


def test_a_folder_of_csv_files_is_one_of_texts(tmp_path):
    for split in ("train", "dev"):
        (tmp_path / f"{split}.csv").write_text("text,label\na,x\nb,y\n")
    (tmp_path / "train.conll").write_text("EU\tB-ORG\n")
    assert find_splits(tmp_path, "classification") == ("train", "dev")
    assert find_splits(tmp_path) == ("train",)
    report = check_data([tmp_path], ReadOptions(task="classification"))
    assert report.ok
    assert "2 texts, 2 words, 2 labels: x 1, y 1" in report.describe()
    assert [p.kind for p in report.problems] == ["duplicate-across-splits"] * 2


def test_texts_labeled_in_two_ways_are_found(tmp_path):
    (tmp_path / "train.tsv").write_text("x\tsame\ny\tsame\n")
    report = check_data([tmp_path], ReadOptions(task="classification"))
    assert [p.kind for p in report.problems] == ["duplicate", "label-conflict"]


def test_labels_of_texts_are_renamed_and_dropped(tmp_path):
    dataset = read(tmp_path, "a.tsv", "1 star\tbad\n2 stars\tbad too\n3 stars\tso\n")
    mapped = map_labels(dataset.examples, {"1 star": "neg", "2 stars": "neg", "*": ""})
    assert [(e.text, e.text_labels) for e in mapped] == [("bad", ("neg",)), ("bad too", ("neg",))]


# The columns of the hub data sets as their cards show them, with invented rows.
HUB = {
    "stanfordnlp/sst2": ({"idx": [0, 1], "sentence": ["a", "b"], "label": [1, 0]}, ["negative", "positive"]),
    "SetFit/sst5": ({"text": ["a", "b"], "label": [1, 0], "label_text": ["positive", "negative"]}, None),
    "fancyzhx/ag_news": ({"text": ["a", "b"], "label": [1, 0]}, ["negative", "positive"]),
    "go_emotions": ({"text": ["a", "b"], "labels": [[1], [0]], "id": ["x", "y"]}, ["negative", "positive"]),
}


@pytest.mark.parametrize("name", HUB)
def test_hub_data_sets_with_names_behind_numbers(name, tmp_path):
    datasets = pytest.importorskip("datasets")
    columns, names = HUB[name]
    data = datasets.Dataset.from_dict(columns)
    if names:
        label = datasets.ClassLabel(names=names)
        field = "labels" if "labels" in columns else "label"
        data = data.cast_column(field, [label] if field == "labels" else label)
    datasets.DatasetDict({"train": data, "validation": data}).save_to_disk(tmp_path / "d")
    dataset = read_source(str(tmp_path / "d"), "dev", ReadOptions(task="classification"))
    assert pairs(dataset) == [("a", ("positive",)), ("b", ("negative",))]


def test_hub_rows_without_names_hidden_labels_and_odd_columns(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({"text": ["a", None], "label": [2, 0]}).save_to_disk(tmp_path / "twitter")
    dataset = read_split(tmp_path / "twitter", "train", ReadOptions(task="classification"))
    assert pairs(dataset) == [("a", ("2",))]
    assert kinds(dataset) == [("2", "row", True)]
    hidden = datasets.Dataset.from_dict({"q": ["a"], "label": [-1]})
    hidden.cast_column("label", datasets.ClassLabel(names=["x"])).save_to_disk(tmp_path / "test")
    with pytest.raises(DataError, match=r"needs columns text or sentence .* there are q, label"):
        read_split(tmp_path / "test", "test", ReadOptions(task="classification"))
    options = ReadOptions(task="classification", text_field="q")
    assert "the label is hidden" in read_split(tmp_path / "test", "test", options).problems[0].message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", "text\tlabel\nso\t1\nno\t0|1\nwhat\t2\n"),
        ("a.csv", "text,label\nso,1\nno,0|1\nwhat,2\n"),
        (
            "a.jsonl",
            '{"text": "so", "label": 1}\n{"text": "no", "labels": [0, 1]}\n{"text": "what", "label": 2}\n',
        ),
    ],
)
def test_numbers_of_classes_are_named_by_an_option_in_every_format(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    found = read_dataset(tmp_path / name, ReadOptions(task="classification", class_names=("neg", "pos")))
    assert [example.text_labels for example in found.examples] == [("pos",), ("neg", "pos")]
    assert "the label 2 has no name; there are 2" in found.problems[0].message
    plain = read_dataset(tmp_path / name, ReadOptions(task="classification"))
    assert plain.labels() == ("0", "1", "2")


def test_rejected_texts_and_two_keys_of_labels_are_named(tmp_path):
    path = tmp_path / "a.jsonl"
    records = [
        {"text": "fine", "label": "good", "answer": "accept"},
        {"text": "not so", "label": "good", "answer": "reject"},
        {"text": "which", "label": 3, "labels": ["bad"]},
        {"text": "same", "label": "bad", "labels": ["bad"]},
    ]
    path.write_text(json.dumps(records))
    dataset = read_classification(path)
    assert [(e.text, e.text_labels) for e in dataset.examples] == [("fine", ("good",)), ("same", ("bad",))]
    assert [(p.kind, p.fatal) for p in dataset.problems] == [("answer", False), ("fields", True)]
    assert len(read_classification(path, label_field="labels").examples) == 2
