"""A labeler calibrated on data drawn from its own probabilities, so that what must come out is known."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import CORPUS, tiny_labeler
from typer.testing import CliRunner

from lookboth.cli import app
from lookboth.errors import ConfigError, DataError, ModelError
from lookboth.evaluation.command import evaluate_on
from lookboth.evaluation.evaluate import evaluate_labeler
from lookboth.evaluation.labeler_confidence import Calibration, calibrate, calibrate_folder, with_confidence
from lookboth.inference.confidence import Confidence, saved_thresholds
from lookboth.inference.decoding import tag_sets
from lookboth.inference.pipeline import word_log_probs
from lookboth.labelers.labeler import Labeler
from lookboth.labelers.labeler_config import config_from_dict, config_to_dict
from lookboth.labelers.opening import open_labeler
from lookboth.types import Example, Span

WORDS = " ".join(CORPUS).split()
TRUE = 3.0  # the temperature at which the gold tags are drawn


def make_labeler(folder, **options):
    labeler = tiny_labeler(folder, plan="0011", **options)
    torch.manual_seed(0)
    with torch.no_grad():  # weights under which every tag occurs
        labeler.model.head.weight.normal_(0, 1.0)
        labeler.model.head.bias.zero_()
    return labeler


@pytest.fixture(scope="module")
def plain(tiny_llama_folder):
    """Every word one label: gold tags can be drawn word by word."""
    return make_labeler(tiny_llama_folder, scheme="plain", labels=("A", "B", "C"))


def draw(labeler, num_sentences, seed):
    """Return sentences whose tags are drawn from the labeler's own probabilities at the temperature TRUE."""
    rng = np.random.default_rng(seed)
    sentences = [tuple(rng.choice(WORDS, size=rng.integers(2, 9))) for _ in range(num_sentences)]
    sentences = [tuple(map(str, words)) for words in sentences]
    known = word_log_probs(with_confidence(labeler, Confidence(TRUE)), sentences)
    tags, examples = labeler.config.tags, []
    for words, log_probs in zip(sentences, known, strict=True):
        drawn = [tags[rng.choice(len(tags), p=row / row.sum())] for row in np.exp(log_probs.astype(float))]
        spans = tuple(Span(i, i + 1, tag) for i, tag in enumerate(drawn) if tag != "O")
        examples.append(Example(words, spans))
    return examples


def test_the_temperature_of_the_data_is_found_and_scores_become_true(plain):
    result = calibrate(plain, draw(plain, 400, 0))
    assert result.confidence.temperature == pytest.approx(TRUE, rel=0.2)
    assert result.after.error < result.before.error
    assert result.after.log_loss < result.before.log_loss
    unseen = draw(plain, 400, 1)
    after = evaluate_labeler(with_confidence(plain, result.confidence), unseen)
    before = evaluate_labeler(plain, unseen)
    assert after.reliability.error < 0.06 < before.reliability.error
    assert [p.tags for p in after.predictions] == [p.tags for p in before.predictions]
    assert after.to_dict()["reliability"]["expected_calibration_error"] == after.reliability.error
    assert "expected calibration error" in after.describe_confidence()


def test_calibrating_changes_nothing_of_the_labeler(plain):
    before = word_log_probs(plain, [WORDS])[0]
    calibrate(plain, draw(plain, 100, 0), coverage=0.8)
    np.testing.assert_array_equal(word_log_probs(plain, [WORDS])[0], before)
    assert plain.config.confidence == Confidence()


def test_thresholds_give_the_precision_on_their_data(plain):
    examples = draw(plain, 300, 2)
    confidence = calibrate(plain, examples, precision=0.7).confidence
    assert any(least is not None and least > 0 for least in confidence.thresholds.values())
    calibrated = with_confidence(plain, confidence)
    evaluation = evaluate_labeler(calibrated, examples, min_score=saved_thresholds(calibrated.config))
    gold = [set(e.spans) for e in examples]
    for label, least in confidence.thresholds.items():
        found = [
            Span(s.start, s.end, s.label) in wanted
            for wanted, p in zip(gold, evaluation.predictions, strict=True)
            for s in p.spans
            if s.label == label
        ]
        assert (not found) == (least is None)
        assert np.mean(found or [1.0]) >= 0.7
    assert all(p.tags.count("O") == len(p.words) - len(p.spans) for p in evaluation.predictions)


def test_sets_of_tags_cover_what_they_promise_on_new_data(plain):
    """The guarantee is on average over calibrations; one is off by its 300 sentences and by the test's."""
    confidence = calibrate(plain, draw(plain, 600, 3), coverage=0.8).confidence
    evaluation = evaluate_labeler(with_confidence(plain, confidence), draw(plain, 600, 4))
    assert set(evaluation.coverage.by_tag) == set(plain.config.tags)
    for share in evaluation.coverage.by_tag.values():
        assert share > 0.8 - 0.07
    assert 1 < evaluation.coverage.mean_size < len(plain.config.tags)
    assert evaluation.to_dict()["coverage"]["overall"] == evaluation.coverage.overall
    assert "tags per set" in evaluation.describe_confidence()
    prediction = evaluation.predictions[0]
    assert all(tag in held for tag, held in zip(prediction.tags, prediction.tag_sets, strict=True))
    record = prediction.to_dict()["tag_sets"]
    assert [prediction.text[item["start"] : item["end"]] for item in record] == list(prediction.words)


def test_a_tag_that_is_too_rare_is_in_every_set(plain):
    examples = [Example(e.words, tuple(s for s in e.spans if s.label != "C")) for e in draw(plain, 200, 5)]
    confidence = calibrate(plain, examples, coverage=0.9).confidence
    assert confidence.quantiles["C"] is None
    sets = with_confidence(plain, confidence).predict_words([WORDS])[0].tag_sets
    assert all("C" in held for held in sets)


def test_sets_are_ordered_and_hold_the_chosen_tag():
    log_probs = np.log([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    assert tag_sets(log_probs, "ABC", {"A": 0.5, "B": 0.85, "C": 0.2}, [0, 2]) == (("A", "B"), ("C", "B"))
    assert tag_sets(log_probs, "ABC", {"A": None, "B": 0.0, "C": 0.0}, [0, 2]) == (("A",), ("C", "A"))


@pytest.mark.parametrize("kind", ["linear", "crf", "context_gate"])
def test_a_temperature_changes_scores_and_never_tags(tiny_llama_folder, kind):
    labeler = make_labeler(tiny_llama_folder, head={"kind": kind})
    sentences = [tuple(WORDS), tuple(WORDS[::-1])]
    plain = labeler.predict_words(sentences)
    warm = with_confidence(labeler, Confidence(3.0)).predict_words(sentences)
    assert [p.tags for p in warm] == [p.tags for p in plain]
    scores = [[s.score for p in who for s in p.spans] for who in (plain, warm)]
    assert scores[0]
    assert np.mean(scores[1]) < np.mean(scores[0])


def test_the_temperature_of_a_crf_divides_every_sequence(tiny_llama_folder):
    head = make_labeler(tiny_llama_folder, head={"kind": "crf"}).model.head
    scores, words = torch.randn(7, len(head.tags)), torch.tensor([4, 3])
    tempered = head.log_probs(scores, words, temperature=2.5).detach()
    with torch.no_grad():
        head.steps /= 2.5
    torch.testing.assert_close(tempered, head.log_probs(scores / 2.5, words).detach())


def test_labels_of_whole_texts_are_calibrated_too(tiny_llama_folder):
    made = make_labeler(tiny_llama_folder, scheme="plain", labels=("bad", "good"))
    of_texts = Labeler(replace(made.config, task="classification"), made.model, made.tokenizer)
    rng = np.random.default_rng(0)
    texts = [tuple(map(str, rng.choice(WORDS, size=5))) for _ in range(80)]
    examples = [Example(words, text_labels=(str(rng.choice(of_texts.config.tags)),)) for words in texts]
    result = calibrate(of_texts, examples, coverage=0.8)
    assert result.after.log_loss <= result.before.log_loss + 1e-6
    assert result.confidence.temperature > 1  # labels drawn by lot: nothing to be sure of
    evaluation = evaluate_labeler(with_confidence(of_texts, result.confidence), examples)
    assert all(len(p.tag_sets) == 1 and "label_set" in p.to_dict() for p in evaluation.predictions)
    assert evaluation.coverage is not None


@pytest.mark.parametrize("coverage", [None, 0.8])
@pytest.mark.parametrize("labels", [("bad", "good"), ()])
def test_a_text_without_exactly_one_label_is_named(tiny_llama_folder, labels, coverage):
    made = make_labeler(tiny_llama_folder, scheme="plain", labels=("bad", "good"))
    of_texts = Labeler(replace(made.config, task="classification"), made.model, made.tokenizer)
    examples = [Example((word,), text_labels=("bad",)) for word in WORDS] * 3
    examples[41] = Example(("so",), text_labels=labels, source="dev.tsv:42")
    with pytest.raises(DataError, match=r"dev\.tsv:42: .*exactly one"):
        calibrate(of_texts, examples, coverage=coverage)


def test_what_cannot_be_calibrated_is_refused(plain, tmp_path):
    with pytest.raises(DataError, match="at least 20 are needed"):
        calibrate(plain, draw(plain, 1, 0))
    with pytest.raises(ConfigError, match="between 0 and 1"):
        calibrate(plain, [], precision=1.5)
    with pytest.raises(ConfigError, match="lookboth calibrate MODEL DATA --precision"):
        saved_thresholds(plain.config)
    with pytest.raises(ModelError, match="temperature 0"):
        Confidence(temperature=0.0)
    done = CliRunner().invoke(app, ["calibrate", str(tmp_path / "none"), "wnut17"])
    assert "not the folder of a saved labeler" in str(done.exception)


def test_the_configuration_keeps_it(plain):
    confidence = Confidence(1.5, 0.9, {"A": 0.25, "B": None}, 0.8, {"O": 0.1, "A": None}, "x:dev")
    config = replace(plain.config, confidence=confidence)
    assert config_from_dict(json.loads(json.dumps(config_to_dict(config)))) == config
    old = {key: value for key, value in config_to_dict(plain.config).items() if key != "confidence"}
    assert config_from_dict(old) == plain.config


def test_on_the_command_line(plain, tmp_path):
    folder, data = tmp_path / "labeler", tmp_path / "dev.jsonl"
    plain.save_pretrained(folder)
    tagged = [{"tokens": e.words, "tags": tags_of(e)} for e in draw(plain, 60, 6)]
    data.write_text("\n".join(map(json.dumps, tagged)))
    run = CliRunner().invoke
    done = run(
        app,
        ["calibrate", str(folder), str(data), "--precision", "0.6", "--coverage", "0.8", "--device", "cpu"],
    )
    assert done.exit_code == 0, done.output
    assert "thresholds for a precision of 0.6" in done.output
    loaded = Labeler.from_pretrained(folder, device="cpu")
    saved = json.loads((folder / "config.json").read_text())["confidence"]
    assert loaded.config.confidence.temperature == saved["temperature"] != 1
    done = run(app, ["evaluate", f"{data}:dev", "-m", str(folder), "--thresholds", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert "tags per set" in done.output
    done = run(
        app, ["predict", " ".join(WORDS), "-m", str(folder), "--thresholds", "-f", "jsonl", "--device", "cpu"]
    )
    record = json.loads(done.stdout)
    assert len(record["tag_sets"]) >= len(WORDS)
    least = loaded.config.confidence.thresholds
    assert all(span["score"] >= round(least[span["label"]], 4) for span in record["spans"])


def test_evaluate_and_calibrate_score_what_predict_scores(plain, tmp_path, monkeypatch):
    folder, data = tmp_path / "labeler", tmp_path / "dev.jsonl"
    plain.save_pretrained(folder)
    examples = draw(plain, 10, 6)
    data.write_text("\n".join(json.dumps({"tokens": e.words, "tags": tags_of(e)}) for e in examples))
    used = []

    def keep(labeler, *_, **__):
        used.append(labeler)
        return Calibration(Confidence(), None, None, (10, 0))

    monkeypatch.setattr("lookboth.evaluation.labeler_confidence.calibrate", keep)
    calibrate_folder(folder, f"{data}:dev", device="cpu")
    predicting = open_labeler(folder, device="cpu", precision="bf16")
    evaluated = evaluate_on(f"{data}:dev", str(folder), device="cpu", precision="bf16")
    words = [example.words for example in examples]
    assert [p.spans for p in evaluated.predictions] == [p.spans for p in predicting.predict_words(words)]
    # The adapter is part of the weights: a multiplication per layer, as in prediction.
    weights = [
        dict(labeler.model.named_parameters()) for labeler in (used[0], open_labeler(folder, device="cpu"))
    ]
    assert weights[0].keys() == weights[1].keys()
    assert not any("lora_" in name for name in weights[0])
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def tags_of(example):
    tags = ["O"] * len(example.words)
    for span in example.spans:
        tags[span.start] = span.label
    return tags
