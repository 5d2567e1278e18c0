"""What holds for every head: it trains, is saved, loaded and merged, and decodes whole texts, windows and all."""

import numpy as np
import pytest
import torch
from tiny import tiny_labeler

from lookboth.data.schemes import find_tag_errors
from lookboth.errors import ModelError
from lookboth.inference.decoding import decode_tags_constrained
from lookboth.inference.pipeline import label_words, word_log_probs, word_scores
from lookboth.labelers.inspect import inspect_model
from lookboth.labelers.labeler import Labeler
from lookboth.labelers.merging import merge_labeler
from lookboth.models.heads.head_registry import HEADS

SENTENCES = (("Ada", "lived", "in", "London", "."), ("Toyota",), (), ("what", "is", "it", "?"))
# An open head scores labels that are named (tests/models/test_open_labelers.py), a nested one has no single tag per
# word (test_nested_head.py).
WORD_HEADS = sorted(set(HEADS) - {"multi_label", "open", "nested"})
LONG = tuple(word for sentence in SENTENCES for word in sentence) * 20


@pytest.fixture(params=[*WORD_HEADS, "linear on mix", "crf on mix"])
def labeler(request, tiny_llama_folder):
    kind, _, layers = request.param.partition(" on ")
    return tiny_labeler(tiny_llama_folder, head={"kind": kind, "layers": layers or "last"}, plan="0011")


def assert_same(left, right, atol=1e-5):
    for a, b in zip(left, right, strict=True):
        np.testing.assert_allclose(np.exp(a), np.exp(b), atol=atol)


def test_saved_and_loaded_it_says_the_same(labeler, tmp_path):
    labeler.save_pretrained(tmp_path)
    again = Labeler.from_pretrained(tmp_path, precision="fp32", device="cpu")
    assert again.config.head == labeler.config.head
    assert f"Head: {labeler.config.head}." in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert f"head {labeler.config.head}," in inspect_model(str(tmp_path))
    assert_same(word_log_probs(again, SENTENCES), word_log_probs(labeler, SENTENCES))
    predictions = [[p.tags for p in who.predict_words([*SENTENCES, LONG])] for who in (labeler, again)]
    assert predictions[0] == predictions[1]


def test_merged_it_says_the_same(labeler):
    before = word_log_probs(labeler, SENTENCES)
    assert_same(word_log_probs(merge_labeler(labeler), SENTENCES), before, atol=1e-4)


def test_a_head_of_another_kind_is_refused(labeler, tiny_llama_folder, tmp_path):
    labeler.save_pretrained(tmp_path)
    other = tiny_labeler(tiny_llama_folder, labels=("LOC",), head=labeler.config.head.model_dump())
    other.save_pretrained(tmp_path / "other")
    (tmp_path / "head.safetensors").write_bytes((tmp_path / "other" / "head.safetensors").read_bytes())
    with pytest.raises(ModelError, match="base and tags need"):
        Labeler.from_pretrained(tmp_path, precision="fp32", device="cpu")


def test_sentences_in_a_batch_are_sentences_alone(labeler):
    together = word_log_probs(labeler, SENTENCES)
    assert_same(together, [word_log_probs(labeler, [words])[0] for words in SENTENCES], atol=1e-4)
    for log_probs in together:
        np.testing.assert_allclose(np.exp(log_probs).sum(1), 1, atol=1e-5)


def test_tags_of_long_texts_are_decoded_over_all_windows(labeler):
    prediction = next(label_words(labeler, [LONG]))
    scores = word_scores(labeler, [LONG])[0]
    config = labeler.config
    ids = decode_tags_constrained(
        scores, config.tags, config.scheme, labeler.model.head.likelihood().transitions
    )
    assert prediction.tags == tuple(config.tags[i] for i in ids)
    assert not find_tag_errors(prediction.tags, config.scheme)
    whole = labeler.model.head.log_probs(torch.from_numpy(scores), torch.tensor([len(LONG)]))
    assert_same([word_log_probs(labeler, [LONG])[0]], [whole.detach().numpy()])


def test_it_learns_a_few_sentences_by_heart(labeler):
    from lookboth.data.packing import build_batch

    tags = labeler.config.tags
    gold = [["B-PER", "O", "O", "B-LOC", "O"], ["B-PER"], ["O", "O", "O", "O"]]
    pieces = [
        labeler.encoder.encode(words, labels=[tags.index(tag) for tag in row])
        for words, row in zip(filter(None, SENTENCES), gold, strict=True)
    ]
    inputs = build_batch(pieces).tensors()
    labeler.model.train()
    trained = [p for p in labeler.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.01)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = labeler.model(**inputs)["loss"]
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert all(p.grad is not None for p in labeler.model.head.parameters())
    assert losses[-1] < 0.1
    found = [list(p.tags) for p in labeler.predict_words(filter(None, SENTENCES))]
    assert found == gold
