"""Training a saved labeler further: nothing is lost at the start, and the recipe cannot contradict the labeler."""

import json
import shutil

import numpy as np
import pytest
from tiny import tiny_labeler

from lookboth import Labeler, train
from lookboth.config import parse_config
from lookboth.errors import ConfigError, DataError, ModelError
from lookboth.run_folder import RunFolder
from lookboth.training.continuation import continued
from lookboth.training.labeler_building import build_labeler
from lookboth.training.run_finishing import labels_of
from lookboth.training.splits import read_splits

OLD = "Ada B-PER\nlived O\nin O\nLondon B-LOC\n\nBabbage B-PER\nworked O\n\n"
NEW = "Toyota B-ORG\nopened O\nin O\nNew B-LOC\nYork I-LOC\n\nit O\nsaid O\n\n"
TEXTS = [("Ada", "lived", "near", "New", "York"), ("it", "said"), ("Toyota",)]
TRAINING = {"epochs": 1, "lr": 1e-3, "precision": "fp32"}


def write_data(folder):
    """Write the data of the first and of the second training."""
    for name, text in (("old", OLD), ("new", NEW)):
        (folder / name).mkdir()
        for split in ("train", "dev"):
            (folder / name / f"{split}.conll").write_text(text, encoding="utf-8")


@pytest.fixture
def data(tmp_path):
    write_data(tmp_path)
    return tmp_path


def first_labeler(data, model, **keys):
    """Train the labeler that is continued; return its folder."""
    recipe = {"model": str(model), "data": {"train": str(data / "old")}, "training": TRAINING, **keys}
    (run,) = train(parse_config(recipe), data / "first")
    return RunFolder(run.folder).labeler


@pytest.fixture(scope="module")
def a_labeler(tmp_path_factory, tiny_llama_folder):
    """The folder of a labeler that no test changes."""
    folder = tmp_path_factory.mktemp("labeler")
    write_data(folder)
    return first_labeler(folder, tiny_llama_folder)


def recipe(data, start, **keys):
    return {
        "start": {"labeler": str(start)},
        "data": {"train": str(data / "new")},
        "training": TRAINING,
        **keys,
    }


@pytest.mark.parametrize(
    "keys",
    [
        {"plan": "0011", "repetition": 1, "prefix_each_copy": True, "leading_space": False},
        {"adapter": {"kind": "full"}, "head": {"kind": "crf"}, "scheme": "IOBES"},
        {"adapter": {"kind": "head"}, "head": {"kind": "context_gate", "layers": "mix"}},
        {"adapter": {"kind": "lora", "rank": 3, "layers": "top:1", "dora": True}, "exit_layer": 2},
        {"head": {"bias": False}, "label_on": "mean", "adapter": {"target_modules": ["q_proj"]}},
    ],
)
def test_old_tags_have_the_same_scores_before_the_first_step(data, tiny_llama_folder, keys):
    saved = Labeler.from_pretrained(
        first_labeler(data, tiny_llama_folder, **keys), device="cpu", precision="fp32"
    )
    config = continued(parse_config(recipe(data, data / "first" / "seed-0" / "labeler")))
    fresh = build_labeler(config, labels=["ORG", "LOC"], device="cpu")
    assert fresh.config.labels == ("LOC", "ORG", "PER")
    assert (fresh.config.plan, fresh.config.encoding) == (saved.config.plan, saved.config.encoding)
    pieces = [saved.encoder.encode(words) for words in TEXTS]
    places = [fresh.config.tags.index(tag) for tag in saved.config.tags]
    np.testing.assert_allclose(fresh.score(pieces)[:, places], saved.score(pieces), atol=2e-6)
    if keys.get("head", {}).get("kind") == "crf":
        border = [*places, len(fresh.config.tags)]
        steps = fresh.model.head.steps.detach()
        np.testing.assert_array_equal(steps[border][:, border], saved.model.head.steps.detach())


def test_a_nested_head_gets_sequences_for_deeper_spans_and_keeps_its_own(data, tiny_llama_folder):
    saved = first_labeler(data, tiny_llama_folder, head={"kind": "nested", "depth": 2})
    deep = [[0, 20, "ORG"], [4, 20, "ORG"], [12, 20, "ORG"]]
    for split in ("train", "dev"):
        (data / "new" / f"{split}.conll").unlink()
        lines = json.dumps({"text": "The Bank of New York", "spans": deep})
        (data / "new" / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    with pytest.raises(DataError, match=r"Type: --set head\.depth=3"):
        train(parse_config(recipe(data, saved)), data / "second")
    (run,) = train(parse_config(recipe(data, saved, head={"depth": 3})), data / "third")
    assert {tag for tag in run.labeler.config.tags if tag.startswith("B3")} == {"B3-LOC", "B3-ORG", "B3-PER"}
    old = Labeler.from_pretrained(saved, device="cpu", precision="fp32")
    config = continued(parse_config(recipe(data, saved, head={"depth": 3})))
    fresh = build_labeler(config, labels=["ORG"], device="cpu")
    pieces = [old.encoder.encode(words) for words in TEXTS]
    places = [fresh.config.tags.index(tag) for tag in old.config.tags]
    np.testing.assert_allclose(fresh.score(pieces)[:, places], old.score(pieces), atol=2e-6)
    with pytest.raises(ConfigError, match=r"head\.depth = 1.*train a new labeler, without start\.labeler"):
        continued(parse_config(recipe(data, saved, head={"depth": 1})))


def test_new_and_absent_labels_and_those_that_differ_in_case_are_logged(data, a_labeler, progress):
    config = continued(parse_config(recipe(data, a_labeler)))
    build_labeler(config, labels=["ORG", "per"], device="cpu")
    assert "labels new: ORG, per; kept, but not in the data: LOC, PER" in progress()
    assert any("--set data.label_map.per=PER" in line for line in progress())


def test_a_continued_labeler_learns_new_labels_and_is_saved(data, tiny_llama_folder):
    start = first_labeler(data, tiny_llama_folder, plan="0011", adapter={"kind": "lora", "layers": "top:2"})
    training = {**TRAINING, "epochs": 40, "lr": 1e-2, "evals_per_epoch": 0}
    (run,) = train(parse_config(recipe(data, start, training=training)), data / "second")
    again = Labeler.from_pretrained(RunFolder(run.folder).labeler)
    assert again.config.labels == ("LOC", "ORG", "PER")
    (found,) = again.predict_words([("Toyota", "opened", "in", "New", "York")])
    assert [span.label for span in found.spans] == ["ORG", "LOC"]
    # The recipe in run.json repeats the run.
    assert parse_config(run.labeler.config.scores["recipe"]).start.labeler == str(start)
    assert continued(parse_config(run.labeler.config.scores["recipe"])).plan == "0011"


def test_a_labeler_that_has_the_tokenizer_of_its_base_is_continued(data, a_labeler, tmp_path):
    # The shipped labelers have none of their own.
    start = tmp_path / "shipped"
    shutil.copytree(a_labeler, start, ignore=shutil.ignore_patterns("tokenizer*", "*.jinja"))
    (run,) = train(parse_config(recipe(data, start)), data / "second")
    assert "ORG" in Labeler.from_pretrained(RunFolder(run.folder).labeler).config.labels


def test_the_outputs_of_the_old_labeler_keep_what_the_new_data_do_not_have(data, tiny_llama_folder):
    keys = {"plan": "full", "adapter": {"kind": "head"}}
    learning = {**TRAINING, "epochs": 40, "lr": 0.05, "evals_per_epoch": 0, "head_dropout": 0}
    start = first_labeler(data, tiny_llama_folder, training=learning, **keys)
    # Only ORG is annotated in the new data, also where old labels occur.
    for split in ("train", "dev"):
        text = "Toyota B-ORG\nopened O\nin O\nLondon O\n\nAda O\nsaid O\n\n"
        (data / "new" / f"{split}.conll").write_text(text, encoding="utf-8")
    section = {"teachers": str(start), "weight": 0.5}
    annotated = {str(data / "new"): ["ORG"]}
    config = recipe(data, start, training=learning, distill=section)
    config["data"] |= {"annotated": annotated, "test": []}
    (run,) = train(parse_config(config), data / "second")
    assert run.labeler.config.labels == ("LOC", "ORG", "PER")
    found = run.labeler.predict_words(
        [("Toyota", "opened", "in", "London"), ("Ada", "lived", "in", "London")]
    )
    assert [[(span.label, span.text) for span in one.spans] for one in found] == [
        [("ORG", "Toyota"), ("LOC", "London")],
        [("PER", "Ada"), ("LOC", "London")],
    ]


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"scheme": "IOBES"}, "scheme = 'IOBES'"),
        ({"adapter": {"rank": 4}}, "adapter.rank = 4"),
        ({"adapter": {"layers": "top:1"}}, "adapter.layers = 'top:1'"),
        ({"model": "gemma3-270m"}, "model = 'gemma3-270m'"),
        ({"method": "search"}, "method = 'search'"),
    ],
)
def test_a_contradicting_recipe_is_refused(data, a_labeler, keys, named):
    with pytest.raises(ConfigError, match="labeler") as error:
        continued(parse_config(recipe(data, a_labeler, **keys)))
    assert named in str(error.value)


def test_another_base_under_the_same_name_is_refused(data, tiny_llama_folder, tmp_path_factory):
    from tiny import save_tiny_model

    own = save_tiny_model(tmp_path_factory.mktemp("base") / "model", "llama")
    start = first_labeler(data, own)
    config = continued(parse_config(recipe(data, start)))
    save_tiny_model(own, "gpt2")
    with pytest.raises(ModelError, match="fingerprint"):
        build_labeler(config, labels=["ORG"], device="cpu")


def test_what_is_not_a_labeler_with_a_head_is_refused(data, tmp_path):
    with pytest.raises(ModelError, match="no such folder"):
        continued(parse_config(recipe(data, tmp_path / "nothing")))


def test_rehearsal_adds_old_sentences_to_the_new_ones(data):
    start = {"labeler": "shipped", "rehearsal": str(data / "old"), "rehearsal_share": 0.5}
    splits = read_splits(parse_config({"start": start, "data": {"train": str(data / "new")}}))
    words = [example.words[0] for example in splits.train]
    assert words[:2] == ["Toyota", "it"]
    assert len(words) == 3
    assert words[2] in {"Ada", "Babbage"}


# An ordinary labeler from an open one


@pytest.fixture(scope="module")
def an_open_labeler(tmp_path_factory, tiny_llama_folder):
    """The folder of an open labeler that no test changes."""
    folder = tmp_path_factory.mktemp("open")
    write_data(folder)
    keys = {"plan": "0011", "repetition": 1, "adapter": {"kind": "lora", "rank": 3}}
    return first_labeler(folder, tiny_llama_folder, head={"kind": "open"}, **keys)


def test_an_ordinary_labeler_begins_at_the_label_vectors_of_an_open_one(data, an_open_labeler, progress):
    (data / "new" / "labels.toml").write_text('ORG = "a firm"', encoding="utf-8")
    labels = {"LOC": "a town", "DATE": "a day"}
    training = {**TRAINING, "head_dropout": 0.25}
    config = continued(
        parse_config(recipe(data, an_open_labeler, head={"kind": "linear"}, labels=labels, training=training))
    )
    assert continued(config) == config
    splits = read_splits(config)
    # The labels of the data and those of the recipe; not PER, which only the open labeler was trained on.
    made = build_labeler(config, labels=labels_of(splits.train), device="cpu")
    assert made.config.labels == ("DATE", "LOC", "ORG")
    lines = [line for line in progress() if line.startswith("labels")]
    assert lines == ["labels, which begin at their vectors: DATE: a day; LOC: a town; ORG: a firm"]
    assert (made.config.head.kind, made.config.label_texts) == ("linear", ())
    assert (str(made.config.plan), made.config.encoding.repetition) == ("0011", 1)
    assert made.model.dropout.p == 0.25
    assert made.model.training
    saved = Labeler.from_pretrained(an_open_labeler, device="cpu", precision="fp32", merge=False)
    named = saved.with_labels(["LOC: a town", "DATE: a day", "ORG: a firm"])
    pieces = [saved.encoder.encode(words) for words in TEXTS]
    np.testing.assert_allclose(made.score(pieces), named.score(pieces), atol=2e-6)


def test_an_open_labeler_without_texts_of_its_labels_keeps_them_when_it_learns_new_ones(
    data, tiny_llama_folder
):
    tiny_labeler(tiny_llama_folder, head={"kind": "open"}).save_pretrained(data / "old")
    config = continued(parse_config(recipe(data, data / "old")))
    made = build_labeler(config, labels=["ORG"], label_texts=["ORG: a firm"], device="cpu")
    assert made.config.known_labels == ("LOC", "ORG: a firm", "PER")
    assert made.predict_words(TEXTS[:1])[0].tags


def test_an_open_labeler_trained_as_an_ordinary_one_is_saved_as_one(data, an_open_labeler):
    training = {**TRAINING, "epochs": 60, "lr": 1e-2, "evals_per_epoch": 0}
    config = parse_config(recipe(data, an_open_labeler, head={"kind": "linear"}, training=training))
    (run,) = train(config, data / "second")
    again = Labeler.from_pretrained(RunFolder(run.folder).labeler)
    assert again.config.labels == ("LOC", "ORG")
    assert not again.takes_labels
    (found,) = again.predict_words([("Toyota", "opened", "in", "New", "York")])
    assert [span.label for span in found.spans] == ["ORG", "LOC"]


def test_other_heads_do_not_begin_at_label_vectors(data, an_open_labeler, a_labeler):
    with pytest.raises(ConfigError, match=r"head\.kind = 'crf'.*or set it to 'linear'"):
        continued(parse_config(recipe(data, an_open_labeler, head={"kind": "crf"})))
    with pytest.raises(ConfigError, match=r"head\.kind = 'open'.*Leave the key out, or train"):
        continued(parse_config(recipe(data, a_labeler, head={"kind": "open"})))
    unlabeled = data / "unlabeled.conll"
    unlabeled.write_text("it O\nsaid O\n\nso O\n", encoding="utf-8")
    none = {**recipe(data, an_open_labeler, head={"kind": "linear"}), "data": {"train": str(unlabeled)}}
    with pytest.raises(DataError, match=r"no sentence has a label.*\[labels\]"):
        train(parse_config(none), data / "none")
    with pytest.raises(ModelError, match=r"a saved labeler.*--start"):
        train(parse_config({"model": str(an_open_labeler), "data": {"train": str(data / "new")}}), data / "x")
    # Without the key the labeler stays open.
    assert continued(parse_config(recipe(data, an_open_labeler))).head.kind == "open"


def test_a_labeler_of_whole_texts_is_continued(tmp_path, tiny_llama_folder):
    settings = {"task": "classification", "training": TRAINING, "data": {"train": "x"}}
    config = parse_config({"model": str(tiny_llama_folder), **settings})
    build_labeler(config, labels=["joy", "fear"], device="cpu").save_pretrained(tmp_path)
    again = continued(parse_config({"start": {"labeler": str(tmp_path)}, "data": {"train": "x"}}))
    assert (again.task, again.model) == ("classification", str(tiny_llama_folder))
