"""Training with open labels: data sets with different labels train together, each text on the labels of its own."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import tiny_labeler

from lookboth.config.recipe_files import parse_config
from lookboth.config.training_sections import TrainConfig
from lookboth.errors import ConfigError
from lookboth.training import best_weights
from lookboth.training.batches import RunBatches, tokenize_examples
from lookboth.training.continuation import continued
from lookboth.training.distributed_work import SharedBatches
from lookboth.training.labeler_building import build_labeler
from lookboth.training.open_labels import OpenLabels
from lookboth.training.splits import read_splits
from lookboth.training.training_runs import train
from lookboth.types import Example, Span

PEOPLE = ("LOC", "PER: a human being")
FIRMS = ("company: something that sells", "thing")
EXAMPLES = (
    Example(("Ada", "lived", "in", "New", "York"), (Span(0, 1, "PER"), Span(3, 5, "LOC")), label_set=PEOPLE),
    Example(
        ("Toyota", "opened", "a", "plant"), (Span(0, 1, "company"), Span(3, 4, "thing")), label_set=FIRMS
    ),
    Example(("Babbage", "it", "said"), (Span(0, 1, "PER"),), label_set=PEOPLE),
)
LABELS = ("LOC", "PER", "company", "thing")


@pytest.fixture
def labeler(tiny_llama_folder):
    """An open labeler with the labels of both label sets."""
    return tiny_labeler(tiny_llama_folder, head={"kind": "open"}, plan="0011", labels=LABELS)


def open_labels(labeler, **settings):
    """Return the label sets of EXAMPLES, and the examples as pieces."""
    config = parse_config({"data": {"train": "x"}, "head": {"kind": "open"}})
    pieces = tokenize_examples(EXAMPLES, labeler.encoder, tags=labeler.config.tags, config=config)
    made = OpenLabels.build(
        EXAMPLES,
        labeler.encoder,
        labels=labeler.config.labels,
        scheme="IOB2",
        lead=labeler.config.head.label_lead,
        config=TrainConfig(**settings),
        seed=0,
    )
    return made, pieces


def texts_of(made, labeler, piece):
    """Return the texts of the labels a piece is asked for."""
    texts = [made.texts[i] for i in piece.asked]
    own = [text.input_ids[slice(*text.word_tokens[0])] for text in texts]
    return [labeler.tokenizer.decode(ids).strip() for ids in own]


def test_a_text_is_asked_for_labels_of_its_own_data_in_different_forms(labeler):
    made, pieces = open_labels(labeler, hide_labels=0.0)
    seen = set()
    for number in range(30):
        drawn = made.draw(pieces, number)
        assert made.draw(pieces, number) == drawn
        asked = [texts_of(made, labeler, piece) for piece in drawn]
        assert [len(texts) for texts in asked] == [2, 2, 2]
        assert not set(asked[0]) & set(asked[1])
        # One form per label and batch.
        assert set(asked[0]) == set(asked[2])
        seen.update(text for texts in asked for text in texts)
    forms = {
        "PER : a human being",
        "PER",
        "a human being",
        "LOC",
        "company : something that sells",
        "company",
    }
    assert seen == forms | {"something that sells", "thing"}


def test_tags_follow_the_labels_that_are_asked_for(labeler):
    made, pieces = open_labels(labeler, hide_labels=0.4)
    hidden = 0
    for number in range(40):
        for piece, before in zip(made.draw(pieces, number), pieces, strict=True):
            names = {"LOC": "LOC", "thing": "thing", "company": "company", "PER": "PER"}
            texts = texts_of(made, labeler, piece)
            labels = ["PER" if "human" in t else "company" if "sells" in t else names[t] for t in texts]
            tags = ("O", *(f"{prefix}-{label}" for label in labels for prefix in "BI"))
            for tag, old in zip(piece.labels, before.labels, strict=True):
                gold = labeler.config.tags[old]
                assert tags[tag] == (gold if gold[2:] in labels else "O")
                hidden += gold != "O" and gold[2:] not in labels
    assert hidden


def test_labels_of_a_batch_are_bounded_and_those_that_occur_come_first(labeler):
    made, pieces = open_labels(labeler, hide_labels=0.0, step_labels=1)
    for number in range(10):
        (piece,) = made.draw(pieces[2:], number)
        assert "LOC" not in texts_of(made, labeler, piece)
        tensors = made.tensors(made.draw(pieces, number), layout="bucketed", pad_id=0)
        assert tensors["asked"].shape == (3, 1)


def batch_of(made, pieces, layout="bucketed", number=0):
    return made.tensors(made.draw(pieces, number), layout=layout, pad_id=0)


def dense_loss(labeler, made, drawn):
    """The mean loss of the words, each label read alone and each text scored over its own labels only."""
    model, total, count = labeler.model, 0.0, 0
    head = model.head
    for piece in drawn:
        states = model.backbone(input_ids=torch.tensor([piece.input_ids])).last_hidden_state[0]
        vectors = []
        for text in (made.texts[i] for i in piece.asked):
            (first, end), read = text.word_tokens[0], torch.tensor([text.input_ids])
            vectors.append(model.backbone(input_ids=read).last_hidden_state[0, first:end].mean(0))
        for (_, end), tag in zip(piece.word_tokens, piece.labels, strict=True):
            scores = [states[end - 1] @ head.outside * head.scale / 32**0.5 + head.bias[0]]
            for vector in vectors:
                normal = (vector - vector.mean()) / (vector.var(correction=0) + 1e-5).sqrt()
                for prefix, projection in enumerate(head.projections):
                    weight = projection.weight @ normal + projection.bias
                    scores.append(states[end - 1] @ weight * head.scale / 32**0.5 + head.bias[1 + prefix])
            total = total - torch.log_softmax(torch.stack(scores), 0)[tag]
            count += 1
    return total / count


def test_loss_and_gradients_are_those_of_a_dense_computation(labeler):
    made, pieces = open_labels(labeler, hide_labels=0.2)
    trained = [weights for weights in labeler.model.parameters() if weights.requires_grad]
    loss = labeler.model(**batch_of(made, pieces))["loss"]
    dense = dense_loss(labeler, made, made.draw(pieces, 0))
    torch.testing.assert_close(loss, dense, atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(
        torch.autograd.grad(loss, trained), torch.autograd.grad(dense, trained), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("layout", ["bucketed", "packed"])
def test_a_loss_ignores_the_labels_of_other_data(labeler, layout):
    made, pieces = open_labels(labeler, hide_labels=0.0)
    mixed = labeler.model(**batch_of(made, pieces, layout), num_items_in_batch=1)["loss"]
    alone = [
        labeler.model(**made.tensors([piece], layout=layout, pad_id=0), num_items_in_batch=1)["loss"]
        for piece in made.draw(pieces, 0)
    ]
    torch.testing.assert_close(mixed, sum(alone), atol=1e-4, rtol=1e-4)


def test_packed_rows_score_like_padded_rows(labeler):
    made, pieces = open_labels(labeler)
    padded, packed = (
        labeler.model(**batch_of(made, pieces, layout))["logits"] for layout in ("bucketed", "packed")
    )
    torch.testing.assert_close(packed, padded, atol=1e-4, rtol=1e-4)


def test_processes_share_the_labels_of_a_step(labeler):
    made, pieces = open_labels(labeler)
    batches = RunBatches(pieces, [[0, 1, 2], [2, 1]], (2,), "bucketed", 0, open_labels=made)
    whole = labeler.model(**batches[0], num_items_in_batch=1)["loss"]
    shared = SharedBatches(batches, accumulation=1, processes=2)
    parts = [labeler.model(**shared[part], num_items_in_batch=1)["loss"] for part in range(2)]
    torch.testing.assert_close(sum(parts), whole, atol=1e-4, rtol=1e-4)


def test_a_part_without_labels_has_a_loss(labeler):
    made, pieces = open_labels(labeler, step_labels=1)
    drawn = [piece for piece in made.draw(pieces, 0) if not piece.asked]
    assert drawn
    loss = labeler.model(**made.tensors(drawn[:1], layout="bucketed", pad_id=0))["loss"]
    assert torch.isfinite(loss)


def write_data(folder: Path) -> None:
    parts = {
        "people": "Ada\tB-PER\nlived\tO\nin\tO\nNew\tB-LOC\nYork\tI-LOC\n\n",
        "firms": "Toyota\tB-company\nopened\tO\na\tO\nplant\tB-thing\n\n",
    }
    for name, text in parts.items():
        (folder / name).mkdir()
        for split, count in (("train", 4), ("dev", 1), ("test", 1)):
            (folder / name / f"{split}.conll").write_text(text * count, encoding="utf-8")
    (folder / "people" / "labels.toml").write_text(
        'PER = "a human being"\nLOC = "a place"\n', encoding="utf-8"
    )


def recipe(base, folder, **training):
    names = [str(folder / "people"), str(folder / "firms")]
    return parse_config(
        {
            "model": str(base),
            "plan": "0011",
            "repetition": 1,
            "data": {"train": names, "dev": names, "test": [names[1]]},
            "head": {"kind": "open"},
            "labels": {"LOC": "a town"},
            "training": {"batch_tokens": 64, "lr": 1e-2, "head_dropout": 0.2, **training},
        }
    )


def test_data_sets_train_together_and_a_killed_run_ends_as_if_it_had_not_been(
    tiny_llama_folder, tmp_path, monkeypatch
):
    write_data(tmp_path)
    config = recipe(tiny_llama_folder, tmp_path, epochs=2, checkpoint_steps=2)
    splits = read_splits(config)
    people, firms = ("LOC: a town", "PER: a human being"), ("company", "thing")
    assert {example.label_set for example in splits.train} == {people, firms}
    assert splits.files[f"labels:{tmp_path / 'people'}"] == tmp_path / "people" / "labels.toml"
    assert {example.label_set for example in splits.tests[str(tmp_path / "firms")]} == {firms}
    (whole,) = train(config, tmp_path / "whole")
    assert whole.labeler.config.label_texts == (*people, *firms)

    def kill(*_: object) -> None:
        # After the dev score of the first epoch, and before its history and checkpoint.
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(best_weights, "write_json", kill)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "killed")
    (again,) = train(config, tmp_path / "killed")
    assert again.history == whole.history
    left, right = (load_file(one.folder / "labeler" / "head.safetensors") for one in (whole, again))
    for name, value in left.items():
        torch.testing.assert_close(value, right[name], atol=1e-5, rtol=1e-4)


def test_a_training_begins_with_the_similarity_of_states_and_a_continued_one_with_its_weights(
    tiny_llama_folder, tmp_path
):
    write_data(tmp_path)
    config = recipe(tiny_llama_folder, tmp_path)
    labels, texts = (
        ("LOC", "PER", "company", "thing"),
        ("LOC: a town", "PER: a human being", "company", "thing"),
    )
    new = build_labeler(config, labels=labels, label_texts=texts)
    for projection in new.model.head.projections:
        torch.testing.assert_close(projection.weight.detach(), torch.eye(32))
        assert projection.bias.any()
    with torch.no_grad():
        new.model.head.projections[0].weight.mul_(2)
    new.save_pretrained(tmp_path / "open")
    settings = {"start": {"labeler": str(tmp_path / "open")}, "data": {"train": [str(tmp_path / "people")]}}
    again = build_labeler(continued(parse_config(settings)), labels=labels[:2], label_texts=texts[:2])
    torch.testing.assert_close(again.model.head.projections[0].weight.detach(), 2 * torch.eye(32))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("task", "classification", "labels words"),
        ("training.choose_by", "loss", "choose_by = 'loss'"),
        ("training.hide_labels", 0.5, "hide_labels"),
    ],
)
def test_settings_that_an_open_head_does_not_have_are_refused(key, value, message):
    with pytest.raises(ConfigError, match=message):
        parse_config({"data": {"train": "x"}, "head": {"kind": "open"}}, [f"{key}={value}"])
