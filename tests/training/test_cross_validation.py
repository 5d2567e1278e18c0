"""Training without dev data: cross-validation chooses the number of epochs; few sentences have their own defaults."""

import json
from itertools import count

import pytest
import torch
from safetensors.torch import load_file

from lookboth import train
from lookboth.config import parse_config, require_supported
from lookboth.errors import ConfigError, DataError
from lookboth.evaluation import evaluate_labeler
from lookboth.progress import progress_to
from lookboth.run_folder import RunFolder
from lookboth.training import cross_validation
from lookboth.training.classifier import prepare_classifier
from lookboth.training.cross_validation import choose_epochs
from lookboth.training.default_settings import complete_settings
from lookboth.training.run_finishing import Start
from lookboth.training.splits import FEW, Splits, read_splits
from lookboth.types import Example, PredictedSpan, Prediction, Span

PEOPLE = ("Ada", "Babbage", "Lovelace", "Charles")
TRAINING = {
    "epochs": 2, "lr": 1e-2, "precision": "fp32", "folds": 2, "schedule": "constant", "batch_sentences": 2,
}  # fmt: skip
UPPER = {"layers": "top:1"}


def sentence(number):
    name = PEOPLE[number % len(PEOPLE)]
    return f"{name} B-PER\nsaid O\n{number} O\n\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A file of six sentences, without dev data."""
    file = tmp_path_factory.mktemp("data") / "few.conll"
    file.write_text("".join(map(sentence, range(6))), encoding="utf-8")
    return file


def recipe(source, model, **keys):
    return parse_config({"model": str(model), "data": {"train": str(source)}, "training": TRAINING, **keys})


@pytest.fixture(scope="module")
def finished(data, tiny_llama_folder, tmp_path_factory):
    """A finished run with cross-validation, and its messages."""
    lines: list[str] = []
    with progress_to(lines.append):
        (run,) = train(recipe(data, tiny_llama_folder, adapter=UPPER), tmp_path_factory.mktemp("finished"))
    return run, lines


def test_the_run_is_a_training_on_all_sentences_scored_out_of_fold(
    data, finished, tiny_llama_folder, tmp_path
):
    (run, lines), config = finished, recipe(data, tiny_llama_folder, adapter=UPPER)
    found = run.cross_validation
    assert (found.folds, found.epochs) == (2, [1, 2])
    # Every sentence is judged once, and its labels are not those of a model that was trained on it.
    assert run.dev.examples == read_splits(config).train
    assert run.dev.scores.headline == found.scores[int(found.chosen) - 1]
    assert sum("states of the 3 frozen layers" in line for line in lines) >= 2
    assert any(line.startswith("cross-validation: ") for line in lines)
    stored = json.loads(RunFolder(run.folder).run.read_text())
    assert stored["scores"]["cross_validation"]["chosen"] == found.chosen
    # The labeler is that of an ordinary training with this number of epochs.
    training = {**TRAINING, "epochs": found.chosen, "evals_per_epoch": 0, "folds": None}
    both = {"train": str(data), "dev": str(data)}
    same = recipe(data, tiny_llama_folder, adapter=UPPER, data=both, training=training)
    (plain,) = train(same, tmp_path / "plain")
    left, right = (load_file(one.folder / "labeler" / "head.safetensors") for one in (run, plain))
    for name, value in left.items():
        torch.testing.assert_close(value, right[name], atol=1e-5, rtol=1e-4)
    # The recipe in run.json repeats the run.
    assert parse_config(stored["config"]).training.folds == 2


def test_a_fold_is_judged_by_a_training_on_the_others(data, finished, tiny_llama_folder, tmp_path):
    config = recipe(data, tiny_llama_folder, adapter=UPPER)
    splits, (run, _) = read_splits(config), finished
    parts = cross_validation._divide(splits.train, config, 0)
    assert sorted(index for part in parts for index in part) == list(range(6))
    stored = json.loads(RunFolder.of_fold(run.folder, 0).epoch_predictions.read_text())
    held = [splits.train[index] for index in parts[0]]
    others = [example for index, example in enumerate(splits.train) if index not in parts[0]]
    assert len(stored) == 2
    # The same seed, so the same initial weights; the last epoch is that of a whole training.
    labeler, batches, _ = prepare_classifier(config, Splits(others, held, {}, {}), 0, tmp_path / "adapted")
    # The last weights are kept, because each score is higher.
    cross_validation.fit_labeler(labeler, batches, config, 0, tmp_path / "own", count(1).__next__)
    tags = [list(prediction.tags) for prediction in evaluate_labeler(labeler, held).predictions]
    assert tags == [one["tags"] for one in stored[-1]]


def test_a_killed_run_keeps_its_finished_folds(data, finished, tiny_llama_folder, tmp_path, monkeypatch):
    config, (whole, _) = recipe(data, tiny_llama_folder, adapter=UPPER), finished
    fit, folds = cross_validation.fit_labeler, []

    def kill(labeler, batches, config, seed, folder, score_dev):
        folds.append(folder.name)
        if folds == ["fold-0", "fold-1"]:
            raise KeyboardInterrupt
        return fit(labeler, batches, config, seed, folder, score_dev)

    monkeypatch.setattr(cross_validation, "fit_labeler", kill)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "killed")
    (again,) = train(config, tmp_path / "killed")
    assert folds == ["fold-0", "fold-1", "fold-1"]
    assert again.cross_validation.scores == whole.cross_validation.scores
    assert again.dev.predictions == whole.dev.predictions


def test_spans_that_overlap_are_cross_validated(tiny_llama_folder, tmp_path):
    line = json.dumps({"text": "the Bank of New York", "spans": [[4, 20, "ORG"], [12, 20, "LOC"]]})
    (tmp_path / "few.jsonl").write_text(
        "\n".join([line, line.replace("Bank", "Port"), line.replace("the", "his")])
    )
    config = recipe(tmp_path / "few.jsonl", tiny_llama_folder, adapter=UPPER, head={"kind": "nested"})
    (run,) = train(config, tmp_path / "run")
    assert run.dev.scores.scheme == "nested"
    assert run.dev.scores.micro.support == 6
    assert len(run.cross_validation.scores) == 2


def test_whole_texts_are_cross_validated(tiny_llama_folder, tmp_path):
    texts = tmp_path / "texts.tsv"
    texts.write_text("it is a\tgood\nit was a\tbad\nit is b\tgood\n", encoding="utf-8")
    keys = {"adapter": UPPER, "training": {**TRAINING, "epochs": 1}}
    (run,) = train(recipe(texts, tiny_llama_folder, task="classification", **keys), tmp_path / "texts")
    assert len(run.dev.examples) == 3
    assert run.dev.scores.headline_name == "accuracy"


# The choice


def judged(right):
    """Return a sentence with one span, and a prediction that is right or empty."""
    example = Example(("Ada", "slept"), (Span(0, 1, "PER"),))
    span = (PredictedSpan(0, 1, "PER", "Ada", 0, 3, 0.9),) if right else ()
    tags = ("B-PER" if right else "O", "O")
    return example, Prediction("Ada slept", example.words, ((0, 3), (4, 9)), tags, span)


@pytest.mark.parametrize(
    ("right", "chosen"),
    [
        # Sentences found after each epoch, of four.
        ([0, 4, 0, 3, 3, 3, 0], 5),
        ([1, 2, 3, 4, 3, 2], 4),
        # Of equal scores the later one: if nothing was learned, more epochs are the better guess.
        ([0, 0, 0], 3),
        ([4, 4, 4], 3),
    ],
)
def test_scores_of_neighboring_epochs_count_and_ties_go_to_the_later_one(right, chosen):
    config = parse_config({"data": {"train": "x"}, "training": {"epochs": len(right)}})
    examples = [judged(True)[0]] * 4
    parts = [[0, 3], [1, 2]]
    folds = [[[judged(index < found)[1] for index in held] for found in right] for held in parts]
    found = choose_epochs(config, examples, parts, folds, Start.now())
    assert found.chosen == chosen
    assert found.evaluation.scores.headline == pytest.approx(found.scores[chosen - 1])


def test_a_part_of_an_epoch_and_a_single_score_at_the_end_are_possible():
    config = parse_config({"data": {"train": "x"}, "training": {"epochs": 1.5}})
    example, prediction = judged(True)
    folds = [[[prediction], [prediction]], [[prediction], [prediction]]]
    found = choose_epochs(config, [example] * 2, [[0], [1]], folds, Start.now())
    assert (found.epochs, found.chosen) == ([1, 1.5], 1.5)
    config = parse_config({"data": {"train": "x"}, "training": {"epochs": 5, "evals_per_epoch": 0}})
    found = choose_epochs(config, [example] * 2, [[0], [1]], [[[prediction]]] * 2, Start.now())
    assert (found.epochs, found.chosen) == ([5], 5)


# Defaults for few sentences


def few(num_sentences, dev=(), **training):
    config = parse_config({"data": {"train": "x"}, "training": training})
    return complete_settings(config, Splits([Example(("it",))] * num_sentences, dev, {}, {})).training


def test_few_sentences_without_dev_data_have_their_own_defaults(progress):
    found = few(20)
    assert (found.folds, found.epochs, found.schedule, found.batch_sentences) == (4, 20, "constant", 4)
    (line,) = progress()
    assert "20 training sentences and no dev data: cross-validation with 4 folds" in line
    assert "training.folds, training.epochs, training.lr" in line
    assert [few(number).epochs for number in (1, 100, FEW - 1)] == [20, 10, 8]
    assert [few(number).folds for number in (1, 2, 3, 4, 5)] == [2, 2, 3, 4, 4]


def test_settings_of_the_recipe_are_kept(progress):
    found = few(20, lr=1e-3, epochs=7, folds=3, schedule="cosine", batch_sentences=1)
    assert (found.lr, found.epochs, found.folds, found.schedule, found.batch_sentences) == (
        1e-3,
        7,
        3,
        "cosine",
        1,
    )
    ends = few(20, lr_end=8e-4, batch_tokens=2048)
    assert (ends.lr, ends.schedule, ends.batch_sentences) == (1e-3, "linear", None)
    # Completing twice changes nothing.
    config = parse_config({"data": {"train": "x"}})
    once = complete_settings(config, Splits([Example(("it",))], (), {}, {}))
    assert complete_settings(once, Splits([Example(("it",))], (), {}, {})) == once


# What is refused


def test_many_sentences_without_dev_data_are_refused_unless_folds_are_named(tmp_path, tiny_llama_folder):
    file = tmp_path / "many.conll"
    file.write_text("".join(map(sentence, range(FEW))), encoding="utf-8")
    many = recipe(file, tiny_llama_folder, training={})
    with pytest.raises(DataError, match=r"has no dev split.*data\.dev.*training\.folds=4"):
        read_splits(many)
    assert read_splits(recipe(file, tiny_llama_folder)).dev == []
    few = recipe(file, tiny_llama_folder, training={}, data={"train": str(file), "max_train_sentences": 9})
    assert len(read_splits(few).train) == 9
    for method in ("search", "sift"):
        with pytest.raises(DataError, match="has no dev split") as error:
            read_splits(recipe(file, tiny_llama_folder, training={}, method=method))
        assert "folds" not in str(error.value)


def test_folds_replace_the_dev_split_of_the_data(tmp_path, tiny_llama_folder):
    for split in ("train", "dev"):
        (tmp_path / f"{split}.conll").write_text(sentence(0) + sentence(1), encoding="utf-8")
    assert len(read_splits(recipe(tmp_path, tiny_llama_folder, training={})).dev) == 2
    assert read_splits(recipe(tmp_path, tiny_llama_folder)).dev == []


def test_settings_that_contradict_cross_validation_are_refused(data, tiny_llama_folder, tmp_path):
    with pytest.raises(ConfigError, match="replaces dev data"):
        recipe(data, tiny_llama_folder, data={"train": str(data), "dev": str(data)})
    with pytest.raises(ConfigError, match="folds cannot be used"):
        require_supported(recipe(data, tiny_llama_folder, method="sift"))
    for key, value in (("choose_by", "loss"), ("average_evals", 2)):
        with pytest.raises(ConfigError, match=rf"{key}.*data\.dev"):
            train(recipe(data, tiny_llama_folder, training={**TRAINING, key: value}), tmp_path / key)


def test_one_sentence_is_too_few(tmp_path, tiny_llama_folder):
    file = tmp_path / "one.conll"
    file.write_text(sentence(0) * 3, encoding="utf-8")
    with pytest.raises(DataError, match=r"at least 2 different sentences, found 1.*data\.dev"):
        train(recipe(file, tiny_llama_folder), tmp_path / "run")
