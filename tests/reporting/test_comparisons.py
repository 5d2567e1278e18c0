"""Comparisons find what was put in, correct for their number, and say so when they cannot know."""

import pytest
from fake_study import sentences, write_one, write_study
from numpy.random import default_rng

from lookboth.evaluation.corrections import holm
from lookboth.evaluation.predictions import predictions_by_split
from lookboth.evaluation.significance import approximate_randomization
from lookboth.reporting.comparisons import Verdict, compare_with_baselines
from lookboth.reporting.results import read_results

pytest.importorskip("scipy")

SOME = ("0000", "0100", "1000", "0011", "1111", "sr1", "first")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(
        tmp_path_factory.mktemp("study") / "runs", datasets=("ner",), num_sentences=120, methods=SOME
    )


def by_method(folder):
    return {gain.result.method: gain for gain in compare_with_baselines(read_results(folder).data)}


def test_a_clear_difference_is_found_and_none_is_invented(study):
    gains = by_method(study)
    assert len(gains) == len(SOME) - 1
    assert gains["0011"].verdict == gains["sr1"].verdict == Verdict.better
    assert gains["first"].verdict == Verdict.worse
    assert gains["0100"].verdict == gains["1000"].verdict == Verdict.noise
    corrected = [gain.holm_sentences for gain in gains.values()]
    assert corrected == holm([gain.sentences.p_value for gain in gains.values()])
    low, high = gains["0011"].seeds.interval
    assert low < gains["0011"].sentences.difference < high
    assert gains["0011"].sentences.difference == pytest.approx(gains["0011"].seeds.difference)


def test_one_seed_is_never_sure(tmp_path):
    write_study(tmp_path / "runs", datasets=("ner",), num_seeds=1, num_sentences=60, methods=SOME)
    gains = by_method(tmp_path / "runs")
    assert {gain.verdict for gain in gains.values()} == {Verdict.unsure, Verdict.noise}
    # With one seed the test is the plain one on the two outputs.
    runs = [gains["1111"].baseline.runs[0], gains["1111"].result.runs[0]]
    base, full = (predictions_by_split(run)["test:ner"] for run in runs)
    plain = approximate_randomization(
        [s.gold for s in base], [s.predicted for s in full], [s.predicted for s in base]
    )
    assert gains["1111"].sentences.p_value == plain.p_value


def test_without_predictions_only_the_seeds_are_asked(tmp_path):
    root = write_study(tmp_path / "runs", datasets=("ner",), num_seeds=1, num_sentences=6, methods=SOME)
    for file in root.rglob("predictions.jsonl"):
        file.unlink()
    gains = by_method(root)
    assert {gain.verdict for gain in gains.values()} == {Verdict.unknown}
    assert all(gain.sentences is gain.holm_sentences is None for gain in gains.values())


def test_other_test_sentences_are_not_compared_one_by_one(tmp_path):
    root = write_study(tmp_path / "runs", datasets=("ner",), num_seeds=1, num_sentences=6, methods=SOME)
    other = {"dev": sentences(5, default_rng(9)), "test:ner": sentences(6, default_rng(8))}
    keys = {
        "plan": "0011",
        "data": {"train": "x"},
        "training": {"lr": 1e-3},
        "study": {"name": "fake", "data": "ner", "method": "0011"},
    }
    write_one(root / "ner" / "0011" / "seed-0", keys, 0.9, 0, splits=other)
    gains = by_method(root)
    assert gains["0011"].sentences is None
    assert gains["1111"].sentences is not None
