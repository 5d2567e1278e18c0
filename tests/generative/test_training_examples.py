"""Batches of prompts with answers: the loss is that of each prompt alone, every epoch has its own demonstrations."""

import pytest
import torch
from torch.nn import functional

from lookboth.config.recipe_files import parse_config
from lookboth.config.training_sections import TrainConfig
from lookboth.generative.demonstrations import Demonstrations
from lookboth.generative.generative_building import build_generative
from lookboth.generative.training_examples import TrainingExampleBatches, TrainingExamples, num_epochs
from lookboth.types import Example, Span

WORDS = ("Ada", "fox", "London", "the", "York", "house")
POOL = [Example((WORDS[i % 6], "is", str(i)), (Span(0, 1, "PER"),) if i % 2 else ()) for i in range(7)]


@pytest.fixture(scope="module")
def labeler(tiny_writer_folder):
    config = parse_config(
        {
            "model": str(tiny_writer_folder), "method": "sift", "data": {"train": "x"},
            "training": {"precision": "fp32"}, "generative": {"k": 2, "instruction": False},
        }
    )  # fmt: skip
    return build_generative(config, labels=["PER"], pool=POOL, seed=0, device="cpu")


def lessons_of(labeler, epochs=1, loss="multi"):
    chosen = Demonstrations(POOL, labeler.config.generative, seed=0)
    return TrainingExamples(labeler.writer, chosen, num_epochs=epochs, loss=loss)


def loss_alone(labeler, lesson):
    """Return the summed loss of one prompt, by the stock model from all its logits."""
    ids = torch.tensor([lesson.input_ids])
    logits = labeler.model.language.model(input_ids=ids).logits[0]
    targets = torch.full_like(ids[0], -100)
    for (position, _), token in zip(lesson.word_tokens, lesson.labels, strict=True):
        targets[position] = token
    return functional.cross_entropy(logits, targets, reduction="sum")


@pytest.mark.parametrize("layout", ["bucketed", "packed"])
@pytest.mark.parametrize("loss", ["vanilla", "single", "multi"])
def test_a_batch_loses_what_its_prompts_lose_alone(labeler, layout, loss):
    lessons = lessons_of(labeler, loss=loss)
    batches = TrainingExampleBatches.of(
        lessons, config=TrainConfig(batch_tokens=700, layout=layout), seed=0, pad_id=0
    )
    assert max(map(len, batches.schedule)) > 1
    with torch.no_grad():
        for number, indices in enumerate(batches.schedule[:4]):
            tensors = batches[number]
            output = labeler.model.language(**tensors, num_items_in_batch=1)
            assert len(output["logits"]) == len(tensors["labels"])
            alone = sum(loss_alone(labeler, lessons[i]) for i in indices)
            torch.testing.assert_close(output["loss"], alone, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("epochs", "begun"), [(1, 1), (0.5, 1), (2.5, 3)])
def test_every_epoch_takes_every_sentence_once(labeler, epochs, begun):
    assert num_epochs(epochs) == begun
    lessons = lessons_of(labeler, begun)
    batches = TrainingExampleBatches.of(
        lessons, config=TrainConfig(epochs=epochs, batch_tokens=300), seed=3, pad_id=0
    )
    start = 0
    for epoch, end in enumerate(batches.epoch_ends):
        queries = [i for batch in batches.schedule[start:end] for i in batch]
        assert {i // len(POOL) for i in queries} == {epoch}
        whole = epochs >= epoch + 1
        assert (sorted(i % len(POOL) for i in queries) == list(range(len(POOL)))) == whole
        start = end
    assert batches.num_tokens() == sum(len(lessons[i]) for batch in batches.schedule for i in batch)
    assert 0 <= batches.padding() < 0.5


def test_demonstrations_change_from_epoch_to_epoch(labeler):
    lessons = lessons_of(labeler, 2)
    first, second = ([lessons[e * len(POOL) + i].input_ids for i in range(len(POOL))] for e in (0, 1))
    assert first != second
    answers = [lesson.labels[-3:] for lesson in lessons]
    assert answers[: len(POOL)] == answers[len(POOL) :]
