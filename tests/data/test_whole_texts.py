"""Whole texts as tokens: nothing is lost, nothing is counted twice, the text is cut as its tokenizer cuts it."""

import pytest
from hypothesis import given, settings, strategies as st
from tiny import tiny_tokenizer

from lookboth.data.alignment import Encoding, WordEncoder
from lookboth.data.whole_texts import require_one_label, text_of, tokenize_texts
from lookboth.errors import DataError
from lookboth.types import Example

KINDS = ("byte-bos", "byte-bos-not-added", "byte-plain", "metaspace", "wordpiece")
TEXT = "Ada Lovelace was born in London, and the word isn't read in  a house."


def pieces_of(kind, texts, **options):
    return tokenize_texts(texts, WordEncoder(tiny_tokenizer(kind)), **{"label_on": "last", **options})


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_is_what_its_tokenizer_makes_of_it(kind):
    tokenizer = tiny_tokenizer(kind)
    encoding = Encoding.detect(tokenizer)
    (piece,) = pieces_of(kind, [f" {TEXT}\n"])
    own = tokenizer(TEXT)["input_ids"]
    assert list(piece.input_ids)[-len(own) :] == own  # but for a begin-of-sequence token that we add
    ((first, end),) = piece.word_tokens
    assert (first, len(piece) - end) == (len(encoding.prefix_ids), len(encoding.suffix_ids))


def test_only_an_encoder_is_labeled_on_its_classification_token():
    for kind, start in (("wordpiece", 0), ("byte-bos", 1), ("byte-plain", 0)):
        (piece,) = pieces_of(kind, [TEXT], label_on="first")
        assert piece.word_tokens[0][0] == start
    assert pieces_of("wordpiece", [TEXT], label_on="mean")[0].word_tokens[0][0] == 1


@settings(max_examples=30, deadline=None)
@given(st.text("ab é\n", max_size=300), st.integers(8, 40), st.integers(0, 3), st.integers(0, 2))
def test_windows_cover_every_token_once_and_share_the_label(text, max_tokens, overlap, repetition):
    tokenizer = tiny_tokenizer("byte-bos")
    encoder = WordEncoder(tokenizer, Encoding("", (0,), (), 5, repetition))
    pieces = tokenize_texts(
        ["x", text], encoder, label_on="last", labels=[1, 0], max_tokens=max_tokens, overlap=overlap
    )[1:]
    assert all(piece.labels == (0,) and piece.example == 1 for piece in pieces)
    assert [piece.first_word for piece in pieces] == list(range(len(pieces)))
    assert all(len(piece) - 1 <= (repetition + 1) * (max_tokens - 1) for piece in pieces)
    labeled = [token for piece in pieces for token in piece.input_ids[slice(*piece.word_tokens[0])]]
    assert labeled == (tokenizer(text.strip(), add_special_tokens=False)["input_ids"] or [5])


def test_nothing_to_tokenize_and_a_text_without_tokens():
    assert pieces_of("byte-bos", []) == []
    assert len(pieces_of("metaspace", ["", " \n", "\ud800"])) == 3


def test_the_text_of_an_example_given_as_words():
    assert text_of(Example(("so", "it", "is"))) == "so it is"
    assert text_of(Example(("so",), text=" so\n", offsets=((1, 3),))) == " so\n"


@pytest.mark.parametrize("labels", [(), ("joy", "fear")])
def test_a_single_label_task_wants_one_label(labels):
    require_one_label(Example(("x",), text_labels=("joy",)))
    with pytest.raises(DataError, match=r"a\.tsv:3: labels .*exactly one.*head\.kind = 'multi_label'"):
        require_one_label(Example(("x",), text_labels=labels, source="a.tsv:3"))
