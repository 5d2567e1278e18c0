"""Class weights and label smoothing: what they do to the loss, and what is refused."""

import pytest
import torch
from hypothesis import given, settings, strategies as st
from tiny import tiny_labeler

from lookboth.config.recipe_files import parse_config
from lookboth.data.packing import build_batch
from lookboth.errors import ConfigError
from lookboth.training.class_weights import balanced_weights, named_weights, shape_loss
from lookboth.training.training_runs import train

LABELS = ["O", "LOC", "LOC", "PER", "PER"]
SENTENCES = (("Ada", "lived", "in", "London"), ("Toyota",), ("what", "is", "it", "?"))
GOLD = ([1, 0, 0, 3], [1], [0, 0, -100, 4])
ALL_GOLD = [tag for tags in GOLD for tag in tags]


def training(**settings):
    return parse_config({"data": {"train": "x"}, "training": settings}).training


def labeled(labeler):
    return [labeler.encoder.encode(words, labels=tags) for words, tags in zip(SENTENCES, GOLD, strict=True)]


@given(tags=st.lists(st.integers(-1, 4), min_size=1, max_size=50).filter(lambda tags: max(tags) >= 0))
@settings(deadline=None)
def test_balanced_labels_weigh_alike_in_sum_and_words_one_on_average(tags):
    weights = balanced_weights(LABELS, tags)
    known = [tag for tag in tags if tag >= 0]
    sums = {}
    for tag in known:
        sums[LABELS[tag]] = sums.get(LABELS[tag], 0.0) + weights[tag]
    assert len({round(total, 6) for total in sums.values()}) == 1
    assert sum(sums.values()) == pytest.approx(len(known))


def test_named_weights_are_those_of_all_tags_of_a_label():
    assert named_weights(LABELS, {"PER": 3.0, "O": 0.5}) == [0.5, 1.0, 1.0, 3.0, 3.0]
    with pytest.raises(ConfigError, match=r"no label 'B-PER' in the data; allowed are O, LOC, PER"):
        named_weights(LABELS, {"B-PER": 2.0})


@pytest.mark.parametrize("weights", ["none", "balanced", {"PER": 3.0}])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_weighted_smoothed_cross_entropy(tiny_llama_folder, weights, smoothing):
    labeler = tiny_labeler(tiny_llama_folder)
    pieces = labeled(labeler)
    shape_loss(labeler.model.head, training(class_weights=weights, label_smoothing=smoothing), pieces)
    inputs = build_batch(pieces).tensors()
    with torch.no_grad():
        output = labeler.model(**inputs)
    log_probs = output["logits"].log_softmax(-1)
    own = {"none": [1.0] * 5, "balanced": balanced_weights(LABELS, ALL_GOLD)}
    w = torch.tensor(own.get(str(weights)) or named_weights(LABELS, weights))
    rows = [(row, tag) for row, tag in zip(log_probs, ALL_GOLD, strict=True) if tag >= 0]
    hard = sum(float(-w[tag] * row[tag]) for row, tag in rows)
    even = sum(float(-(w * row).mean()) for row, _ in rows)
    expected = ((1 - smoothing) * hard + smoothing * even) / len(rows)
    assert float(output["loss"]) == pytest.approx(expected, rel=1e-4)


def test_batches_of_one_step_add_up_to_the_whole(tiny_llama_folder):
    labeler = tiny_labeler(tiny_llama_folder)
    pieces = labeled(labeler)
    shape_loss(labeler.model.head, training(class_weights="balanced", label_smoothing=0.1), pieces)

    def loss(some):
        with torch.no_grad():
            return float(labeler.model(**build_batch(some).tensors(), num_items_in_batch=8)["loss"])

    assert loss(pieces[:1]) + loss(pieces[1:]) == pytest.approx(loss(pieces), rel=1e-4)


def test_nothing_of_the_loss_is_saved(tiny_llama_folder):
    labeler = tiny_labeler(tiny_llama_folder)
    before = set(labeler.model.head.state_dict())
    shape_loss(labeler.model.head, training(class_weights="balanced"), labeled(labeler))
    assert set(labeler.model.head.state_dict()) == before


@pytest.mark.parametrize("setting", [{"class_weights": "balanced"}, {"label_smoothing": 0.1}])
def test_a_crf_refuses_what_is_meant_for_single_words(tiny_llama_folder, setting):
    labeler = tiny_labeler(tiny_llama_folder, head={"kind": "crf"})
    shape_loss(labeler.model.head, training(), labeled(labeler))
    with pytest.raises(ConfigError, match=r"set head.kind = 'linear'"):
        shape_loss(labeler.model.head, training(**setting), labeled(labeler))


@pytest.mark.parametrize("head", [{"kind": "crf"}, {"kind": "context_gate", "layers": "mix"}])
def test_a_recipe_trains_other_heads(tiny_llama_folder, tmp_path, head):
    from lookboth.labelers.labeler import Labeler

    words = ("Ada", "lived", "in", "London")
    rows = "\n".join(f"{word} {'B-LOC' if word == 'London' else 'O'}" for word in words)
    data = tmp_path / "data"
    data.mkdir()
    for split in ("train", "dev", "test"):
        (data / f"{split}.conll").write_text((rows + "\n\n") * 30, encoding="utf-8")
    weights = {} if head["kind"] == "crf" else {"class_weights": {"LOC": 2.0}, "label_smoothing": 0.05}
    config = parse_config(
        {
            "model": str(tiny_llama_folder),
            "data": {"train": [str(data)]},
            "head": head,
            "training": {"precision": "fp32", "epochs": 3, "lr": 0.02, "batch_tokens": 128, **weights},
        }
    )
    run = train(config, tmp_path / "run")[0]
    assert run.history.best_score == 1.0
    again = Labeler.from_pretrained(run.folder / "labeler", precision="fp32", merge=False)
    assert [p.tags for p in again.predict_words([words])] == [("O", "O", "O", "B-LOC")]
