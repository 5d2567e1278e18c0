"""What is exported finds what torch finds: every family, kind of plan, head and pooling, at any length and batch."""

from copy import copy
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from making import MORE, SEVERAL, WORDS, export_to, make, make_classifier

from lookboth.data.documents import as_one_document
from lookboth.inference.pieces import tokenize_for
from lookboth.inference.pipeline import example_scores, text_scores, word_scores
from lookboth.onnx import OnnxLabeler
from lookboth.onnx.export import quantize_files
from lookboth.onnx.folder import write_config
from lookboth.types import Example

LONG = "Ada Lovelace, born in London, read the words of Charles Babbage; nobody knows why. " * 9
TEXTS = (
    "Ada Lovelace was born in London.",
    "",
    "Toyota",
    LONG,
    " \n\t",
    "so\ud800 it\x00 is <|begin|> <|end|> \u202eRome\u200b",
    "un" * 400,
)


def make_pair(folder, case):
    """Return a labeler in torch with its adapter still apart, and its export."""
    # The same seeds make the same weights twice: exporting folds the adapter into one of them.
    labeler = make(folder / "base", case)
    return labeler, OnnxLabeler.from_pretrained(export_to(make(folder / "again", case), folder / "out"))


@pytest.fixture(scope="module", params=WORDS)
def pair(request, tmp_path_factory):
    if request.param == "linear":
        return request.getfixturevalue("same_in_torch"), OnnxLabeler.from_pretrained(
            request.getfixturevalue("exported_folder")
        )
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "crf":  # as if the weights were too large for one file
            patch.setattr("lookboth.onnx.graph.ONE_FILE", 0)
        labeler, exported = make_pair(tmp_path_factory.mktemp("onnx"), WORDS[request.param])
    assert (exported.folder / "model.onnx.data").exists() == (request.param == "crf")
    return labeler, exported


def spans(predictions):
    return [(p.text, p.words, p.offsets, p.tags, [tuple(s)[:6] for s in p.spans]) for p in predictions]


def test_texts_get_the_same_spans_and_scores(pair):
    assert_same(*pair)


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE)
def test_other_families_do_too(name, tmp_path):
    assert_same(*make_pair(tmp_path, MORE[name]))


def assert_same(labeler, exported):
    wanted, found = labeler.predict(TEXTS), exported.predict(TEXTS)
    assert spans(found) == spans(wanted)
    for left, right in zip(wanted, found, strict=True):
        scores = [[span.score for span in prediction.spans] for prediction in (left, right)]
        np.testing.assert_allclose(scores[1], scores[0], atol=1e-4)
    sentences = [p.words for p in wanted if p.words]
    scores = word_scores(labeler, sentences)
    assert len({float(rows.std()) for rows in scores}) == len(sentences)  # no text is like another
    for left, right in zip(scores, word_scores(exported, sentences), strict=True):
        np.testing.assert_allclose(right, left, atol=2e-4 * np.abs(left).max())


@pytest.mark.parametrize("context", [5, "document"])
def test_documents_are_read_with_the_same_context(pair, context):
    words = LONG.split()
    document = as_one_document([Example(tuple(words[i : i + 7])) for i in range(0, 35, 7)])
    scores = []
    for labeler in map(copy, pair):
        labeler.config = replace(labeler.config, context=context)
        scores.append(np.concatenate(example_scores(labeler, document)))
    np.testing.assert_allclose(scores[1], scores[0], atol=2e-4 * np.abs(scores[0]).max())
    alone = np.concatenate(example_scores(pair[0], document))
    assert np.abs(scores[0] - alone).max() > 1e-3


@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=5), batch=st.sampled_from((1, 48, 200)))
def test_any_length_in_any_batch_gives_the_same_scores(pair, lengths, batch):
    labeler, exported = pair
    words = LONG.split()
    sentences = [words[i : i + length] for i, length in enumerate(lengths)]
    wanted = word_scores(labeler, sentences, batch_tokens=batch)
    for left, right in zip(wanted, word_scores(exported, sentences, batch_tokens=batch), strict=True):
        np.testing.assert_allclose(right, left, atol=2e-4 * max(1, np.abs(left).max()))


def test_labels_of_whole_texts_are_the_same(tmp_path):
    labeler = make_classifier(tmp_path / "base", SEVERAL)
    exported = OnnxLabeler.from_pretrained(
        export_to(make_classifier(tmp_path / "again", SEVERAL), tmp_path / "out")
    )
    for left, right in zip(text_scores(labeler, TEXTS), text_scores(exported, TEXTS), strict=True):
        np.testing.assert_allclose(right, left, atol=1e-4)
    wanted, found = labeler.predict(TEXTS), exported.predict(TEXTS)
    names = [[[label.label for label in p.labels] for p in some] for some in (wanted, found)]
    assert names[0] == names[1]
    assert exported.config.multi_label
    assert exported.config.labels == labeler.config.labels


def test_int8_finds_much_the_same(pair, tmp_path):
    labeler, exported = pair
    exported.save_pretrained(tmp_path / "int8")
    sentences = [text.split() for text in TEXTS if text.strip()]
    sample = tokenize_for(labeler, [Example(tuple(words)) for words in sentences[:2]])
    quantize_files(tmp_path / "int8", sample)
    write_config(tmp_path / "int8", replace(exported.config, weights="int8"))
    smaller = OnnxLabeler.from_pretrained(tmp_path / "int8")
    wanted = np.concatenate(word_scores(labeler, sentences))
    found = np.concatenate(word_scores(smaller, sentences))
    assert 1e-3 < np.abs(found - wanted).max() / np.abs(wanted).max() < 0.3
    assert smaller.model.compute_dtype == "onnx int8"
    beside = {"model.onnx.data"} & {file.name for file in exported.folder.iterdir()}
    assert {file.name for file in (tmp_path / "int8").iterdir()} == beside | {
        "config.json",
        "model.onnx",
        "tokenizer.json",
    }
