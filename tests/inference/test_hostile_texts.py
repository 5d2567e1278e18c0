"""Texts that nobody would write: each gets a prediction with itself as text, whoever labels and however it is shown."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from lookboth.data.alignment import Encoding, WordEncoder
from lookboth.inference.formats import FORMATS, render
from lookboth.labelers import open_labeler

SAVED = Path(__file__).parent.parent / "models" / "formats" / "1"
KINDS = ("lora", "crf", "full", "texts", "generative")
PIECES = st.text(max_size=6) | st.sampled_from(
    [
        "\x00", "\x00" * 40, "\ud800", "x\udfff", "\udbff\udc00", "\u202eAda\u202c", "\u200f\u200e\u2066",
        "\ufeff", "\ufffe", "\r\n", "\x0b\x0c\x1c\x85\u2028\u2029", " " * 300, "<|begin|><|end|>", "</s>[CLS]",
        "e\u0301" * 30, "\u200d" * 30, "👨\u200d👩\u200d👧", "ﷺ", "中" * 30, "ก" * 40, "." * 300, "a." * 40, "@" * 60,
        "a@" * 40, "http://" * 20, "n't" * 30, "&amp;" * 10, "1," * 60, "Ada", " was in ", "London",
    ]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=6).map("".join)


@pytest.fixture(scope="module")
def labelers():
    base = str(SAVED / "base")
    return {
        kind: open_labeler(SAVED / kind, device="cpu", precision="fp32", base=base, merge=False)
        for kind in KINDS
    }


def assert_fits(prediction, text: str) -> None:
    assert prediction.text == text
    covered = "".join(text[start:end] for start, end in prediction.offsets)
    assert "".join(covered.split()) == "".join(text.split())  # every character but white space is in a word
    for span in prediction.spans:
        assert text[span.start_char : span.end_char] == span.text
        assert 0 <= span.score <= 1
    for name in FORMATS:
        if name != "brat":  # a folder of files
            "".join(render([prediction], name)).encode("utf-8", "backslashreplace")


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(KINDS[:4]), st.lists(TEXTS, min_size=1, max_size=3))
def test_any_texts_are_labeled_by_any_labeler(labelers, kind, texts):
    for text, prediction in zip(texts, labelers[kind].predict(texts), strict=True):
        if kind == "texts":
            assert prediction.text == text
            assert prediction.labels
        else:
            assert_fits(prediction, text)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(PIECES)
def test_any_text_is_labeled_by_one_that_writes(labelers, text):
    (prediction,) = labelers["generative"].predict(text[:40])
    assert_fits(prediction, text[:40])


@pytest.mark.parametrize("piece", ["x", "\x00", "a\u0301"])
def test_a_megabyte_without_a_space(labelers, piece):
    text = "Ada " + piece * (1_000_000 // len(piece.encode())) + " London"
    assert_fits(labelers["lora"].predict(text)[0], text)


def test_tokens_that_the_model_does_not_have_become_the_unknown_one():
    """A tokenizer may have tokens for which the weights have no row; a text that writes one must not end a server."""

    def tokenizer(texts, **options):
        return {"input_ids": [[5, 900] if "<pad>" in text else [5] for text in texts]}

    encoder = WordEncoder(tokenizer, Encoding("", (), (), 3), num_tokens=900)
    assert encoder.encode_words(["a", "<pad>"]) == [(5,), (5, 3)]
    assert encoder.encode_texts(["a <pad>"]) == [(5, 3)]
