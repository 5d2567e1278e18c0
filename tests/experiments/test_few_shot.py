"""Few-shot trainings and the annotation loop on a tiny open labeler: what is trained, skipped and written."""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lookboth.config import parse_config
from lookboth.training import train

ROOT = Path(__file__).parents[2]
NAMES = ("Ada", "Babbage", "Toyota", "London", "York", "Charles", "Lovelace", "Monday")


def script(name, monkeypatch):
    spec = importlib.util.spec_from_file_location(name, ROOT / "experiments" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def task(tmp_path_factory, tiny_llama_folder):
    """A folder with data of two labels and an open labeler that was trained on another data set."""
    folder = tmp_path_factory.mktemp("few")
    for name, labels in (("first", ("thing", "day")), ("second", ("person", "place"))):
        (folder / name).mkdir()
        for split in ("train", "test"):
            sentences = [f"{word} B-{labels[i % 2]}\nsaid O\n{i} O\n\n" for i, word in enumerate(NAMES)]
            (folder / name / f"{split}.conll").write_text("".join(sentences), encoding="utf-8")
    (folder / "second" / "labels.toml").write_text('person = "a human being"', encoding="utf-8")
    recipe = {
        "model": str(tiny_llama_folder),
        "plan": "0011",
        "data": {"train": str(folder / "first"), "dev": f"{folder / 'first'}:train", "test": []},
        "head": {"kind": "open"},
        "adapter": {"rank": 3},
        "training": {"epochs": 1},
    }
    train(parse_config(recipe), folder / "open")
    return folder


def run(module, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["script", *map(str, arguments)])
    module.main()


def test_every_way_is_trained_once_and_the_table_has_the_means(task, tmp_path, monkeypatch, capsys):
    few_shot = script("few_shot", monkeypatch)
    out, labeler = tmp_path / "few_shot", task / "open" / "seed-0" / "labeler"
    arguments = (
        labeler, "--data", task / "second", "--out", out, "--sizes", 3, "--draws", 1, "--epochs", 1, "--test",
        "test[:4]",
    )  # fmt: skip
    run(few_shot, monkeypatch, *arguments)
    assert "| second | 3 |" in capsys.readouterr().out
    rows = few_shot.read_rows(out)
    assert {(row.trial.way, row.trial.sentences) for row in rows} == {("named", 0), ("open", 3), ("fresh", 3)}
    assert len(rows) == 3
    stored = json.loads((out / "second" / "fresh" / "3-0" / "run.json").read_text())["config"]
    assert (stored["plan"], stored["adapter"]["rank"], stored["start"]) == ("0011", 3, None)
    assert (stored["data"]["max_train_sentences"], stored["training"]["evals_per_epoch"]) == (3, 0)
    # Finished runs are skipped, and weights are not kept.
    monkeypatch.setattr(few_shot, "train", lambda *_: pytest.fail("trained again"))
    run(few_shot, monkeypatch, *arguments)
    assert not list(tmp_path.rglob("*.safetensors"))
    run(few_shot, monkeypatch, "--table", out)


def test_sift_shows_the_same_sentences_and_folds_replace_dev_data(task, monkeypatch):
    few_shot = script("few_shot", monkeypatch)
    labeler = task / "open" / "seed-0" / "labeler"
    trial = few_shot.Trial("crossner_ai", "sift", 5, 1)
    sift = parse_config(few_shot.settings_of(trial, labeler, "test", {"epochs": 2, "folds": 4}))
    assert (sift.method, sift.generative.k, sift.plan) == ("sift", 4, None)
    assert sift.data.sample_seed == 1
    assert sift.data.max_train_sentences == sift.data.max_dev_sentences == 5
    assert sift.data.dev == ("crossner_ai:train",)
    trial = few_shot.Trial("crossner_ai", "open", 5, 1)
    opened = parse_config(few_shot.settings_of(trial, labeler, "test", {"epochs": 2, "folds": 4}))
    head = few_shot.settings_of(trial._replace(way="head"), labeler, "test", {"epochs": 2})
    assert parse_config(head).adapter.start_from == str(labeler / "adapter")
    assert (opened.data.dev, opened.training.folds, opened.head.kind) == ((), 4, "linear")


def test_the_loop_annotates_reviews_trains_and_draws_its_curve(task, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib").use("Agg")
    loop = script("loop", monkeypatch)
    monkeypatch.setattr(loop, "CHOICES", ("suggest",))
    out, labeler = tmp_path / "loop", task / "open" / "seed-0" / "labeler"
    run(
        loop, monkeypatch, labeler, "--data", task / "second", "--out", out, "--rounds", 1, "--size", 2, "--errors",
        1, "--set", "training.epochs=1", "--set", "training.folds=2",
    )  # fmt: skip
    rounds = json.loads((out / "loop.json").read_text())
    assert [(one["choice"], one["sentences"]) for one in rounds] == [("suggest", count) for count in (0, 2)]
    # Every annotation was wrong; those that the review found are right again.
    assert all(one["errors"] <= one["sentences"] for one in rounds)
    assert any(one["corrected"] for one in rounds)
    assert (out / "loop.svg").is_file()
    assert loop.choose(loop_task(loop, task), None, {0: None}, "random", 1) in ([1, 2], [2, 1])
    lines = (out / "suggest" / "round-1" / "annotated.jsonl").read_text().splitlines()
    assert len(lines) == 2


def loop_task(loop, task):
    """Return a task with a pool of three sentences."""
    made = loop.load_task(task / "open", str(task / "second"), test="test", errors=0.5, size=2, settings=[])
    assert made.labels == ("person: a human being", "place")
    return replace(made, pool=made.pool[:3])


def test_a_review_puts_the_gold_labels_where_a_finding_is(task, monkeypatch):
    from lookboth.audit import Finding
    from lookboth.types import Example, Span

    loop = script("loop", monkeypatch)
    gold = Example(("Ada", "in", "New", "York"), (Span(0, 1, "person"), Span(2, 4, "place")))
    given = Example(gold.words, (Span(3, 4, "person"),))
    finding = Finding(0, "", gold.words, (Span(3, 4, "person"),), (), 1.0)
    assert loop._reviewed(given, gold, finding) == (Span(2, 4, "place"),)
    missed = Finding(0, "", gold.words, (), (Span(0, 2, "place"),), 1.0)
    assert loop._reviewed(given, gold, missed) == (Span(0, 1, "person"), Span(3, 4, "person"))
