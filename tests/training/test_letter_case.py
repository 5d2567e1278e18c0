"""Training texts in capitals and lower case."""

from collections import Counter

import pytest

from lookboth.config import DataConfig, parse_config
from lookboth.data import as_one_document
from lookboth.errors import ConfigError
from lookboth.training.letter_case import change_case
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
