"""Training by writing, end to end on tiny models: it learns, saves, loads, and shows training sentences only."""

from dataclasses import replace

import pytest
import torch

from lookboth.config.recipe_files import parse_config
from lookboth.errors import ConfigError
from lookboth.evaluation.runfile import read_run
from lookboth.generative import prompts
from lookboth.generative.demonstrations import Demonstrations
from lookboth.generative.generative_building import build_generative
from lookboth.generative.generative_labeler import GenerativeLabeler
from lookboth.training.training_runs import train

NAMES, PLACES = ("Ada", "Charles", "Babbage", "Lovelace"), ("London", "York", "north", "house")


def sentences(start):
    for number in range(start, start + 12):
        yield NAMES[number % 4], "was", "born", "in", PLACES[number // 4 % 4], str(number)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for split, start in (("train", 0), ("dev", 100), ("test", 200)):
        rows = [
            f"{w} {'B-PER' if w in NAMES else 'B-LOC' if w in PLACES else 'O'}" if w else ""
            for words in sentences(start)
            for w in (*words, "")
        ]
        (folder / f"{split}.conll").write_text("\n".join(rows), encoding="utf-8")
    return folder


def recipe(model, data, method="sift", *overrides):
    base = {
        "model": str(model),
        "method": method,
        "data": {"train": str(data)},
        "generative": {"k": 2, "format": "pairs", "instruction": False},
        "adapter": {"rank": 4},
        "training": {"precision": "fp32", "epochs": 1, "batch_tokens": 512, "lr": 5e-3},
    }
    return parse_config(base, overrides)


@pytest.mark.parametrize(
    ("method", "overrides"),
    [
        ("sift", ["generative.loss=vanilla", "training.layout=packed", "generative.decoding=free"]),
        ("sift", ["generative.loss=multi", "generative.demonstrations=bm25"]),
        ("sift", ["generative.loss=single", "adapter.kind=full", "training.epochs=1.5"]),
        ("instruction_tuning", ["generative.format=markup", "generative.num_beams=2"]),
        ("instruction_tuning", ["generative.loss=vanilla", "generative.decoding=free"]),
        ("icl", []),
    ],
)
def test_a_run_saves_what_it_scored(tiny_writer_folder, data, tmp_path, monkeypatch, method, overrides):
    shown = set()
    draw = prompts.PromptWriter._prefix, prompts.PromptWriter.training_example
    monkeypatch.setattr(
        prompts.PromptWriter,
        "training_example",
        lambda self, e, d, loss: (shown.update(d), draw[1](self, e, d, loss))[1],
    )
    real = prompts.PromptWriter.prompt
    monkeypatch.setattr(
        prompts.PromptWriter, "prompt", lambda self, w, d=(): (shown.update(d), real(self, w, d))[1]
    )
    config = recipe(tiny_writer_folder, data, method, "generative.max_answer_tokens=40", *overrides)
    run = train(config, tmp_path)[0]
    train_words = set(sentences(0))
    assert {example.words for example in shown} <= train_words
    assert bool(shown) == (method != "instruction_tuning")
    scores = read_run(run.folder).scores
    assert scores["dev"]["answers"]["num_texts"] == 12
    if config.generative.decoding == "constrained":
        assert scores["dev"]["answers"]["unparseable_rate"] == scores["dev"]["answers"]["invented_rate"] == 0
    again = GenerativeLabeler.from_pretrained(
        run.folder / "labeler", device="cpu", precision="fp32", merge=False
    )
    assert isinstance(again, GenerativeLabeler)
    words = list(sentences(200))
    assert (
        again.predict_words(words)
        == run.labeler.predict_words(words)
        == list(run.tests[str(data)].predictions)
    )


@pytest.mark.parametrize(
    ("asked", "used"), [("vanilla", "vanilla"), ("single", "single"), ("multi", "single")]
)
def test_instruction_tuning_learns_the_tokens_asked_for(tiny_writer_folder, data, asked, used):
    """With no demonstrations there is one answer, so that "multi" is "single"."""
    config = recipe(tiny_writer_folder, data, "instruction_tuning", f"generative.loss={asked}")
    labeler = build_generative(config, labels=("LOC", "PER"), pool=[], seed=0, device="cpu")
    assert labeler.config.generative.loss == used
    assert labeler.config.generative.k == 0


def test_sift_learns_the_format(tiny_writer_folder, data, tmp_path):
    config = recipe(
        tiny_writer_folder, data, "sift", "adapter.kind=full", "training.epochs=40", "generative.k=1",
        "training.evals_per_epoch=0", "generative.max_answer_tokens=30", "data.test=[]", "training.lr=0.01",
        "generative.decoding=free",
    )  # fmt: skip
    run = train(config, tmp_path / "sift")[0]
    assert run.dev.scores.headline > 0
    answers = run.dev.extra["answers"]
    assert answers["invented"] > 0  # it has learned to write names, but not yet to copy them
    assert not any(answers[kind] for kind in ("unparseable", "unknown_label", "unfinished"))


def test_constraints_change_no_answer_that_needs_none(tiny_writer_folder, data, tmp_path):
    learned = tmp_path / "data"
    learned.mkdir()
    for split in ("train", "dev"):
        (learned / f"{split}.conll").write_bytes((data / "train.conll").read_bytes())
    config = recipe(
        tiny_writer_folder, learned, "sift", "adapter.kind=full", "training.epochs=40", "generative.k=1",
        "training.evals_per_epoch=0", "generative.max_answer_tokens=30", "data.test=[]", "training.lr=0.01",
        "generative.decoding=free",
    )  # fmt: skip
    run = train(config, tmp_path / "run")[0]
    settings = run.labeler.config.generative.model_copy(update={"decoding": "constrained"})
    same = replace(run.labeler.config, generative=settings)
    constrained = GenerativeLabeler(
        same, run.labeler.model, run.labeler.tokenizer, run.labeler.demonstrations.pool
    )
    words = [prediction.words for prediction in run.dev.predictions]
    pairs = list(zip(run.dev.predictions, constrained.predict_words(words), strict=True))
    clean = [(one, other) for one, other in pairs if not one.problems]
    assert clean
    assert all(one.tags == other.tags for one, other in clean)


def test_a_killed_run_goes_on(tiny_writer_folder, data, tmp_path):
    config = recipe(tiny_writer_folder, data, "sift", "generative.max_answer_tokens=8", "data.test=[]")
    whole = train(config, tmp_path / "whole")[0]
    again = train(config, tmp_path / "whole")[0]  # finds the finished training
    for (name, one), (_, other) in zip(
        whole.labeler.model.language.named_parameters(),
        again.labeler.model.language.named_parameters(),
        strict=True,
    ):
        assert torch.equal(one, other), name


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("plan=full", "causal"),
        ("repetition=1", "has read the whole text"),
        ("adapter.kind=head", "no head to train"),
        ("generative.max_tokens=4096", "takes 512 tokens"),
    ],
)
def test_settings_that_do_not_go_with_writing(tiny_writer_folder, data, tmp_path, override, message):
    with pytest.raises(ConfigError, match=message):
        train(recipe(tiny_writer_folder, data, "sift", override), tmp_path)


def test_an_adapter_that_would_be_ignored_is_refused(tiny_writer_folder, data, tmp_path):
    asked = recipe(tiny_writer_folder, data, "icl", "adapter.start_from=runs/adapted")
    with pytest.raises(ConfigError, match=r"adapter\.start_from cannot be used with method = 'icl'"):
        train(asked, tmp_path)


def test_demonstrations_of_a_run_are_drawn_by_its_seed():
    assert Demonstrations([], recipe("x", "y").generative, seed=1).shared() == []
