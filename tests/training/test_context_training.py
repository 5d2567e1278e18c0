"""Training with document context: the windows of prediction, sampled sentences with their neighbors, clear refusals."""

from dataclasses import replace

import pytest
from tiny import tiny_labeler

from lookboth import train
from lookboth.config import parse_config
from lookboth.data.documents import as_one_document
from lookboth.errors import ConfigError, DataError
from lookboth.evaluation import evaluate_on
from lookboth.labelers import Labeler
from lookboth.run_folder import RunFolder
from lookboth.training.batches import RunBatches
from lookboth.training.classifier import prepare_classifier
from lookboth.training.continuation import continued
from lookboth.training.folder_claim import hash_examples
from lookboth.training.splits import read_splits
from lookboth.training.teacher_outputs import text_key
from lookboth.training.teachers import find_teachers
from lookboth.types import Example

SENTENCES = ("Ada\tB-PER\nlived\tO\n\n", "in\tO\nLondon\tB-LOC\n\n", "Babbage\tB-PER\nworked\tO\n\n")
START = "-DOCSTART-\tO\n\n"
TRAINING = {"epochs": 1, "lr": 1e-3, "precision": "fp32"}


@pytest.fixture
def data(tmp_path):
    for split in ("train", "dev", "test"):
        text = START + "".join(SENTENCES) + START + SENTENCES[2]
        (tmp_path / f"{split}.conll").write_text(text, encoding="utf-8")
    return tmp_path


def recipe(folder, model, **keys):
    given = {"model": str(model), "data": {"train": str(folder)}, "training": TRAINING, "context": "document"}
    return parse_config({**given, **keys})


def test_the_saved_labeler_scores_as_in_its_run(data, tmp_path, tiny_llama_folder, progress):
    config = recipe(data, tiny_llama_folder, plan="0110", context=4)
    (run,) = train(config, tmp_path / "run")
    folder = RunFolder(run.folder).labeler
    labeler = Labeler.from_pretrained(folder, precision="fp32")
    assert labeler.config.context == 4
    again = evaluate_on(str(data), str(folder), precision="fp32")
    (tested,) = run.tests.values()
    scores = [[span.score for p in each.predictions for span in p.spans] for each in (again, tested)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)
    assert [p.tags for p in again.predictions] == [p.tags for p in tested.predictions]
    (data / "test.conll").write_text("".join(SENTENCES), encoding="utf-8")
    evaluate_on(str(data), str(folder))
    assert any("--documents" in message for message in progress())
    further = continued(parse_config({"start": {"labeler": str(folder)}, "data": {"train": str(data)}}))
    assert further.context == 4


@pytest.mark.parametrize("layout", ["bucketed", "packed"])
@pytest.mark.parametrize(("plan", "repetition"), [("0110", 0), ("causal", 0), ("causal", 1)])
def test_a_sampled_sentence_is_read_with_its_neighbors(
    data, tmp_path, tiny_llama_folder, plan, repetition, layout
):
    config = recipe(
        data, tiny_llama_folder, plan=plan, repetition=repetition, training={**TRAINING, "layout": layout},
        data={"train": str(data), "max_train_sentences": 2},
    )  # fmt: skip
    splits = read_splits(config)
    prepared = prepare_classifier(config, splits, 0, tmp_path)
    encoder = prepared.labeler.encoder
    for piece in prepared.batches.pieces:
        example = splits.train[piece.example]
        words = [word for sentence in example.document for word in sentence]
        assert piece.input_ids == encoder.encode(words).input_ids
        assert len(piece.labels) == len(piece.word_tokens) == len(example.words)
    batches: RunBatches = prepared.batches
    loss = sum(float(prepared.labeler.model(**batch)["loss"].detach()) for batch in batches)
    assert loss > 0


def test_sentences_without_documents_are_refused(data, tiny_llama_folder, progress):
    (data / "train.conll").write_text("".join(SENTENCES), encoding="utf-8")
    with pytest.raises(DataError, match=r"data\.documents"):
        read_splits(recipe(data, tiny_llama_folder))
    splits = read_splits(recipe(data, tiny_llama_folder, data={"train": str(data), "documents": "file"}))
    assert [len(example.document) for example in splits.train] == [3, 3, 3]
    (data / "train.conll").write_text(START + "".join(SENTENCES), encoding="utf-8")
    (data / "test.conll").write_text("".join(SENTENCES), encoding="utf-8")
    read_splits(recipe(data, tiny_llama_folder))
    assert any("each sentence is read alone" in message for message in progress())


def test_data_with_other_borders_are_other_data(data, tiny_llama_folder):
    first = read_splits(recipe(data, tiny_llama_folder)).train
    other = [replace(example, document=(), place=0) for example in first]
    assert hash_examples(first) == hash_examples(other)
    assert hash_examples(first, documents=True) != hash_examples(other, documents=True)
    assert hash_examples(first, documents=True) == hash_examples(list(first), documents=True)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"context": -1}, "context"),
        ({"context": "page"}, "context"),
        ({"context": True}, "context"),
        ({"task": "classification", "label_on": "last"}, "context"),
        ({"method": "sift"}, "context"),
    ],
)
def test_context_that_cannot_be_used_is_refused(data, tiny_llama_folder, tmp_path, keys, said):
    with pytest.raises(ConfigError, match=said):
        train(recipe(data, tiny_llama_folder, **keys), tmp_path / "run")


def test_outputs_of_a_teacher_are_stored_by_text_and_context(tiny_llama_folder, tmp_path):
    labeler = tiny_labeler(tiny_llama_folder, max_tokens=64)
    Labeler(replace(labeler.config, context=3), labeler.model, labeler.tokenizer).save_pretrained(tmp_path)
    config = parse_config({"data": {"train": "x"}, "distill": {"teachers": [str(tmp_path)]}, "model": "x"})
    (teacher,) = find_teachers(config, [])
    assert teacher.context == 3
    one, two = (as_one_document([Example((first,)), Example(("Ann",))])[1] for first in "ab")
    keys = {text_key(example, teacher) for example in (one, two, Example(("Ann",)))}
    assert len(keys) == 3
    alone = teacher._replace(context=0)
    assert text_key(one, alone) == text_key(two, alone) == text_key(Example(("Ann",)), teacher)
