"""Training texts in capitals and lower case."""

from collections import Counter

import pytest
from tiny import tiny_labeler

from lookboth.config import DataConfig, parse_config
from lookboth.config.method_rules import require_supported
from lookboth.data import as_one_document
from lookboth.errors import ConfigError
from lookboth.training import train
from lookboth.training.classifier import prepare_classifier
from lookboth.training.letter_case import change_case
from lookboth.training.splits import Splits
from lookboth.types import Example, Span

TEXT = "Straße in İzmir"
EXAMPLE = Example(("Straße", "in", "İzmir"), (Span(2, 3, "LOC"),), TEXT, ((0, 6), (7, 9), (10, 15)))


def section(**shares):
    return DataConfig(train=("wnut17",), **shares)


def test_without_shares_the_same_examples_are_returned():
    examples = [EXAMPLE]
    assert change_case(examples, section(), 0) is examples


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ({"upper_case": 1.0}, ("STRAßE", "IN", "İZMIR")),
        ({"lower_case": 1.0}, ("straße", "in", "İzmir")),
    ],
)
def test_words_spans_and_offsets_keep_their_places(shares, words):
    (changed,) = change_case([EXAMPLE], section(**shares), 0)
    assert changed.words == words
    assert changed.spans == EXAMPLE.spans
    assert tuple(changed.text[start:end] for start, end in changed.offsets) == words


def test_the_shares_are_kept_and_depend_on_the_seed_alone():
    examples = [Example(("Ada", "smiles"))] * 2000
    data = section(upper_case=0.2, lower_case=0.3)
    first, again, other = (change_case(examples, data, seed) for seed in (0, 0, 1))
    assert first == again != other
    found = Counter(example.words[0] for example in first)
    assert found["ADA"] == pytest.approx(400, abs=60)
    assert found["ada"] == pytest.approx(600, abs=60)


def test_all_texts_of_a_document_get_the_same_letter_case():
    examples = [
        text for _ in range(40) for text in as_one_document([Example(("Ada", "smiles")), Example(("She",))])
    ]
    changed = change_case(examples, section(upper_case=0.5), 0)
    assert {example.words for example in changed} > {("ADA", "SMILES"), ("SHE",), ("She",)}
    for first, second in zip(changed[::2], changed[1::2], strict=True):
        assert first.document is second.document
        assert first.document == (first.words, second.words)


def test_shares_above_one_are_refused():
    with pytest.raises(ConfigError, match="must not exceed 1"):
        parse_config({"model": "m", "data": {"train": "d", "upper_case": 0.7, "lower_case": 0.4}})


def test_a_training_reads_the_changed_words(tiny_llama_folder, tmp_path):
    config = parse_config(
        {"model": str(tiny_llama_folder), "data": {"train": "x", "upper_case": 1.0}, "adapter": {"rank": 2}}
    )
    prepared = prepare_classifier(config, Splits([EXAMPLE], [EXAMPLE], {}, {}), 0, tmp_path)
    (piece,) = prepared.batches.pieces
    encoder = prepared.labeler.encoder
    assert piece.input_ids == encoder.encode(("STRAßE", "IN", "İZMIR")).input_ids
    assert piece.input_ids != encoder.encode(EXAMPLE.words).input_ids


def test_teachers_read_the_texts_as_they_are(tiny_llama_folder, tmp_path, progress):
    tiny_labeler(tiny_llama_folder, plan="full", adapter="head", seed=0).save_pretrained(tmp_path / "teacher")
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.conll").write_text("Ada B-LOC\nsmiles O\n\nYes O\n\n", encoding="utf-8")
    keys = {
        "model": str(tiny_llama_folder),
        "adapter": {"rank": 2},
        "training": {"precision": "fp32", "epochs": 1, "lr": 1e-3, "seeds": [0]},
        "distill": {"teachers": [str(tmp_path / "teacher")], "cache": str(tmp_path / "outputs")},
    }
    complete = f"outputs of the teacher '{tmp_path / 'teacher'}' are complete; it is not loaded"
    for share in (1.0, 0.0):
        data = {"train": str(tmp_path), "upper_case": share}
        assert complete not in progress()
        train(parse_config({**keys, "data": data}), tmp_path / f"run-{share}")
    assert complete in progress()


@pytest.mark.parametrize("key", ["upper_case", "lower_case"])
def test_generative_methods_refuse_it(key):
    config = parse_config({"method": "sift", "data": {"train": "wnut17", key: 0.1}})
    with pytest.raises(ConfigError, match=rf"data\.{key} cannot be used with method = 'sift'"):
        require_supported(config)
