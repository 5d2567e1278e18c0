"""Batches: every example once, hardly any padding, and the same words in both layouts."""

import random
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings, strategies as st

import lookboth
from lookboth.data.batch_scheduling import MAX_PADDING, cheapest_batches, padding_share, schedule_batches
from lookboth.data.packing import build_batch
from lookboth.types import TokenizedExample

LAYOUTS = ("bucketed", "packed")
WNUT17 = Path(lookboth.__file__).parent / "data" / "builtin" / "wnut17" / "train.conll"
all_lengths = st.lists(st.integers(1, 300), max_size=150)
max_tokens = st.integers(1, 1000)
seeds = st.none() | st.integers(0, 5)


def rows_of(batch, lengths, layout):
    """Return the positions a batch computes."""
    widths = [lengths[i] for i in batch]
    return sum(widths) if layout == "packed" else max(widths) * len(widths)


@pytest.mark.parametrize("layout", LAYOUTS)
@given(lengths=all_lengths, max_tokens=max_tokens, seed=seeds)
def test_every_example_once_and_no_batch_too_large(layout, lengths, max_tokens, seed):
    batches = schedule_batches(lengths, max_tokens=max_tokens, layout=layout, seed=seed)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert batch
        assert len(batch) == 1 or rows_of(batch, lengths, layout) <= max_tokens


@given(lengths=all_lengths, max_tokens=max_tokens, seed=seeds)
def test_padding_stays_under_the_limit(lengths, max_tokens, seed):
    batches = schedule_batches(lengths, max_tokens=max_tokens, seed=seed)
    assert padding_share(lengths, batches) <= MAX_PADDING


def cost(batches, lengths, start_tokens):
    return sum(start_tokens + rows_of(batch, lengths, "bucketed") for batch in batches)


def all_cuts(order):
    """Yield every way to cut a list into pieces."""
    if not order:
        yield []
    for size in range(1, len(order) + 1):
        for rest in all_cuts(order[size:]):
            yield [order[:size], *rest]


@given(st.lists(st.integers(0, 60), max_size=8), st.integers(1, 150), st.integers(0, 80))
def test_no_cut_is_cheaper_to_predict(lengths, room, start_tokens):
    batches = cheapest_batches(lengths, max_tokens=room, start_tokens=start_tokens)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    fitting = [
        cut
        for cut in all_cuts(sorted(range(len(lengths)), key=lambda i: lengths[i]))
        if all(len(batch) == 1 or rows_of(batch, lengths, "bucketed") <= room for batch in cut)
    ]
    assert batches in fitting
    assert cost(batches, lengths, start_tokens) == min(cost(cut, lengths, start_tokens) for cut in fitting)


@given(lengths=all_lengths, max_tokens=max_tokens)
def test_predicting_never_costs_more_than_the_batches_of_training(lengths, max_tokens):
    cheap, usual = (plan(lengths, max_tokens=max_tokens) for plan in (cheapest_batches, schedule_batches))
    assert cost(cheap, lengths, 128) <= cost(usual, lengths, 128)


ADVERSARIAL = {
    "all different": list(range(1, 500)),
    "one long": [3] * 500 + [512],
    "two kinds": [1, 512] * 200,
    "powers": [2**k for k in range(10)] * 30,
    "heavy tail": [min(512, int(1 / (random.Random(i).random() + 1e-3))) + 1 for i in range(2000)],
}


@pytest.mark.parametrize("lengths", ADVERSARIAL.values(), ids=ADVERSARIAL.keys())
def test_padding_on_adversarial_lengths(lengths):
    for seed in (None, 0, 1):
        batches = schedule_batches(lengths, max_tokens=1024, seed=seed)
        computed = sum(rows_of(batch, lengths, "bucketed") for batch in batches)
        assert 1 - sum(lengths) / computed <= MAX_PADDING
        assert padding_share(lengths, batches) == pytest.approx(1 - sum(lengths) / computed)


@pytest.mark.skipif(not WNUT17.is_file(), reason="the built-in WNUT-17 is not in this checkout")
def test_padding_and_number_of_batches_on_wnut17():
    sentences = WNUT17.read_text(encoding="utf-8").strip().split("\n\n")
    lengths = [len(sentence.splitlines()) for sentence in sentences]
    assert len(lengths) > 3000
    batches = schedule_batches(lengths, max_tokens=1024, seed=0)
    assert padding_share(lengths, batches) <= MAX_PADDING
    assert len(batches) <= 1.05 * sum(lengths) / 1024  # hardly more batches than the tokens need


@pytest.mark.parametrize("room", [256, 1024, 4096])
def test_few_sentences_make_few_batches(room):
    rng = random.Random(0)
    lengths = [min(400, int(rng.lognormvariate(3, 0.6))) + 1 for _ in range(1000)]
    batches = schedule_batches(lengths, max_tokens=room, seed=0)
    assert padding_share(lengths, batches) <= MAX_PADDING
    assert len(batches) <= 1.5 * sum(lengths) / room + 10


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_seed_decides_the_order(layout):
    lengths = [1 + i % 40 for i in range(400)]

    def plan(seed):
        return schedule_batches(lengths, max_tokens=256, layout=layout, seed=seed)

    assert plan(1) == plan(1)
    assert plan(None) == plan(None)
    assert plan(1) != plan(2) != plan(None)


def make_example(rng, *, labeled=True, index=0):
    words = [tuple(rng.randrange(5, 99) for _ in range(rng.randint(1, 4))) for _ in range(rng.randint(0, 9))]
    ids, ranges = [1], []
    for word in words:
        ranges.append((len(ids), len(ids) + len(word)))
        ids += word
    labels = tuple(rng.choice((0, 1, 2, -100)) for _ in words) if labeled else None
    return TokenizedExample((*ids, 2), tuple(ranges), labels, example=index)


def make_examples(seed, number, *, labeled=True):
    rng = random.Random(seed)
    return [make_example(rng, labeled=labeled, index=i) for i in range(number)]


@given(seed=st.integers(0, 1000), number=st.integers(1, 8))
@settings(deadline=None)
def test_batches_point_at_the_tokens_of_the_words(seed, number):
    examples = make_examples(seed, number)
    expected = [e.input_ids[first:end] for e in examples for first, end in e.word_tokens]
    for layout in LAYOUTS:
        batch = build_batch(examples, layout=layout, pad_id=0)
        flat, places = batch.input_ids.flatten(), batch.position_ids.flatten()
        words = zip(batch.word_first.tolist(), batch.word_last.tolist(), strict=True)
        ranges = [(first, last + 1) for first, last in words]
        assert [tuple(flat[first:end].tolist()) for first, end in ranges] == expected
        positions = [tuple(range(first, end)) for e in examples for first, end in e.word_tokens]
        assert [tuple(places[first:end].tolist()) for first, end in ranges] == positions
        assert batch.labels.tolist() == [tag for e in examples for tag in e.labels]
        assert batch.examples == tuple(examples)


def test_layouts_have_the_shapes_they_promise():
    examples = make_examples(3, 5)
    lengths = list(map(len, examples))
    packed = build_batch(examples, layout="packed")
    assert packed.input_ids.shape == (1, sum(lengths))
    assert packed.attention_mask is None
    assert packed.position_ids[0].tolist() == [p for length in lengths for p in range(length)]
    bucketed = build_batch(examples, layout="bucketed", pad_id=7)
    assert bucketed.input_ids.shape == (5, max(lengths))
    assert bucketed.attention_mask.sum(1).tolist() == lengths
    assert (bucketed.input_ids[~bucketed.attention_mask] == 7).all()


def test_labels_only_where_every_example_has_them():
    labeled, unlabeled = make_examples(1, 2), make_examples(2, 1, labeled=False)
    assert build_batch(labeled).labels is not None
    batch = build_batch([*labeled, *unlabeled])
    assert batch.labels is None
    assert "labels" not in batch.tensors()


def test_a_batch_without_words_is_possible():
    batch = build_batch([TokenizedExample((1, 2), ())])
    assert batch.word_first.shape == batch.word_last.shape == (0,)
    assert batch.word_first.dtype == torch.long
