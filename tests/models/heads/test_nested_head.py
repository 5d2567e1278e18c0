"""A labeler with a nested head: its spans overlap, and it is saved, merged, exported, continued and calibrated."""

import json

import numpy as np
import pytest
import torch
from tiny import tiny_labeler

from lookboth import Labeler, train
from lookboth.bulk.encoding import encode_json_lines
from lookboth.bulk.rows import Row
from lookboth.config import parse_config
from lookboth.data import ReadOptions
from lookboth.data.nesting import do_overlap
from lookboth.data.packing import build_batch
from lookboth.errors import ConfigError, DataError, ModelError
from lookboth.evaluation.evaluate import evaluate_labeler
from lookboth.evaluation.labeler_confidence import calibrate, with_confidence
from lookboth.inference import keep_above, reading_for, render, suggest, word_log_probs
from lookboth.labelers.labeler_config import config_from_dict, config_to_dict
from lookboth.labelers.merging import merge_labeler
from lookboth.run_folder import RunFolder
from lookboth.training.batches import tokenize_examples
from lookboth.training.teachers import read_tag_set
from lookboth.types import Example, Span

WORDS = ("the", "Bank", "of", "New", "York", "said", ".")
TEXTS = [("it", "was", "read"), WORDS, (), ("Toyota",)]
LONG = WORDS * 30
HEAD = {"kind": "nested"}


@pytest.fixture(scope="module")
def labeler(tiny_llama_folder):
    return tiny_labeler(tiny_llama_folder, head=HEAD, plan="0011")


def spans_of(predictions):
    return [[tuple(span)[:3] for span in prediction.spans] for prediction in predictions]


def same_probs(one, other):
    for a, b in zip(word_log_probs(one, TEXTS), word_log_probs(other, TEXTS), strict=True):
        np.testing.assert_allclose(np.exp(a), np.exp(b), atol=1e-4)


def test_predicted_spans_overlap_and_have_scores(labeler):
    predictions = labeler.predict_words(TEXTS)
    assert any(do_overlap([Span(*span) for span in found]) for found in spans_of(predictions))
    for prediction in predictions:
        assert prediction.tags == ()
        assert all(0 < span.score <= 1 for span in prediction.spans)
        assert all(" ".join(prediction.words[s.start : s.end]) == s.text for s in prediction.spans)


def test_the_probabilities_of_each_sequence_add_up_to_1(labeler):
    for rows in word_log_probs(labeler, TEXTS):
        np.testing.assert_allclose(np.exp(rows).reshape(len(rows), 4, 3).sum(-1), 1, atol=1e-5)


def test_windows_batches_and_single_texts_agree(labeler):
    alone = [labeler.predict_words([words])[0] for words in (*TEXTS, LONG)]
    together = labeler.predict_words([*TEXTS, LONG], batch_tokens=2000)
    assert spans_of(alone) == spans_of(together)
    assert len(labeler.encoder.encode(LONG)) > labeler.config.max_tokens


def test_saved_loaded_and_merged_it_predicts_the_same(labeler, tmp_path):
    labeler.save_pretrained(tmp_path)
    again = Labeler.from_pretrained(tmp_path, precision="fp32", device="cpu")
    assert again.config == labeler.config
    assert again.config.labels == ("LOC", "PER")
    assert spans_of(again.predict_words(TEXTS)) == spans_of(labeler.predict_words(TEXTS))
    same_probs(again, labeler)
    same_probs(merge_labeler(labeler), labeler)
    assert "Spans may overlap (depth 2)" in (tmp_path / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("change", [{"scheme": "IOB2"}, {"head": {"kind": "linear"}}, "tags"])
def test_settings_that_contradict_each_other_are_refused(labeler, change):
    data = json.loads(json.dumps(config_to_dict(labeler.config)))
    data |= {"id2label": {**data["id2label"], "0": "O7-X"}} if change == "tags" else change
    with pytest.raises(ModelError):
        config_from_dict(data)


def test_it_learns_overlapping_spans_by_heart(labeler, tiny_llama_folder):
    ours = tiny_labeler(tiny_llama_folder, head={"kind": "nested", "depth": 3})
    gold = (Span(1, 5, "LOC"), Span(1, 5, "PER"), Span(3, 5, "LOC"), Span(4, 5, "LOC"))
    from lookboth.data.nesting import encode_nested

    rows = [encode_nested(gold, len(WORDS), ours.config.tags), encode_nested((), 3, ours.config.tags)]
    pieces = [
        ours.encoder.encode(words, labels=own) for words, own in zip((WORDS, TEXTS[0]), rows, strict=True)
    ]
    inputs = build_batch(pieces, layout="packed").tensors()
    optimizer = torch.optim.AdamW([p for p in ours.model.parameters() if p.requires_grad], lr=0.01)
    ours.model.train()
    for _ in range(70):
        optimizer.zero_grad()
        loss = ours.model(**inputs)["loss"]
        loss.backward()
        optimizer.step()
    ours.model.eval()
    assert loss.detach() < 0.05
    found = ours.predict_words([WORDS, TEXTS[0]])
    assert spans_of(found) == [sorted(map(tuple, gold), key=lambda s: (s[0], -s[1], s[2])), []]
    examples = [Example(WORDS, gold), Example(TEXTS[0])]
    scores = evaluate_labeler(ours, examples).scores
    assert (scores.micro.f1, scores.micro.tp, scores.num_words) == (1.0, 4, 10)
    assert scores.scorer == "strict entity-level, nested"
    # A labeler with one tag per word is scored on the same sets of spans.
    flat = evaluate_labeler(tiny_labeler(tiny_llama_folder), examples).scores
    assert flat.micro.support == 4
    assert flat.token_accuracy is None


def test_a_fresh_head_finds_almost_nothing(tiny_llama_folder):
    from lookboth.models.heads.nested import NestedHead

    head = NestedHead(32, ("O1-X", "B1-X", "I1-X"), "nested")
    probs = head.log_probs(head(torch.zeros(1, 32), torch.tensor([1])), torch.tensor([1])).exp()
    assert 0.9 < float(probs[0, 0]) < 0.98


def test_calibration_has_temperature_and_thresholds_but_no_sets(labeler):
    examples = [Example(WORDS, (Span(1, 5, "LOC"), Span(3, 5, "LOC")))] * 20
    result = calibrate(labeler, examples, precision=0.5)
    assert set(result.confidence.thresholds) == {"LOC", "PER"}
    ours = with_confidence(labeler, result.confidence)
    (before,), (after,) = labeler.predict_words([WORDS]), ours.predict_words([WORDS])
    assert spans_of([before]) == spans_of([after])
    assert [s.score for s in before.spans] != [s.score for s in after.spans]
    assert keep_above(before, 2.0, "nested").spans == ()
    with pytest.raises(ConfigError, match="coverage: sets need one label each; here words have several tags"):
        calibrate(labeler, examples, coverage=0.9)


def test_where_one_tag_per_word_is_needed_it_is_refused(labeler, tmp_path):
    with pytest.raises(
        DataError, match=r"contains one tag, and spans of this labeler may overlap\. Use 'jsonl'"
    ):
        list(render(labeler.predict_words([WORDS]), "conll"))
    sliding = tiny_labeler(labeler.config.base, head=HEAD, plan="causal")
    with pytest.raises(ModelError, match=r"head\.kind is 'nested'"):
        sliding.open_stream()


def test_uncertain_texts_are_suggested(labeler):
    found = suggest(labeler, [Example(words) for words in TEXTS], num_texts=2)
    assert len(found) == 2
    assert found[0].uncertainty >= found[1].uncertainty > 0


def test_data_for_it_are_read_with_overlaps(labeler, tiny_llama_folder):
    assert reading_for(labeler, None).nested
    assert not reading_for(tiny_labeler(tiny_llama_folder), None).nested
    assert reading_for(tiny_labeler(tiny_llama_folder), ReadOptions(nested=True)).nested


# Training runs

DEEP = {
    "text": "the Bank of New York",
    "spans": [[4, 20, "ORG"], [12, 20, "LOC"], [12, 15, "LOC"], [4, 20, "LOC"]],
}
SHALLOW = {"text": "Ada said", "spans": [[0, 3, "PER"]]}


@pytest.fixture
def data(tmp_path):
    for split in ("train", "dev", "test"):
        lines = (json.dumps(record) for record in (DEEP, SHALLOW) * 3)
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


def recipe(data, model, **keys):
    training = {"epochs": 1, "lr": 1e-3, "precision": "fp32"}
    head = {"kind": "nested", "depth": 3}
    return parse_config(
        {"model": str(model), "data": {"train": str(data)}, "training": training, "head": head, **keys}
    )


def test_a_run_trains_scores_and_saves(data, tiny_llama_folder):
    keys = {
        "plan": "0011",
        "repetition": 1,
        "training": {"epochs": 60, "lr": 2e-2, "precision": "fp32", "layout": "packed", "evals_per_epoch": 0},
    }
    (run,) = train(recipe(data, tiny_llama_folder, **keys), data / "out")
    folder = RunFolder(run.folder)
    found = json.loads(folder.run.read_text(encoding="utf-8"))["scores"]
    (scores,) = (scores for name, scores in found.items() if name.startswith("test"))
    assert scores["scheme"] == "nested"
    assert scores["micro"]["support"] == 15
    assert scores["micro"]["f1"] == 1.0
    again = Labeler.from_pretrained(folder.labeler)
    assert len(again.predict(DEEP["text"])[0].spans) == 4
    # Trained further with a new label, it keeps its outputs.
    more = {"text": "Toyota said", "spans": [[0, 6, "FIRM"]]}
    for split in ("train", "dev"):
        (data / f"{split}.jsonl").write_text(json.dumps(more), encoding="utf-8")
    config = parse_config(
        {
            "start": {"labeler": str(folder.labeler)},
            "data": {"train": str(data / "train.jsonl"), "dev": str(data / "dev.jsonl"), "test": []},
            "training": {"epochs": 1, "lr": 1e-9, "precision": "fp32"},
        }
    )
    (second,) = train(config, data / "second")
    continued = Labeler.from_pretrained(RunFolder(second.folder).labeler)
    assert continued.config.labels == ("FIRM", "LOC", "ORG", "PER")
    assert continued.config.head.depth == 3
    assert {tuple(s)[:3] for s in continued.predict(DEEP["text"])[0].spans} >= {
        tuple(s)[:3] for s in again.predict(DEEP["text"])[0].spans
    }


def test_data_deeper_than_the_head_are_refused(data, tiny_llama_folder):
    with pytest.raises(
        DataError, match=r"depth 3 among spans of its label, and head.depth is 2; .* head.depth=3"
    ):
        train(recipe(data, tiny_llama_folder, head={"kind": "nested"}), data / "out")


def test_a_flat_head_refuses_the_data_and_names_the_nested_head(data, tiny_llama_folder):
    with pytest.raises(DataError, match=r"--set head.kind=nested"):
        train(recipe(data, tiny_llama_folder, head={"kind": "linear"}), data / "out")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"scheme": "IOBES"}, "Remove scheme"),
        ({"task": "classification"}, "kind = 'nested' labels words"),
    ],
)
def test_recipes_that_do_not_fit_are_refused(keys, message):
    with pytest.raises(ConfigError, match=message):
        parse_config({"data": {"train": "x"}, "head": HEAD, **keys})


def test_labels_that_a_source_does_not_annotate_have_no_loss(labeler):
    example = Example(WORDS, (Span(3, 5, "LOC"),), label_set=("LOC",))
    config = parse_config({"data": {"train": "x", "annotated": {"x": ["LOC"]}}, "head": HEAD})
    (piece,) = tokenize_examples([example], labeler.encoder, tags=labeler.config.tags, config=config)
    assert piece.labels[3:5] == ((1, 0, -100, -100), (2, 0, -100, -100))


def test_it_is_no_teacher_of_one_tag_per_word(labeler, tmp_path):
    labeler.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="cannot teach one tag per word"):
        read_tag_set(tmp_path)


def test_bulk_writes_all_spans(labeler):
    (prediction,) = labeler.predict_words([WORDS])
    written = json.loads(encode_json_lines("x", [(Row(0, prediction.text), {"": prediction})]))
    assert [(s["start"], s["end"], s["label"]) for s in written["spans"]] == [
        (s.start_char, s.end_char, s.label) for s in prediction.spans
    ]


def test_pipelines_of_transformers_are_refused(labeler):
    from lookboth.integrations.transformers import LookbothForTokenClassification

    with pytest.raises(
        ModelError, match=r"one tag per token\. Type: Labeler\.from_pretrained\(FOLDER\)\.predict"
    ):
        LookbothForTokenClassification(None, labeler)
