"""Columns for a Hugging Face data set: what predict gives, typed, cached by what the labeler is."""

import pickle
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from tiny import CORPUS, tiny_labeler

from lookboth.errors import DataError
from lookboth.integrations.datasets import ColumnLabeler
from lookboth.labelers.labeler import Labeler

datasets = pytest.importorskip("datasets")

TEXTS = ["", "   ", *CORPUS, "  Ünïcode 👩‍👩‍👧 New\r\nYork"]


@pytest.fixture(scope="module")
def folder(tiny_llama_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("columns") / "labeler"
    labeler = tiny_labeler(tiny_llama_folder, plan="0011")
    torch.manual_seed(7)
    with torch.no_grad():
        labeler.model.head.weight.normal_(0, 2.0)
    labeler.save_pretrained(folder)
    return folder


def test_map_gives_the_spans_of_predict_whatever_the_first_batch_holds(folder):
    label = ColumnLabeler(folder, device="cpu")
    data = datasets.Dataset.from_dict({"text": TEXTS, "spans": list(range(len(TEXTS)))})
    mapped = data.map(
        label, batched=True, batch_size=2, writer_batch_size=2, features=label.features(data.features)
    )
    assert mapped["spans"][:] == data["spans"][:]
    wanted = label.labeler.predict(TEXTS)
    for row, prediction in zip(mapped, wanted, strict=True):
        found = [(s["start"], s["end"], s["label"], s["text"]) for s in row["predicted_spans"]]
        assert found == [(s.start_char, s.end_char, s.label, s.text) for s in prediction.spans]
        assert tuple(row["predicted_words"]) == prediction.words
        assert tuple(row["predicted_tags"]) == prediction.tags
    assert any(row["predicted_spans"] for row in mapped)


def test_words_are_labeled_as_words(folder):
    label = ColumnLabeler(folder, column="tokens", prefix="x_", device="cpu")
    sentences = [text.split() for text in CORPUS]
    columns = label({"tokens": sentences, "id": [1] * len(sentences)})
    assert columns["x_words"] == sentences
    assert columns["x_tags"] == [list(p.tags) for p in label.labeler.predict_words(sentences)]


def test_labels_of_whole_texts_are_a_column(tiny_llama_folder, tmp_path):
    made = tiny_labeler(tiny_llama_folder, scheme="plain", labels=("bad", "good"))
    config = replace(made.config, task="classification")
    Labeler(config, made.model, made.tokenizer).save_pretrained(tmp_path)
    label = ColumnLabeler(tmp_path, device="cpu")
    data = datasets.Dataset.from_dict({"text": list(CORPUS)})
    mapped = data.map(label, batched=True, features=label.features(data.features))
    wanted = [p.labels[0].label for p in label.labeler.predict(list(CORPUS))]
    assert [row["predicted_labels"][0]["label"] for row in mapped] == wanted


def test_the_fingerprint_is_small_and_that_of_the_files(folder):
    from datasets.fingerprint import Hasher

    label = ColumnLabeler(folder)
    before = Hasher.hash(label)
    label({"text": ["Ada"]})
    assert len(pickle.dumps(label)) < 5000
    assert Hasher.hash(label) == before == Hasher.hash(ColumnLabeler(folder))
    config = folder / "config.json"
    config.write_text(config.read_text() + "\n")
    assert Hasher.hash(ColumnLabeler(folder)) != before
    assert pickle.loads(pickle.dumps(label))({"text": ["Ada"]}) == label({"text": ["Ada"]})


@pytest.mark.parametrize("values", [[3], [["a", 3]], [None], ["a", ["b"]]])
def test_other_columns_are_refused(folder, values):
    with pytest.raises(DataError, match="texts, or lists of words"):
        ColumnLabeler(folder)({"text": values})


def test_map_without_batches_labels_rows(folder):
    label = ColumnLabeler(folder, device="cpu")
    data = datasets.Dataset.from_dict({"text": list(CORPUS), "words": [text.split() for text in CORPUS]})
    for column in ("text", "words"):
        label.column = column
        features = label.features(data.features)
        rows = data.map(label, features=features)
        assert rows[:] == data.map(label, batched=True, features=features)[:]
        assert rows["predicted_words"][0] == label({column: [data[column][0]]})["predicted_words"][0]


@pytest.mark.parametrize("batched", [True, False])
def test_streamed_rows_of_words_are_rows(folder, batched):
    sentences = [text.split() for text in CORPUS]
    rows = [{"tokens": words, "id": str(number)} for number, words in enumerate(sentences)]
    stream = datasets.Dataset.from_list(rows).to_iterable_dataset()
    found = list(stream.map(ColumnLabeler(folder, column="tokens"), batched=batched))
    assert [row["predicted_words"] for row in found] == sentences


def test_strings_that_may_be_texts_or_words_are_refused_until_it_is_said(folder):
    row = {"tokens": ["New", "York"], "tags": [1, 2]}
    with pytest.raises(DataError, match="holds='words'"):
        ColumnLabeler(folder, column="tokens")(row)
    words = ColumnLabeler(folder, column="tokens", holds="words")(row)
    assert words["predicted_words"] == ["New", "York"]
    texts = ColumnLabeler(folder, column="tokens", holds="texts")(row)
    assert texts["predicted_words"] == [["New"], ["York"]]
    with pytest.raises(DataError, match="input_columns"):
        ColumnLabeler(folder)(["New", "York"])


def test_two_processes_label_after_many_threads_computed_in_the_parent(folder):
    code = """
import sys, datasets, torch
from lookboth.integrations.datasets import ColumnLabeler
torch.set_num_threads(4)
left = torch.randn(512, 512)
left @ left  # from here on OpenMP has threads, which a forked process lacks
label = ColumnLabeler(sys.argv[1], device="cpu")
data = datasets.Dataset.from_dict({"text": ["Ada Lovelace lived in London. " * 20] * 4})
label(data[:2])
features = label.features(data.features)
assert data.map(label, batched=True, batch_size=2, num_proc=2, features=features)[:] == data.map(
    label, batched=True, batch_size=2, features=features
)[:]
"""
    limit = 900  # seconds, for a machine under load; it takes ten alone
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, timeout=limit
    )
    assert done.returncode == 0, done.stderr
