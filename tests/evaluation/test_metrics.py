"""Scores held against seqeval, digit for digit, on random tag sequences, well-formed or not."""

import subprocess
import sys
import warnings

import pytest
import seqeval.metrics
import seqeval.scheme
from hypothesis import given, settings, strategies as st

from lookboth.data.schemes import decode_tags
from lookboth.errors import ConfigError, DataError
from lookboth.evaluation.metrics import (
    conlleval_f1,
    count_per_sentence,
    count_spans,
    score_spans,
    score_tags,
    token_accuracy,
)
from lookboth.evaluation.scores import Counts
from lookboth.types import PredictedSpan, Span

SEQEVAL_SCHEMES = {"IOB2": seqeval.scheme.IOB2, "IOBES": seqeval.scheme.IOBES, "BILOU": seqeval.scheme.BILOU}
PREFIXES = {"IOB2": "BI", "IOBES": "BIES", "BILOU": "BILU"}
FEW_LABELS = ["PER", "LOC", "creative-work"]
# Enough labels that numpy's pairwise mean and a plain sum differ.
MANY_LABELS = [f"L{index}" for index in range(23)]


def tag_pairs(scheme, labels=FEW_LABELS):
    tags = ["O", *(f"{prefix}-{label}" for prefix in PREFIXES[scheme] for label in labels)]
    words = st.tuples(st.sampled_from(tags), st.sampled_from(tags), st.booleans())
    # Half the words agree, so that true positives occur.
    sentence = st.lists(words.map(lambda w: (w[0], w[0] if w[2] else w[1])), min_size=1, max_size=12)
    return st.lists(sentence, min_size=1, max_size=8).map(
        lambda sentences: tuple([[pair[side] for pair in s] for s in sentences] for side in (0, 1))
    )


def seqeval_report(gold, predicted, scheme):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return seqeval.metrics.classification_report(
            gold, predicted, mode="strict", scheme=SEQEVAL_SCHEMES[scheme], output_dict=True
        )


def assert_equals_report(scores, report):
    rows = {**scores.per_label, "micro avg": scores.micro, "macro avg": scores.macro}
    assert set(rows) == set(report) - {"weighted avg"}
    for name, row in rows.items():
        expected = report[name]
        assert row.precision == expected["precision"], name
        assert row.recall == expected["recall"], name
        assert row.f1 == expected["f1-score"], name
    for label, counts in scores.per_label.items():
        assert counts.support == report[label]["support"]


@pytest.mark.parametrize("scheme", SEQEVAL_SCHEMES)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_strict_scores_equal_seqeval_strict_to_the_last_digit(scheme, data):
    gold, predicted = data.draw(tag_pairs(scheme))
    scores = score_tags(gold, predicted, scheme=scheme)
    if scores.per_label:
        assert_equals_report(scores, seqeval_report(gold, predicted, scheme))
    assert scores.micro.f1 == seqeval.metrics.f1_score(
        gold, predicted, mode="strict", scheme=SEQEVAL_SCHEMES[scheme], zero_division=0
    )
    assert scores.token_accuracy == seqeval.metrics.accuracy_score(gold, predicted)
    assert scores.scorer == f"strict entity-level, {scheme}"


@settings(max_examples=60, deadline=None)
@given(pair=tag_pairs("IOB2", MANY_LABELS))
def test_macro_over_many_labels_equals_seqeval_to_the_last_digit(pair):
    scores = score_tags(*pair)
    if scores.per_label:
        assert_equals_report(scores, seqeval_report(*pair, "IOB2"))


@pytest.mark.parametrize("scheme", ["IOB2", "IOBES"])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_conlleval_number_equals_seqeval_default_mode(scheme, data):
    gold, predicted = data.draw(tag_pairs(scheme))
    expected = seqeval.metrics.f1_score(gold, predicted, zero_division=0)
    assert conlleval_f1(gold, predicted, scheme) == expected
    assert score_tags(gold, predicted, scheme=scheme).conlleval_f1 == expected
    repaired = score_tags(gold, predicted, scheme=scheme, mode="conlleval")
    assert repaired.micro.f1 == expected
    assert repaired.scorer == f"conlleval (repaired) entity-level, {scheme}"


def test_strict_and_conlleval_differ_on_ill_formed_tags():
    scores = score_tags([["B-PER", "I-PER", "O", "B-LOC"]], [["I-PER", "I-PER", "O", "B-LOC"]])
    assert scores.micro == Counts(tp=1, fp=0, fn=1)
    assert scores.conlleval_f1 == 1.0


@settings(max_examples=60, deadline=None)
@given(pair=tag_pairs("IOB2"))
def test_counts_add_up_over_sentences_and_labels(pair):
    gold, predicted = ([decode_tags(tags, "IOB2") for tags in side] for side in pair)
    micro = sum(count_spans(gold, predicted).values(), Counts())
    assert micro == sum(count_per_sentence(gold, predicted), Counts())
    halves = [
        sum(count_spans(gold[cut], predicted[cut]).values(), Counts()) for cut in (slice(1), slice(1, None))
    ]
    assert micro == halves[0] + halves[1]


def test_undefined_scores_are_zero():
    scores = score_spans([[], []], [[], []])
    assert (scores.micro.precision, scores.micro.recall, scores.micro.f1) == (0.0, 0.0, 0.0)
    assert tuple(scores.macro) == (0.0, 0.0, 0.0)
    assert "0.00" in scores.describe()
    assert token_accuracy([], []) == 0.0


def test_macro_counts_labels_that_occur_on_either_side():
    gold, predicted = [[Span(0, 1, "A")]], [[Span(0, 1, "A"), Span(1, 2, "B")]]
    scores = score_spans(gold, predicted)
    assert list(scores.per_label) == ["A", "B"]
    assert scores.macro.f1 == 0.5


def test_predicted_spans_with_text_and_score_count_like_plain_ones_and_repeats_count_once():
    found = PredictedSpan(0, 2, "PER", "Ada Lovelace", 0, 12, 0.9)
    scores = score_spans([[Span(0, 2, "PER")]], [[found, found]], num_words=5)
    assert scores.micro == Counts(tp=1)
    assert scores.num_words == 5


def test_plain_tags_are_scored_word_by_word():
    gold, predicted = [["DET", "NOUN", "VERB"], ["NOUN"]], [["DET", "VERB", "VERB"], ["NOUN"]]
    scores = score_tags(gold, predicted, scheme="plain")
    assert scores.token_accuracy == scores.headline == scores.micro.f1 == 0.75
    assert scores.conlleval_f1 is None
    assert scores.scorer == "every word, plain tags"
    assert scores.num_words == 4


def test_scheme_aliases_and_unknown_names():
    assert score_tags([["B-A"]], [["B-A"]], scheme="bio").scorer == "strict entity-level, IOB2"
    with pytest.raises(ConfigError, match="IOB3"):
        score_tags([["B-A"]], [["B-A"]], scheme="IOB3")
    with pytest.raises(ConfigError, match="'strict' or 'conlleval'"):
        score_tags([["B-A"]], [["B-A"]], mode="lenient")


def test_missing_sentences_and_words_are_errors_not_smaller_scores():
    with pytest.raises(DataError, match="2 gold sentences but 1 predicted"):
        score_spans([[], []], [[]])
    with pytest.raises(DataError, match="sentence 1: 3 words but 2 predicted tags"):
        score_tags([["O"], ["O", "O", "O"]], [["O"], ["O", "O"]])
    with pytest.raises(DataError, match="predicted_tags"):
        score_spans([[]], [[]], gold_tags=[["O"]])


def test_to_dict_says_scorer_and_support():
    result = score_tags([["B-PER", "O"]], [["B-PER", "B-LOC"]]).to_dict()
    assert result["scorer"] == "strict entity-level, IOB2"
    assert result["per_label"]["PER"]["support"] == 1
    assert result["per_label"]["LOC"]["fp"] == 1
    assert (result["num_sentences"], result["num_words"]) == (1, 2)


def test_description_keeps_columns_under_long_labels():
    table = score_spans([[Span(0, 1, "creative-work-of-art")]], [[]], num_words=1).describe()
    assert len({len(line) for line in table.splitlines()[1:]}) == 1


def test_scoring_imports_no_torch():
    code = "import sys, lookboth.evaluation; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
