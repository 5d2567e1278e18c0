import json

import pytest

from lookboth.data.conversion.converting import convert
from lookboth.data.problems import require_clean
from lookboth.data.rawtext import read_raw_text
from lookboth.data.readers import ReadOptions, read_dataset, read_split
from lookboth.data.schemes import encode_spans
from lookboth.data.sources import map_labels, read_source
from lookboth.data.split_finding import BUILTIN, BUILTIN_FOLDER, find_splits
from lookboth.errors import ConfigError, DataError
from lookboth.types import Dataset, Example, Problem, Span

LINES = "EU\tB-ORG\nsaid\tO\n"


def test_wnut17_ships_and_has_the_published_counts():
    sizes = {split: read_split("wnut17", split) for split in ("train", "dev", "test")}
    assert [len(d.examples) for d in sizes.values()] == [3394, 1009, 1287]
    assert [sum(len(e.spans) for e in d.examples) for d in sizes.values()] == [1975, 836, 1079]
    assert all(d.problems == () and d.scheme == "IOB2" for d in sizes.values())


@pytest.mark.parametrize("name", [name for name, task in BUILTIN.items() if task == "labeling"])
def test_every_built_in_data_set_of_labeled_words_is_clean(name):
    for split in find_splits(name):
        dataset = read_split(name, split)
        assert dataset.examples
        assert (dataset.scheme == "plain") is name.endswith("_pos")
        require_clean(dataset)


@pytest.mark.parametrize("name", BUILTIN)
def test_every_built_in_data_set_names_its_source(name):
    assert "Licence" in (BUILTIN_FOLDER / name / "README.md").read_text(encoding="utf-8")


def test_built_in_data_sets_say_what_they_are_for():
    assert {name: task for name, task in BUILTIN.items() if task != "labeling"} == {
        "banking77_cls": "classification",
        "sentence_polarity_cls": "classification",
        "wikitext2_text": "text",
    }


def test_reading_and_writing_wnut17_gives_the_file_back():
    dataset = read_split("wnut17", "dev")
    tags = [tag for e in dataset.examples for tag in encode_spans(e.spans, len(e.words), "IOB2")]
    with open(dataset.name, encoding="utf-8") as file:
        assert tags == [line.rstrip("\n").split("\t")[1] for line in file if line.strip()]


@pytest.mark.parametrize("name", ["dev.conll", "valid.txt", "validation.iob2", "x-ud-dev.bio", "DEV.tsv"])
def test_a_folder_gives_the_file_of_a_split(tmp_path, name):
    (tmp_path / name).write_text(LINES)
    (tmp_path / "train.conll").write_text(LINES)
    (tmp_path / "README.md").write_text("dev")
    assert read_split(tmp_path, "dev").name == str(tmp_path / name)
    assert find_splits(tmp_path) == ("train", "dev")


def test_a_folder_without_or_with_two_files_for_a_split(tmp_path):
    with pytest.raises(DataError, match="no file for the split 'train'"):
        find_splits(tmp_path)
    with pytest.raises(DataError, match="no file for the split 'test'"):
        read_split(tmp_path, "test")
    (tmp_path / "test.conll").write_text(LINES)
    (tmp_path / "test.jsonl").write_text("{}")
    with pytest.raises(DataError, match=r"several files .* test.conll, test.jsonl"):
        read_split(tmp_path, "test")


def test_a_train_file_is_not_read_as_dev(tmp_path):
    path = tmp_path / "train.conll"
    path.write_text(LINES)
    assert len(read_split(path, "train").examples) == 1
    with pytest.raises(DataError, match="by its name the train split, requested as dev"):
        read_split(path, "dev")
    other = tmp_path / "news.conll"
    other.write_text(LINES)
    assert len(read_split(other, "dev").examples) == 1


def test_options_reach_the_reader(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text("O|x\nI-A|y\n")
    options = ReadOptions(word_column=1, tag_column=0, separator="|", scheme="IOB1")
    assert read_dataset(path, options).examples[0].spans == (Span(1, 2, "A"),)


@pytest.mark.parametrize("source", ["nowhere.conll", "TRAIN.JSONL", "./nowhere", "a/b/c", "/nowhere"])
def test_a_path_that_is_not_there_is_never_sought_on_the_hub(source):
    with pytest.raises(DataError, match="no such file or folder"):
        read_split(source, "train")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("data.xyz", "the suffix '.xyz' is not a format"),
        ("data.arrow", "save_to_disk"),
        ("data.zip", "Unpack it first: unzip"),
        ("data.xlsx", "Save it as CSV"),
    ],
)
def test_a_suffix_that_is_not_read_is_refused_with_what_to_do(tmp_path, name, words):
    path = tmp_path / name
    path.write_text(LINES)
    with pytest.raises(DataError) as caught:
        read_dataset(path)
    assert words in str(caught.value)
    assert "Rename" not in str(caught.value)


def test_a_suffix_of_the_other_task_points_to_it(tmp_path):
    (tmp_path / "data.conll").write_text(LINES)
    options = ReadOptions(task="classification")
    with pytest.raises(DataError, match="--task labeling to check-data or train"):
        read_dataset(tmp_path / "data.conll", options)
    (tmp_path / "data.conll").rename(tmp_path / "train.conll")
    for read in (
        lambda: read_split(tmp_path, "train", options),
        lambda: find_splits(tmp_path, "classification"),
    ):
        with pytest.raises(DataError, match="--task labeling to check-data or train"):
            read()


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_of_words_and_tags_are_read(tmp_path, separator):
    path = tmp_path / "train.csv"
    rows = [["Anna", "B-PER"], ["Moss", "I-PER"], [f'"{separator}"', "O"], ['""""', "O"], []]
    path.write_text("\n".join(separator.join(row) for row in [*rows, *rows]))
    first, _ = read_dataset(path).examples
    assert (first.words, first.spans) == (("Anna", "Moss", separator, '"'), (Span(0, 2, "PER"),))


def test_a_table_without_words_and_tags_points_to_the_other_task(tmp_path):
    for content in ("id,text\n1,Bob\n", "text,label\nAnna ran,good\n", LINES.replace("B-ORG", "ORG")):
        (tmp_path / "train.csv").write_text(content)
        with pytest.raises(DataError, match="--task classification to check-data or train"):
            require_clean(read_split(tmp_path, "train"))


def test_columns_go_before_a_table_of_the_same_split(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\nAnna ran,good\n")
    (tmp_path / "train.conll").write_text(LINES)
    assert read_split(tmp_path, "train").name.endswith("train.conll")


def test_a_file_of_another_split_says_how_it_is_read_all_the_same(tmp_path):
    path = tmp_path / "dev.conll"
    path.write_text(LINES)
    with pytest.raises(DataError) as caught:
        read_source(str(path), "test")
    wanted = f"{path}:dev"
    assert str(caught.value).endswith(f"or type {wanted}")
    assert read_source(wanted, "test").examples


def test_records_of_another_split_in_one_file_are_not_read(tmp_path):
    lines = [
        {"utt": "go now", "annot_utt": "go [when : now]", "partition": "train"},
        {"utt": "stop", "annot_utt": "stop", "partition": "validation"},
        {"utt": "so", "annot_utt": "so"},
    ]
    path = tmp_path / "en.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    read = {split: read_source(f"{path}:{split}") for split in ("train", "dev")}
    assert {split: [" ".join(e.words) for e in found.examples] for split, found in read.items()} == {
        "train": ["go now", "so"],
        "dev": ["stop", "so"],
    }
    assert "several splits, dev 1, train 1; those of dev are read" in read["dev"].problems[0].message
    with pytest.raises(DataError, match="no record is of the split 'test'; there are dev 1, train 1"):
        read_source(str(path), "test")
    # A conversion takes all of them, and says so.
    convert("massive", path, tmp_path / "all.jsonl")
    assert "all splits are read: dev 1, train 1" in read_dataset(path).problems[0].message
    # In files of other names the record's own split does not count.
    path.rename(tmp_path / "test.jsonl").write_text(json.dumps(lines[0]))
    assert len(read_source(str(tmp_path), "test").examples) == 1


TEXTS_OF_SPLITS = [
    {"text": "so", "label": "x", "split": "train"},
    {"text": "no", "label": "y", "split": "Test"},
]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", json.dumps(TEXTS_OF_SPLITS)),
        ("a.csv", "label,text,split\nx,so,train\ny,no,Test\n"),
        ("a.tsv", "split\tlabel\ttext\ntrain\tx\tso\nTest\ty\tno\n"),
    ],
)
def test_texts_with_their_splits_are_read_by_split(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    for split, texts in (("train", ["so"]), ("test", ["no"])):
        found = read_source(f"{tmp_path / name}:{split}", options=ReadOptions(task="classification"))
        assert [example.text for example in found.examples] == texts
    with pytest.raises(DataError, match="no record is of the split 'dev'"):
        read_source(str(tmp_path / name), "dev", ReadOptions(task="classification"))


def test_rows_of_words_with_their_splits_are_read_by_split(tmp_path):
    (tmp_path / "a.csv").write_text("tokens,tags,split\nAnn ran,B-PER O,train\nso it,O O,dev\n")
    for split, words in (("train", ("Ann", "ran")), ("dev", ("so", "it"))):
        assert [e.words for e in read_source(f"{tmp_path / 'a.csv'}:{split}").examples] == [words]


def test_require_clean_lists_the_first_ten_and_says_what_to_do():
    problems = [
        Problem(f"d.conll:{i}", "tag 'I-X' follows 'O'", "ill-formed-tag", "read as 'B-X'") for i in range(12)
    ]
    warning = Problem("d.conll:99", "twice", "duplicate", fatal=False)
    require_clean(Dataset((), problems=[warning]))
    with pytest.raises(DataError) as caught:
        require_clean(Dataset((), problems=[*problems, warning], name="d.conll"))
    message = str(caught.value)
    assert message.startswith("d.conll: 12 problems\nd.conll:0: tag 'I-X' follows 'O'.")
    assert message.count("I-X") == 10
    assert "and 2 more" in message
    assert message.endswith("Fix the lines or pass --repair (in a recipe: data.repair = true).")
    assert "d.conll:99" not in message


def test_require_clean_does_not_offer_a_repair_that_there_is_none_for(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text("")
    with pytest.raises(DataError, match=r"Fix the lines\.$"):
        require_clean(read_dataset(path, ReadOptions(repair=True)))


def test_a_folder_saved_by_datasets(tmp_path):
    datasets = pytest.importorskip("datasets")
    names = ["O", "B-LOC", "I-LOC"]
    features = datasets.Features(
        {
            "id": datasets.Value("string"),
            "tokens": [datasets.Value("string")],
            "ner_tags": [datasets.ClassLabel(names=names)],
        }
    )
    rows = {"id": ["0", "1"], "tokens": [["New", "York"], ["in"]], "ner_tags": [[1, 2], [0]]}
    data = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict({"train": data, "validation": data}).save_to_disk(tmp_path / "d")
    dataset = read_split(tmp_path / "d", "dev")
    assert [e.words for e in dataset.examples] == [("New", "York"), ("in",)]
    assert dataset.examples[0].spans == (Span(0, 2, "LOC"),)
    assert dataset.examples[1].source == f"{tmp_path / 'd'}/dev:2"
    assert find_splits(tmp_path / "d") == ("train", "dev")
    kept = datasets.Dataset.from_dict({**rows, "ner_tags": [[1, None], [-1]]}, features=features)
    datasets.DatasetDict({"test": kept}).save_to_disk(tmp_path / "n")
    null, secret = read_split(tmp_path / "n", "test").problems
    assert "n/test:1: item 2 of 'ner_tags' is null, not a string" in str(null)
    assert "n/test:2: item 1 of 'ner_tags' is -1, not a string" in str(secret)
    with pytest.raises(DataError, match="no split 'test'; there are train, validation"):
        read_split(tmp_path / "d", "test")
    with pytest.raises(DataError, match=r"no column nope; there are id, tokens, ner_tags.* --label-field"):
        read_split(tmp_path / "d", "dev", ReadOptions(label_field="nope"))
    named = ReadOptions(text_field="words_of_it", label_field="tags_of_it")
    renamed = data.rename_columns({"tokens": "words_of_it", "ner_tags": "tags_of_it"})
    datasets.DatasetDict({"validation": renamed}).save_to_disk(tmp_path / "e")
    assert read_split(tmp_path / "e", "dev", named).examples[0].spans == (Span(0, 2, "LOC"),)
    assert read_raw_text(f"{tmp_path / 'e'}:dev", options=named) == ["New York", "in"]
    with pytest.raises(
        DataError, match=r"no column tokens or words or sentence or text or content; .* --text-field"
    ):
        read_split(tmp_path / "e", "dev")


def test_a_hub_that_does_not_answer_is_a_data_error(monkeypatch):
    datasets = pytest.importorskip("datasets")

    def fail(*args):
        raise ConnectionError("offline")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(DataError, match="cannot be loaded by datasets: offline"):
        read_split("someone/something", "train")


def test_nulls_and_unknown_classes_of_hub_data_are_named(tmp_path):
    datasets = pytest.importorskip("datasets")
    classes = [datasets.ClassLabel(names=["O", "B-LOC"])]
    features = datasets.Features({"tokens": [datasets.Value("string")], "ner_tags": classes, "tags": classes})
    rows = {"tokens": [["York", "is"]] * 3, "ner_tags": [[1, None], None, [1, 0]], "tags": [[0, 0]] * 3}
    datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows, features=features)}).save_to_disk(
        tmp_path / "d"
    )
    with pytest.raises(DataError, match="columns tags and ner_tags both look like labels"):
        read_split(tmp_path / "d", "train")
    dataset = read_split(tmp_path / "d", "train", ReadOptions(label_field="ner_tags"))
    assert [e.spans for e in dataset.examples] == [(Span(0, 1, "LOC"),)]
    assert [p.message.partition(",")[0] for p in dataset.problems] == [
        "item 2 of 'ner_tags' is null",
        "'ner_tags' is null",
    ]


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".json", ".NDJSON"])
def test_json_lines_are_read_under_each_of_their_suffixes(tmp_path, suffix):
    for task, line in {
        "labeling": '{"tokens": ["Ada", "slept"], "tags": ["B-PER", "O"]}\n',
        "classification": '{"text": "so good", "label": "good"}\n{"text": "bad", "label": "bad"}\n',
    }.items():
        file = tmp_path / f"train{suffix}"
        file.write_text(line)
        assert read_dataset(file, ReadOptions(task=task)).examples


def test_a_label_cannot_be_renamed_to_the_tag_of_words_without_label():
    example = Example(("Ada", "slept"), (Span(0, 1, "PER"),))
    with pytest.raises(ConfigError, match=r"renamed to 'O', .* or --map LABEL="):
        map_labels([example], {"PER": "O"})
    assert map_labels([example], {"PER": ""})[0].spans == ()
