"""Data sets that annotate different labels: what is trained, scored and refused."""

import pytest
import torch
from tiny import CORPUS, tiny_labeler

from lookboth.config import parse_config, require_supported
from lookboth.data.packing import build_batch
from lookboth.errors import ConfigError, DataError
from lookboth.evaluation.command import evaluate_on
from lookboth.evaluation.evaluate import evaluate_labeler
from lookboth.training.annotated_labels import possible_tags
from lookboth.training.batches import tokenize_examples
from lookboth.training.splits import read_splits
from lookboth.training.training_runs import train
from lookboth.types import Example, Span

TAGS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
WORDS = ("Ada lived in London", "Babbage worked in York", "Ada opened it", "nobody said London")
PEOPLE, PLACES = {"Ada", "Babbage"}, {"London", "York"}


def conll(people=True, places=True):
    """Return the same sentences with one or both labels annotated."""
    known = dict.fromkeys(PEOPLE, "B-PER") if people else {}
    known |= dict.fromkeys(PLACES, "B-LOC") if places else {}
    return "".join(
        "".join(f"{word} {known.get(word, 'O')}\n" for word in text.split()) + "\n" for text in WORDS
    )


@pytest.fixture
def data(tmp_path):
    """Two sources that annotate one label each, and one that annotates both."""
    shown = {"people": (True, False), "places": (False, True), "both": (True, True)}
    for name, which in shown.items():
        (tmp_path / f"{name}.conll").write_text(conll(*which), encoding="utf-8")
    return {name: str(tmp_path / f"{name}.conll") for name in shown}


def recipe(data, annotated, **keys):
    sources = {"train": [data["people"], data["places"]], "dev": data["both"], "test": []}
    return parse_config({"data": {**sources, "annotated": annotated}, **keys})


def half(data):
    """Return what the three sources annotate."""
    return {data["people"]: ["PER"], data["places"]: ["LOC"], data["both"]: "all"}


def test_words_without_label_may_have_the_labels_of_other_sources(data, tiny_llama_folder):
    config = recipe(data, half(data))
    splits = read_splits(config)
    assert [example.label_set for example in splits.train] == [("PER",)] * 4 + [("LOC",)] * 4
    assert {example.label_set for example in splits.dev} == {()}
    labeler = tiny_labeler(tiny_llama_folder)
    pieces = tokenize_examples(splits.train, labeler.encoder, tags=TAGS, config=config)
    assert (pieces[0].labels, pieces[4].labels) == ((3, 5, 5, 5), (6, 6, 6, 1))
    assert possible_tags(config, TAGS) == [
        [True, True, True, False, False],
        [True, False, False, True, True],
    ]


@pytest.mark.parametrize("kind", ["linear", "context_gate"])
def test_the_gradient_leaves_open_which_of_the_possible_tags_it_is(tiny_llama_folder, kind):
    labeler = tiny_labeler(tiny_llama_folder, head={"kind": kind})
    head = labeler.model.head
    head.allow_tags([[True, True, True, False, False]])
    scores = torch.randn(3, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = head.loss(scores, torch.tensor([3, 5, -100]), torch.tensor([3]))
    loss.backward()
    probs = scores.detach().softmax(-1)
    assert float(loss.detach()) == pytest.approx(
        float(-probs[0, 3].log() - probs[1, :3].sum().log()), rel=1e-5
    )
    wanted = probs.clone()
    wanted[0, 3] -= 1
    wanted[1, :3] -= probs[1, :3] / probs[1, :3].sum()
    wanted[2] = 0
    assert torch.allclose(scores.grad, wanted, atol=1e-6)
    head.allow_tags([])
    assert torch.isfinite(head.loss(scores, torch.tensor([3, 0, -100]), torch.tensor([3])))


def test_two_half_annotated_sources_train_both_labels(data, tiny_llama_folder, tmp_path):
    keys = {
        "model": str(tiny_llama_folder),
        "plan": "full",
        "adapter": {"kind": "head"},
        "training": {"epochs": 30, "lr": 0.1, "precision": "fp32", "evals_per_epoch": 0, "head_dropout": 0},
    }
    (run,) = train(recipe(data, half(data), **keys), tmp_path / "marginal")
    assert run.dev.scores.headline == 1.0
    assert min(span.score for found in run.dev.predictions for span in found.spans) > 0.9
    (plain,) = train(recipe(data, {}, **keys), tmp_path / "plain")
    # The same word with and without label: neither can be certain.
    assert max((span.score for found in plain.dev.predictions for span in found.spans), default=0) < 0.8


def test_a_source_is_scored_on_its_labels_only(tiny_llama_folder):
    labeler = tiny_labeler(tiny_llama_folder)
    words = tuple(" ".join(CORPUS).split())
    (found,) = labeler.predict_words([words])
    (label,) = {span.label for span in found.spans}
    other = {"LOC": "PER", "PER": "LOC"}[label]
    gold = tuple(Span(*span[:3]) for span in found.spans)
    for label_set, kept in (
        ((label,), True),
        ((other,), False),
        ((f"{other}: described", label), True),
        ((), True),
    ):
        evaluation = evaluate_labeler(labeler, [Example(words, gold, label_set=label_set)])
        assert evaluation.scores.headline == float(kept)
        assert bool(evaluation.predictions[0].spans) == kept
        assert (set(evaluation.predictions[0].tags) == {"O"}) != kept


def test_half_annotated_data_are_scored_on_their_labels(data, tiny_llama_folder, tmp_path):
    tiny_labeler(tiny_llama_folder).save_pretrained(tmp_path / "labeler")
    found = evaluate_on(data["people"], str(tmp_path / "labeler"), annotated=["PER"])
    assert {span.label for one in found.predictions for span in one.spans} <= {"PER"}
    assert {span.label for one in found.predictions for span in one.spans} != {
        span.label
        for one in evaluate_on(data["people"], str(tmp_path / "labeler")).predictions
        for span in one.spans
    }
    with pytest.raises(DataError, match=r"people.conll: has the label 'PER'.*--map PER="):
        evaluate_on(data["people"], str(tmp_path / "labeler"), annotated=["LOC"])


def test_labels_that_no_dev_data_annotate_are_named(data, progress):
    sources = {"train": [data["people"], data["places"]], "dev": data["people"], "test": []}
    annotated = {data["people"]: ["PER"], data["places"]: ["LOC"]}
    read_splits(parse_config({"data": {**sources, "annotated": annotated}}))
    assert any("No dev data annotate LOC" in line for line in progress())


def test_a_label_of_a_text_that_is_not_annotated_has_no_loss(tiny_llama_folder):
    config = parse_config(
        {
            "task": "classification",
            "head": {"kind": "multi_label"},
            "data": {"train": "x", "annotated": {"x": ["joy", "fear"]}},
        }
    )
    require_supported(config)
    labeler = tiny_labeler(tiny_llama_folder)
    examples = [Example(("so",), text_labels=("joy",), text="so", label_set=("fear", "joy"))]
    (piece,) = tokenize_examples(examples, labeler.encoder, tags=("anger", "fear", "joy"), config=config)
    assert piece.labels == ((-100, 0, 1),)
    assert build_batch([piece]).labels.tolist() == [[-100, 0, 1]]
    assert possible_tags(config, ("anger", "fear", "joy")) == []


@pytest.mark.parametrize(
    ("change", "error", "named"),
    [
        ({"places": None}, ConfigError, r"does not name the source '.*places.conll'"),
        ({"places": ["PER"]}, DataError, r"places.conll: has the label 'LOC'"),
        ({"elsewhere": ["PER"]}, ConfigError, "names 'elsewhere', which is not a source"),
    ],
)
def test_what_does_not_fit_the_data_is_refused(data, change, error, named):
    annotated = half(data) | {data.get(name, name): labels for name, labels in change.items()}
    annotated = {name: labels for name, labels in annotated.items() if labels is not None}
    with pytest.raises(error, match=named):
        read_splits(recipe(data, annotated))


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"training": {"class_weights": "balanced"}}, "class_weights"),
        ({"training": {"label_smoothing": 0.1}}, "label_smoothing"),
        ({"task": "classification"}, "exactly one label"),
        ({"method": "sift"}, "data.annotated"),
    ],
)
def test_what_cannot_leave_a_label_open_is_refused(data, keys, named):
    with pytest.raises(ConfigError, match=named):
        require_supported(recipe(data, half(data), **keys))


@pytest.mark.parametrize("labels", [[], ["O"], ["PER: a person"]])
def test_names_that_are_no_labels_are_refused(data, labels):
    with pytest.raises(ConfigError, match="name at least one label"):
        recipe(data, {data["people"]: labels})


def test_labels_that_differ_only_in_case_are_named_before_training(tmp_path, progress):
    (tmp_path / "train.conll").write_text("Ada B-PER\nsaw O\nMay B-Per\n\nBob B-PER\n", encoding="utf-8")
    (tmp_path / "dev.conll").write_text("Ada B-PER\n", encoding="utf-8")
    settings = {"data": {"train": str(tmp_path)}, "labels": {"per": "a person"}}
    read_splits(parse_config(settings))
    assert progress()[0].startswith("labels 'PER' (3) and 'Per' (1) and 'per' (0) differ only in letter case")
    settings["data"]["label_map"] = {"Per": "PER"}
    read_splits(parse_config({"data": settings["data"]}))
    assert len(progress()) == 1


def test_labels_that_differ_only_in_case_are_named_when_an_open_labeler_is_scored(
    tiny_llama_folder, tmp_path, progress
):
    tiny_labeler(tiny_llama_folder, head={"kind": "open"}).save_pretrained(tmp_path / "open")
    (tmp_path / "test.conll").write_text("Ada B-PER\nsaw O\nMay B-per\n\nBob B-PER\n", encoding="utf-8")
    evaluation = evaluate_on(str(tmp_path / "test.conll"), model=str(tmp_path / "open"))
    assert {"PER", "per"} <= set(evaluation.scores.per_label)
    assert any(
        "labels 'PER' (2) and 'per' (1) differ" in line and "--map 'per=" in line for line in progress()
    )
