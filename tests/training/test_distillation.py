"""Distillation: what a student learns from, what is stored of the teachers, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import tiny_labeler
from typer.testing import CliRunner

from lookboth import GenerativeLabeler, Labeler, train
from lookboth.cli import app
from lookboth.config import parse_config
from lookboth.data import ReadOptions, read_unlabeled
from lookboth.errors import ConfigError, DataError, ModelError
from lookboth.generative.generative_building import build_generative
from lookboth.inference import word_log_probs
from lookboth.models import NO_LABEL, SoftLoss
from lookboth.run_folder import RunFolder
from lookboth.training import teacher_outputs as outputs_on_disk
from lookboth.training.batches import RunBatches, tokenize_examples
from lookboth.training.distillation import _agreement as agreement, _divide as divide, read_distill_texts
from lookboth.training.ensemble import Ensemble, average
from lookboth.training.folder_claim import claim_folder
from lookboth.training.labeler_building import build_labeler
from lookboth.training.soft_targets import SoftTargets
from lookboth.training.splits import data_settings, read_splits
from lookboth.training.teachers import EXCLUDED, find_teachers
from lookboth.training.truncation import truncate_examples
from lookboth.types import Example, Span

WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "while",
    "Ada",
    "Lovelace",
    "was",
    "born",
    "in",
    "London",
    "and",
    "read",
]
TRAINING = {"precision": "fp32", "epochs": 2, "lr": 5e-3, "batch_tokens": 64, "head_dropout": 0.0}


@pytest.fixture(scope="module")
def folder(tiny_llama_folder, tmp_path_factory):
    """Two teachers with the same tags, one with others, one with a CRF, and a file of texts."""
    folder = tmp_path_factory.mktemp("distill")
    for name, keys in {
        "one": {"seed": 0},
        "two": {"seed": 1},
        "other": {"labels": ("LOC", "ORG")},
        "crf": {"head": {"kind": "crf"}},
    }.items():
        tiny_labeler(tiny_llama_folder, plan="full", adapter="head", **keys).save_pretrained(folder / name)
    copytree(folder / "one", folder / "twin")
    (folder / "texts.txt").write_text("\n".join(" ".join(words) for words in sentences(40)), encoding="utf-8")
    rows = "\n".join(f"{word} {'B-LOC' if word == 'London' else 'O'}" for word in WORDS)
    for split in ("train", "dev"):
        (folder / f"{split}.conll").write_text((rows + "\n\n") * 6, encoding="utf-8")
    return folder


def sentences(number):
    rng = np.random.default_rng(0)
    return [tuple(rng.choice(WORDS, size=rng.integers(2, 9))) for _ in range(number)]


def recipe(folder, model, *, teachers=("one",), distill=None, **keys):
    section = {"teachers": [str(folder / name) for name in teachers], "texts": str(folder / "texts.txt")}
    base = {"model": str(model), "max_tokens": 64, "overlap": 8, "training": TRAINING, "adapter": {"rank": 2}}
    return parse_config({**base, "distill": {**section, **(distill or {})}, **keys})


def weights(out):
    return load_file(RunFolder.of_seed(out, 0).training.best)


def teacher_probs(folder, texts, name="one"):
    labeler = Labeler.from_pretrained(folder / name, precision="fp32", merge=False)
    return [np.exp(rows) for rows in word_log_probs(labeler, texts)]


# The loss


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_gradient_is_the_difference_of_the_distributions(temperature):
    torch.manual_seed(0)
    scores = torch.randn(6, 5, requires_grad=True)
    teacher = torch.randn(6, 5)
    targets = teacher.log_softmax(-1)
    targets[2] = float("nan")
    loss = SoftLoss(temperature, weight=1.0)
    loss.mix(torch.zeros(()), scores, targets).backward()
    expected = (scores.detach() / temperature).softmax(-1) - (teacher / temperature).softmax(-1)
    expected[2] = 0
    torch.testing.assert_close(scores.grad, temperature * expected)


def test_a_tag_that_the_teacher_does_not_know_is_o_for_it():
    torch.manual_seed(0)
    scores = torch.randn(3, 5, requires_grad=True)
    targets = torch.randn(3, 5)
    targets[:, 3:] = float("nan")
    targets[1] = float("nan")
    SoftLoss(1.0, weight=1.0).mix(torch.zeros(()), scores, targets).backward()
    student = scores.detach().softmax(-1)
    wanted = targets[:, :3].softmax(-1)
    outside = student[:, [0, 3, 4]]
    expected = student.clone()
    # The teacher's probability of O is shared by O and the new tags as the student shares it.
    expected[:, [0, 3, 4]] -= wanted[:, :1] * outside / outside.sum(-1, keepdim=True)
    expected[:, 1:3] -= wanted[:, 1:]
    expected[1] = 0
    torch.testing.assert_close(scores.grad, expected)


def test_words_without_gold_tags_have_the_soft_loss_only(tiny_llama_folder):
    labeler = tiny_labeler(tiny_llama_folder)
    examples = [Example(WORDS[:4], (Span(0, 1, "LOC"),)), Example(WORDS[4:9])]
    config = parse_config({"data": {"train": "x"}, "training": TRAINING})
    tags = labeler.config.tags
    pieces = tokenize_examples(examples, labeler.encoder, tags=tags, config=config)
    rng = np.random.default_rng(0)
    log_probs = [np.log(rng.dirichlet(np.ones(len(tags)), len(e.words))).astype(np.float16) for e in examples]
    soft = SoftTargets(labeler.config.labels, log_probs, 1, SoftLoss(1.0, 0.75))
    pieces = soft.without_gold(pieces)
    assert pieces[1].labels == (NO_LABEL,) * 5
    batches = soft.add_to(RunBatches.build(pieces, config=config, seed=0, pad_id=0))
    labeler.model.soft_loss = soft.loss
    batch = batches.tensors(pieces)
    with torch.no_grad():
        output = labeler.model(**batch)
    log_student = output["logits"].log_softmax(-1)
    gold = batch["labels"][:4]
    hard = -log_student[torch.arange(4), gold].sum()
    target = batch["soft_targets"].log_softmax(-1)
    divergence = (target.exp() * (target - log_student)).sum()
    torch.testing.assert_close(output["loss"], (0.25 * hard + 0.75 * divergence) / 9)


def test_windows_of_a_student_have_the_targets_of_their_words(tiny_llama_folder):
    encoder = tiny_labeler(tiny_llama_folder).encoder
    config = parse_config({"data": {"train": "x"}, "max_tokens": 32, "overlap": 8, "training": TRAINING})
    examples = [Example(WORDS[:3]), Example(tuple(WORDS * 5))]
    pieces = tokenize_examples(examples, encoder, tags=("O",), config=config)
    assert len(pieces) > 3
    log_probs = [np.arange(3)[:, None], 10 + np.arange(5 * len(WORDS))[:, None]]
    soft = SoftTargets(("O",), log_probs, 0, SoftLoss(1.0, 1.0))
    batches = soft.add_to(RunBatches.build(pieces, config=config, seed=0, pad_id=0))
    found = batches.tensors(pieces)["soft_targets"]
    np.testing.assert_array_equal(found, np.concatenate(log_probs))
    other_way = batches.tensors(pieces[::-1])["soft_targets"]
    assert sorted(other_way[:, 0].tolist()) == sorted(found[:, 0].tolist())


def test_a_piece_without_a_place_in_the_loss_has_no_targets(tiny_llama_folder):
    encoder = tiny_labeler(tiny_llama_folder).encoder
    config = parse_config({"data": {"train": "x"}, "training": TRAINING})
    pieces = tokenize_examples([Example(WORDS[:3])] * 2, encoder, tags=("O",), config=config)
    pieces[1] = replace(pieces[1], labels=(-100,) * 3)
    batches = SoftTargets(("O",), [np.zeros((3, 1))] * 2, 0, SoftLoss(1.0, 1.0)).add_to(
        RunBatches.build(pieces, config=config, seed=0, pad_id=0)
    )
    found = batches.tensors(pieces)["soft_targets"]
    assert found.isnan()[:, 0].tolist() == [False] * 3 + [True] * 3


def test_the_mean_of_teachers_is_over_probabilities_and_those_that_answered():
    one, two = np.log([[0.2, 0.8], [0.5, 0.5]]), np.log([[0.6, 0.4], [0.1, 0.9]])
    two[1] = np.nan
    np.testing.assert_allclose(np.exp(average([one, two])), [[0.4, 0.6], [0.5, 0.5]], atol=1e-3)
    assert np.isnan(average([two, two])[1]).all()


def test_an_ensemble_with_tags_in_another_order(folder, tiny_llama_folder, tmp_path):
    swapped = tiny_labeler(tiny_llama_folder, plan="full", adapter="head", seed=1)
    order = [0, 3, 4, 1, 2]
    config = swapped.config
    object.__setattr__(config, "tags", tuple(config.tags[i] for i in order))
    with torch.no_grad():
        swapped.model.head.weight.copy_(swapped.model.head.weight[order])
        swapped.model.head.bias.copy_(swapped.model.head.bias[order])
    swapped.save_pretrained(tmp_path / "swapped")
    config = recipe(folder, "x", distill={"teachers": [str(folder / "one"), str(tmp_path / "swapped")]})
    texts = sentences(3)
    found = Ensemble.of(config, tmp_path / "out").log_probs([Example(t) for t in texts], tmp_path / "out")
    pairs = zip(teacher_probs(folder, texts), teacher_probs(folder, texts, "two"), strict=True)
    for rows, (one, two) in zip(found, pairs, strict=True):
        np.testing.assert_allclose(np.exp(rows.astype(float)), (one + two) / 2, atol=2e-3)


# The method


def test_a_linear_student_on_the_features_of_its_teacher_learns_its_distributions(
    folder, tiny_llama_folder, tmp_path
):
    training = {**TRAINING, "epochs": 120, "lr": 0.3, "batch_tokens": 4096, "evals_per_epoch": 0}
    config = recipe(
        folder,
        tiny_llama_folder,
        plan="full",
        adapter={"kind": "head"},
        training=training,
        distill={"weight": 1.0, "temperature": 2.0},
    )
    (run,) = train(config, tmp_path)
    texts = sentences(20)
    pairs = zip(word_log_probs(run.labeler, texts), teacher_probs(folder, texts), strict=True)
    differences = np.concatenate([np.abs(np.exp(rows) - probs) for rows, probs in pairs])
    assert differences.mean() < 0.01
    assert run.dev.scores.headline > 0.9


def test_students_of_any_backbone_plan_depth_and_repetition(folder, tiny_gpt2_folder, tmp_path, progress):
    config = recipe(folder, tiny_gpt2_folder, teachers=("one", "two"), plan="01", exit_layer=2, repetition=1)
    (run,) = train(config, tmp_path)
    assert run.labeler.config.tags == Labeler.from_pretrained(folder / "one").config.tags
    assert run.labeler.config.exit_layer == 2
    stored = json.loads(RunFolder(run.folder).run.read_text())
    report = stored["scores"]["distillation"]
    digests = {teacher.name: teacher.digest for teacher in find_teachers(config, [])}
    assert report["teachers"] == digests
    assert (report["dev"], report["labeled"], report["texts"]) == ("agreement", 0, 30)
    assert stored["config"]["method"] == "distill"
    card = (RunFolder(run.folder).labeler / "README.md").read_text()
    assert "texts.txt | see its source" in card
    assert f"distilled from `{folder / 'one'}`, `{folder / 'two'}`" in card
    assert any("agreement with the teachers" in line for line in progress())
    assert any("MB" in line and "words x 5 tags" in line for line in progress())


def test_an_encoder_learns_from_labeled_data_with_and_without_its_labels(folder, tmp_path):
    from encoders import save_encoder

    config = recipe(
        folder,
        save_encoder(tmp_path / "bert", "Bert"),
        data={"train": str(folder / "train.conll"), "dev": str(folder / "dev.conll")},
        distill={"texts": [str(folder / "train.conll")], "weight": 0.5},
    )
    (run,) = train(config, tmp_path / "out")
    report = json.loads(RunFolder(run.folder).run.read_text())["scores"]["distillation"]
    assert (report["dev"], report["labeled"], report["texts"]) == ("gold", 6, 6)


def test_a_crf_teaches_its_marginals(folder, tmp_path):
    texts = [WORDS[:6]]
    config = recipe(folder, "x", teachers=("crf",))
    (rows,) = Ensemble.of(config, tmp_path / "out").log_probs([Example(tuple(WORDS[:6]))], tmp_path)
    np.testing.assert_allclose(np.exp(rows.astype(float)), teacher_probs(folder, texts, "crf")[0], atol=1e-3)


def test_every_word_of_a_text_in_many_windows_has_a_target(folder, tmp_path):
    long = Example(tuple(WORDS * 30))
    ensemble = Ensemble.of(recipe(folder, "x"), tmp_path / "out")
    (rows,) = ensemble.log_probs([long], tmp_path / "out")
    assert len(rows) == len(long.words)
    np.testing.assert_allclose(np.exp(rows.astype(float)), teacher_probs(folder, [long.words])[0], atol=1e-3)


@pytest.mark.parametrize("name", ["one", "crf"])
def test_an_example_without_words_has_no_rows(folder, tmp_path, name):
    ensemble = Ensemble.of(recipe(folder, "x", teachers=(name,)), tmp_path / "out")
    found = ensemble.log_probs([Example(()), Example(WORDS[:2])], tmp_path / "out")
    assert [len(rows) for rows in found] == [0, 2]


def test_held_out_texts_that_the_teachers_cannot_answer_are_not_scored():
    ensemble = Ensemble(recipe(Path("x"), "x"), [SimpleNamespace(tag_set=SimpleNamespace(labels=("LOC",)))])
    texts = [Example(("London",)), Example(("Ada",))]
    rows = [np.log(np.array([[0.2, 0.7, 0.1]])), np.full((1, 3), np.nan)]
    assert agreement(ensemble, texts, rows) == [Example(("London",), (Span(0, 1, "LOC"),))]
    with pytest.raises(DataError, match=r"no readable answer to the 1 held-out texts.*data\.dev"):
        agreement(ensemble, texts[1:], rows[1:])


def test_truncated_texts_are_reported(folder, tiny_llama_folder, caplog):
    config = recipe(folder, tiny_llama_folder, truncate=True, max_tokens=32)
    with caplog.at_level("WARNING"):
        (cut,) = truncate_examples([Example(tuple(WORDS * 9))], config, "distill.texts")
    assert 0 < len(cut.words) < 32
    assert "of 162 words of distill.texts are beyond 32 tokens and are not trained on" in caplog.text


def test_a_generative_teacher_gives_hard_tags(tmp_path):
    prediction = SimpleNamespace(words=("in", "London"), tags=("O", "B-LOC"), problems=())
    labeler = SimpleNamespace(label_chunk=lambda *_, **__: iter([prediction]))
    teacher = SimpleNamespace(tag_set=SimpleNamespace(tags=("O", "B-LOC")))
    (rows,) = outputs_on_disk.predict_log_probs(teacher, labeler, [])
    np.testing.assert_array_equal(rows, [[0, EXCLUDED], [EXCLUDED, 0]])
    prediction.problems = ("unfinished",)
    (rows,) = outputs_on_disk.predict_log_probs(teacher, labeler, [])
    assert np.isnan(rows).all()


def test_a_saved_generative_teacher(folder, tiny_llama_folder, tmp_path):
    import tiny
    from transformers import AutoModelForCausalLM

    tokenizer = tiny.tiny_tokenizer("byte-bos")
    AutoModelForCausalLM.from_config(tiny.tiny_config("llama", len(tokenizer))).save_pretrained(
        tmp_path / "m"
    )
    tokenizer.save_pretrained(tmp_path / "m")
    generative = parse_config(
        {"model": str(tmp_path / "m"), "method": "icl", "data": {"train": "x"}, "generative": {"k": 0}}
    )
    writer = build_generative(generative, labels=["LOC", "PER"], pool=[], seed=0, device="cpu")
    writer.save_pretrained(tmp_path / "writer")
    config = recipe(folder, "x", distill={"teachers": [str(folder / "one"), str(tmp_path / "writer")]})
    ensemble = Ensemble.of(config, tmp_path / "out")
    text = tuple(WORDS[:5])
    (rows,) = ensemble.log_probs([Example(text)], tmp_path / "out")
    tags = GenerativeLabeler.from_pretrained(tmp_path / "writer").predict_words([text])[0].tags
    hard = np.array([[tag == own for tag in ensemble.tags] for own in tags])
    np.testing.assert_allclose(
        np.exp(rows.astype(float)), (teacher_probs(folder, [text])[0] + hard) / 2, atol=2e-3
    )


def test_whole_texts(folder, tiny_llama_folder, tmp_path):
    keys = {"task": "classification", "model": str(tiny_llama_folder), "data": {"train": "x"}}
    teacher = build_labeler(parse_config(keys), labels=("a", "b"), device="cpu")
    teacher.save_pretrained(tmp_path / "teacher")
    config = recipe(
        folder,
        tiny_llama_folder,
        distill={"teachers": str(tmp_path / "teacher")},
        task="classification",
        training={**TRAINING, "epochs": 1},
    )
    (run,) = train(config, tmp_path / "student")
    assert run.labeler.config.tags == ("a", "b")
    (rows,) = Ensemble.of(config, tmp_path / "x").log_probs([Example(("the", "fox"))], tmp_path / "x")
    assert rows.shape == (1, 2)


@pytest.mark.parametrize("train", [(), ("train.conll",)])
def test_a_study_reads_the_data_of_a_distillation(folder, tiny_llama_folder, train):
    sources = [str(folder / name) for name in train]
    config = recipe(folder, tiny_llama_folder, data={"train": sources, "test": []})
    splits = read_splits(data_settings(config))
    assert (len(splits.train), len(splits.dev)) == (6 * len(train), 0)


# Stored outputs


def test_a_run_killed_while_outputs_are_computed_resumes_with_those_on_disk(
    folder, tiny_llama_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(outputs_on_disk, "_FILE_WORDS", 60)
    config = recipe(folder, tiny_llama_folder)
    train(config, tmp_path / "whole")
    compute, asked = outputs_on_disk.predict_log_probs, []

    def killed(teacher, labeler, examples):
        asked.append(len(examples))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return compute(teacher, labeler, examples)

    monkeypatch.setattr(outputs_on_disk, "predict_log_probs", killed)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "killed")
    train(config, tmp_path / "killed")
    whole, resumed = (RunFolder(tmp_path / name).teacher_outputs for name in ("whole", "killed"))
    files = {name.relative_to(whole): name.read_bytes() for name in whole.rglob("*.safetensors")}
    assert files == {name.relative_to(resumed): name.read_bytes() for name in resumed.rglob("*.safetensors")}
    # One of the parts was asked for twice.
    assert len(asked) == len(files) + 1
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_complete_outputs_need_no_teacher(folder, tmp_path, monkeypatch):
    ensemble = Ensemble.of(recipe(folder, "x", distill={"cache": str(tmp_path / "cache")}), tmp_path / "out")
    texts = [Example(words) for words in sentences(5)]
    before = ensemble.log_probs(texts, tmp_path / "out")
    monkeypatch.setattr(outputs_on_disk, "open_labeler", None)
    after = ensemble.log_probs(texts[::-1], tmp_path / "other")
    assert all(np.array_equal(*pair) for pair in zip(before, after[::-1], strict=True))


def test_a_student_that_cannot_be_trained_is_refused_before_its_teachers_read(
    folder, tiny_gpt2_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(outputs_on_disk, "open_labeler", None)
    with pytest.raises(ConfigError, match="has positions for 512 tokens"):
        train(recipe(folder, tiny_gpt2_folder, max_tokens=1000), tmp_path / "out")
    assert not [*tmp_path.rglob("*.safetensors")]


def test_a_changed_text_or_teacher_has_outputs_of_its_own(folder, tiny_llama_folder, tmp_path):
    config = recipe(folder, "x", distill={"cache": str(tmp_path)})
    text = Example(tuple(WORDS[:4]))
    longer = Example(tuple(WORDS[:5]))
    tiny_labeler(tiny_llama_folder, plan="full", adapter="head").save_pretrained(tmp_path / "t")
    config = recipe(folder, "x", distill={"teachers": str(tmp_path / "t"), "cache": str(tmp_path / "cache")})
    before = Ensemble.of(config, tmp_path / "o").log_probs([text, longer], tmp_path / "o")
    assert [len(rows) for rows in before] == [4, 5]
    tiny_labeler(tiny_llama_folder, plan="full", adapter="head", seed=5).save_pretrained(tmp_path / "t")
    (after,) = Ensemble.of(config, tmp_path / "o").log_probs([text], tmp_path / "o")
    np.testing.assert_allclose(
        np.exp(after.astype(float)), teacher_probs(tmp_path, [text.words], "t")[0], atol=1e-3
    )
    assert not np.array_equal(before[0], after)


@pytest.mark.parametrize("damage", [lambda b: b[:-40], lambda b: b"", lambda b: b"{" + b[1:]])
def test_damaged_outputs_are_computed_again(folder, tmp_path, damage):
    ensemble = Ensemble.of(recipe(folder, "x"), tmp_path / "out")
    before = ensemble.log_probs([Example(tuple(WORDS))], tmp_path / "out")
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(damage(file.read_bytes()))
    after = ensemble.log_probs([Example(tuple(WORDS))], tmp_path / "out")
    np.testing.assert_array_equal(before, after)


def test_a_folder_does_not_resume_with_another_teacher(folder, tmp_path):
    config = recipe(folder, "x")
    RunFolder.of_seed(tmp_path, 0).path.mkdir()
    claim_folder(tmp_path, config, {}, {"one": "digest"})
    claim_folder(tmp_path, config, {}, {"one": "digest"})
    with pytest.raises(DataError, match=r"holds a run on other data \(teacher one\)"):
        claim_folder(tmp_path, config, {}, {"one": "changed"})


def test_outputs_that_are_too_large_are_refused_before_the_teacher_is_loaded(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(outputs_on_disk, "open_labeler", None)
    config = recipe(folder, "x", distill={"cache_gb": 1e-8})
    with pytest.raises(DataError, match=r"18 words x 5 tags.*distill.cache_gb = 1e-08\. Set a larger"):
        Ensemble.of(config, tmp_path).log_probs([Example(tuple(WORDS))], tmp_path)


# Text


def test_json_records_with_a_text_alone_are_raw_text(tmp_path):
    file = tmp_path / "raw.jsonl"
    file.write_text('{"text": "Ada was born."}\n{"text": " "}\n{"text": "in London", "id": 3}\n')
    assert [example.words for example in read_unlabeled(str(file))] == [
        ("Ada", "was", "born", "."),
        ("in", "London"),
    ]
    file.write_text('{"text": "Ada"}\n{"txt": "London"}\n')
    with pytest.raises(DataError, match="keys"):
        read_unlabeled(str(file))


def test_labeled_texts_of_classification_are_texts(tmp_path):
    (tmp_path / "train.tsv").write_text("text\tlabel\nAda was born\tlife\n")
    (example,) = read_unlabeled(str(tmp_path / "train.tsv"), options=ReadOptions(task="classification"))
    assert (example.words, example.text_labels) == (("Ada", "was", "born"), ())


def test_labeled_sentences_keep_their_words_and_lose_their_labels(tmp_path):
    file = tmp_path / "train.conll"
    file.write_text("don't\tB-LOC\nU.K.-based\tO\n")
    (example,) = read_unlabeled(str(file))
    assert (example.words, example.spans) == (("don't", "U.K.-based"), ())


# What is refused


@pytest.mark.parametrize(
    ("keys", "error", "said"),
    [
        ({"teachers": ("missing",)}, ModelError, "missing': no such folder"),
        ({"teachers": ("run",)}, ModelError, r"not a saved labeler\. Name its labeler: .*run/seed-0/labeler"),
        (
            {"teachers": ("one", "other")},
            ConfigError,
            "different tags: only B-PER, I-PER and only B-ORG, I-ORG",
        ),
        ({"teachers": ("one", "twin")}, ConfigError, "are the same labeler"),
        ({"distill": {"texts": []}}, ConfigError, "no text to distill on"),
        ({"distill": {"texts": "EMPTY"}}, DataError, "no text in it"),
        ({"distill": {"texts": "ONE"}}, DataError, "1 text; two or more"),
        (
            {"distill": {"texts": "DEV"}, "data": {"dev": "DEV"}},
            ConfigError,
            "distill.texts = .*dev or test data",
        ),
        (
            {"scheme": "IOBES"},
            ConfigError,
            r"scheme = 'IOBES': the teacher .* has 'IOB2'.*Set scheme = 'IOB2'",
        ),
        ({"task": "classification"}, ConfigError, "task = 'classification': the teacher"),
        ({"head": {"kind": "crf"}}, ConfigError, "head.kind = 'crf': the soft loss needs"),
        (
            {"method": "search", "data": {"train": "DEV"}},
            ConfigError,
            r"method = 'search' with the section \[distill\]",
        ),
        ({"data": {"train": "ORG", "dev": "DEV"}}, DataError, "label 'ORG' .* not a label of the teachers"),
    ],
)
def test_what_cannot_be_distilled(folder, tiny_llama_folder, tmp_path, keys, error, said):
    (tmp_path / "EMPTY.jsonl").write_text('{"text": " "}')
    (folder / "run" / "seed-0" / "labeler").mkdir(parents=True, exist_ok=True)
    (tmp_path / "ONE.txt").write_text("Ada was born\n")
    (tmp_path / "DEV.conll").write_text("London\tB-LOC\n\nAda\tO\n")
    (tmp_path / "ORG.conll").write_text("Toyota\tB-ORG\n\nAda\tO\n")
    files = {file.stem: str(file) for file in tmp_path.iterdir()}
    filled = json.loads(
        json.dumps(keys), object_hook=lambda d: {k: files.get(str(v), v) for k, v in d.items()}
    )
    with pytest.raises(error, match=said):
        train(recipe(folder, tiny_llama_folder, **filled), tmp_path / "out")


def test_a_student_with_labels_of_its_own():
    soft = SoftTargets(("LOC", "PER"), [], 0, SoftLoss(1.0, 1.0))
    soft.require_labels(["PER", "LOC"])
    with pytest.raises(
        ConfigError, match=r"start.labeler: it has the label 'ORG', which the teachers do not"
    ):
        soft.require_labels(["LOC", "ORG", "PER"])


def test_a_method_without_its_section():
    with pytest.raises(ConfigError, match="method = 'distill' needs teachers"):
        train(parse_config({"method": "distill", "data": {"train": "wnut17"}}), "unused")


@pytest.mark.parametrize("out", ["run", "run/seed-0/labeler", "run/seed-0/labeler/student"])
def test_a_student_is_not_written_into_its_teacher(folder, tiny_llama_folder, tmp_path, out):
    teacher = tmp_path / "run" / "seed-0" / "labeler"
    tiny_labeler(tiny_llama_folder).save_pretrained(teacher)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match=r"into the same folder.*another --out"):
        train(recipe(folder, tiny_llama_folder, distill={"teachers": str(teacher)}), tmp_path / out)
    assert sorted(tmp_path.rglob("*")) == before


def test_texts_are_not_held_out_and_trained_on(folder, tmp_path):
    (tmp_path / "t.txt").write_text("\n".join(["Ada was born", "in London", "the fox"] * 4))
    texts = read_distill_texts(recipe(folder, "x", distill={"texts": str(tmp_path / "t.txt")}))
    rest, aside = divide(texts, hold_out_dev=True)
    assert (len(texts), len(rest), len(aside)) == (12, 8, 1)
    with pytest.raises(DataError, match="all texts are equal"):
        divide([texts[0]] * 3, hold_out_dev=True)


def test_few_held_out_texts_do_not_choose_the_epoch(folder, tiny_llama_folder, tmp_path, progress):
    """Forty texts; ten of them are scored, once."""
    config = recipe(folder, tiny_llama_folder, training={**TRAINING, "patience": 1, "evals_per_epoch": 3})
    (run,) = train(config, tmp_path)
    assert len(run.history.steps) == 1
    assert any("10 texts are held out, too few to choose" in line for line in progress())
    averaged = recipe(folder, tiny_llama_folder, training={**TRAINING, "average_evals": 2})
    with pytest.raises(ConfigError, match=r"training\.average_evals.*data\.dev"):
        train(averaged, tmp_path / "averaged")


# The command


def test_the_command_takes_the_scheme_of_the_teacher(folder, tiny_llama_folder, tmp_path, monkeypatch):
    tiny_labeler(tiny_llama_folder, scheme="IOBES").save_pretrained(tmp_path / "t")
    recipes = []
    monkeypatch.setattr("lookboth.training.train", lambda config, *_, **__: recipes.append(config) or [])
    command = ["distill", str(tmp_path / "t"), str(folder / "one"), "--texts", "a.txt", "--texts", "b.txt"]
    command += ["--data", "wnut17", "--model", "gpt2", "--plan", "full", "--set", "distill.weight=0.5"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, (done.output, done.exception)
    (found,) = recipes
    assert (found.method, found.scheme, found.plan, found.model) == ("distill", "IOBES", "full", "gpt2")
    assert found.distill.teachers == (str(tmp_path / "t"), str(folder / "one"))
    assert (found.distill.texts, found.distill.weight) == (("a.txt", "b.txt"), 0.5)
    assert found.data.train == ("wnut17",)


def test_the_command_without_text_says_what_to_type(folder):
    done = CliRunner().invoke(app, ["distill", str(folder / "one")])
    assert "no text to distill on" in str(done.exception)
