"""The batches of a run: planned once, the same every time, every sentence once an epoch."""

from collections import Counter

import pytest
from tiny import tiny_tokenizer

from lookboth.config.recipe_files import parse_config
from lookboth.data.alignment import WordEncoder
from lookboth.data.schemes import tags_for_labels
from lookboth.errors import DataError
from lookboth.training.batches import RunBatches, only_batch, tokenize_examples
from lookboth.types import Example, Span

EXAMPLES = [
    Example(("Ada", "Lovelace", *["word"] * (number % 13)), (Span(0, 2, "PER"),), source=f"a.conll:{number}")
    for number in range(60)
]


def make(epochs=1.0, layout="bucketed", seed=0, examples=EXAMPLES, **settings):
    config = parse_config(
        {
            "data": {"train": "x"},
            **settings,
            "training": {"epochs": epochs, "batch_tokens": 64, "layout": layout},
        }
    )
    encoder = WordEncoder(tiny_tokenizer("byte-bos"))
    tags = tags_for_labels(["PER"], config.scheme)
    pieces = tokenize_examples(examples, encoder, tags=tags, config=config)
    return RunBatches.build(pieces, config=config, seed=seed, pad_id=0)


@pytest.mark.parametrize("layout", ["bucketed", "packed"])
@pytest.mark.parametrize("epochs", [1, 3])
def test_every_sentence_once_an_epoch(layout, epochs):
    batches = make(epochs, layout)
    assert len(batches.epoch_ends) == epochs
    assert batches.epoch_ends[-1] == len(batches)
    start = 0
    for end in batches.epoch_ends:
        seen = Counter(i for batch in batches.schedule[start:end] for i in batch)
        assert seen == Counter(range(len(EXAMPLES)))
        start = end
    assert batches.num_tokens() == epochs * sum(map(len, batches.pieces))
    assert batches.padding() <= 0.05


def test_a_part_of_an_epoch():
    whole, half, more = make(1), make(0.5), make(1.5)
    assert len(half) == round(len(whole) / 2)
    assert more.schedule[: len(whole)] == whole.schedule
    assert more.epoch_ends == (len(whole), len(more))
    assert len(make(0.0001)) == 1


def test_epochs_differ_and_runs_with_one_seed_do_not():
    first, second = make(2), make(2)
    end = first.epoch_ends[0]
    assert first.schedule == second.schedule
    assert first.schedule[:end] != first.schedule[end:]
    assert make(2, seed=1).schedule != first.schedule


def test_labels_follow_the_scheme():
    for scheme, expected in (("IOB2", ["B-PER", "I-PER"]), ("IOBES", ["B-PER", "E-PER"])):
        tags = tags_for_labels(["PER"], scheme)
        batches = make(scheme=scheme)
        for piece in batches.pieces:
            assert [tags[tag] for tag in piece.labels[:2]] == expected
            assert set(piece.labels[2:]) <= {0}


def test_long_sentences_are_windowed_and_lose_no_label():
    words = tuple(f"word{number}" for number in range(500))
    example = Example(words, tuple(Span(i, i + 1, "PER") for i in range(0, 500, 7)))
    batches = make(examples=[example], max_tokens=64, overlap=16)
    assert len(batches.pieces) > 5
    assert max(map(len, batches.pieces)) <= 64
    labels = [tag for piece in batches.pieces for tag in piece.labels]
    assert labels == [1 if i % 7 == 0 else 0 for i in range(500)]


def test_sentences_without_words_are_left_out():
    batches = make(examples=[Example(()), *EXAMPLES[:2]])
    assert [piece.example for piece in batches.pieces] == [1, 2]


def test_an_unknown_label_is_an_error_with_its_place():
    with pytest.raises(DataError, match=r"b.conll:7: tag 'B-LOC' is none of the labeler's tags"):
        make(examples=[Example(("London",), (Span(0, 1, "LOC"),), source="b.conll:7")])


def test_one_item_is_one_batch():
    batches = make()
    batch = only_batch([batches[0]])
    assert batch["input_ids"].shape[0] == len(batches.schedule[0])
    assert len(batch["labels"]) == len(batch["word_first"])
