"""Scores of whole texts against scikit-learn."""

import warnings

import pytest
from hypothesis import given, settings, strategies as st

from lookboth.errors import DataError
from lookboth.evaluation.text_scores import score_texts

metrics = pytest.importorskip("sklearn.metrics")
preprocessing = pytest.importorskip("sklearn.preprocessing")

NAMES = ("anger", "fear", "joy")
ONE = st.sampled_from(NAMES)
SEVERAL = st.lists(ONE, unique=True, max_size=3)


def close(value):
    return pytest.approx(value, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(ONE, ONE), min_size=1, max_size=20))
def test_single_label_scores_are_scikit_learns(pairs):
    gold, predicted = map(list, zip(*pairs, strict=True))
    scores = score_texts([[label] for label in gold], [[label] for label in predicted])
    accuracy = metrics.accuracy_score(gold, predicted)
    assert scores.headline == scores.accuracy == close(accuracy) == close(scores.micro.f1)
    assert scores.macro.f1 == close(metrics.f1_score(gold, predicted, average="macro", zero_division=0))
    best = max(metrics.accuracy_score(gold, [label] * len(gold)) for label in NAMES)
    assert scores.majority == close(best)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(SEVERAL, SEVERAL), min_size=1, max_size=20))
def test_multi_label_scores_are_scikit_learns(pairs):
    gold, predicted = map(list, zip(*pairs, strict=True))
    scores = score_texts(gold, predicted, multi_label=True)
    names = sorted({label for labels in (*gold, *predicted) for label in labels})
    if not names:
        assert (scores.accuracy, scores.headline, scores.majority) == (1.0, 0.0, 0.0)
        return
    binarizer = preprocessing.MultiLabelBinarizer(classes=NAMES).fit(gold)
    columns = [NAMES.index(name) for name in names]  # scikit-learn's macro score counts all columns otherwise
    y, z = binarizer.transform(gold), binarizer.transform(predicted)
    assert scores.headline == close(metrics.f1_score(y, z, average="micro", zero_division=0))
    assert scores.macro.f1 == close(metrics.f1_score(y, z, labels=columns, average="macro", zero_division=0))
    assert scores.accuracy == close(metrics.accuracy_score(y, z))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        always = binarizer.transform([[scores.majority_label]] * len(gold))
    if scores.majority_label:
        assert scores.majority == close(metrics.f1_score(y, always, average="micro", zero_division=0))


def test_what_is_written_and_shown():
    scores = score_texts([["joy"], []], [["joy"], ["fear"]], multi_label=True)
    stored = scores.to_dict()
    assert stored["majority"] == {"label": "joy", "score": pytest.approx(2 / 3)}
    assert stored["micro"]["f1"] == pytest.approx(2 / 3)
    assert "always 'joy': micro F1 66.67" in scores.describe()
    with pytest.raises(DataError, match="2 gold texts but 1"):
        score_texts([[], []], [[]])
