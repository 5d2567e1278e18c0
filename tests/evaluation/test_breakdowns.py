"""Breakdowns add up to the whole, and put spans where a person would."""

from hypothesis import given, strategies as st
from made_spans import sentence_spans

from lookboth.evaluation.breakdowns import confusion, count_by_bucket, frequency_bucket, length_bucket
from lookboth.evaluation.metrics import count_spans
from lookboth.evaluation.predictions import ScoredSentence
from lookboth.evaluation.scores import Counts
from lookboth.types import Example, Span

SENTENCES = st.lists(
    st.builds(
        lambda gold, found: ScoredSentence(("w",) * 12, tuple(gold), tuple(found)),
        sentence_spans(),
        sentence_spans(),
    ),
    max_size=5,
)


@given(SENTENCES)
def test_lengths_add_up_to_the_score(sentences):
    by_length = count_by_bucket(sentences, length_bucket)
    whole = count_spans([s.gold for s in sentences], [s.predicted for s in sentences])
    assert sum(by_length.values(), Counts()) == sum(whole.values(), Counts())


@given(SENTENCES)
def test_the_diagonal_holds_what_has_the_right_label_and_the_margins_all_spans(sentences):
    cells = confusion(sentences)
    gold = [span.label for s in sentences for span in s.gold]
    for label in ("PER", "LOC"):
        assert sum(n for (row, _), n in cells.items() if row == label) == gold.count(label)
    assert (None, None) not in cells


def test_a_predicted_span_falls_into_its_own_bucket():
    sentence = ScoredSentence(("a", "b", "c"), (Span(0, 2, "X"),), (Span(0, 3, "X"),))
    assert count_by_bucket([sentence], length_bucket) == {"2": Counts(fn=1), "3": Counts(fp=1)}


def test_frequency_counts_spans_of_these_words_whatever_the_label():
    train = [Example(("New", "York", "is"), (Span(0, 2, label),)) for label in ("LOC", "ORG")]
    train += [Example(("York",), (Span(0, 1, "LOC"),)), Example(("Oslo",), ())] + train * 9
    bucket = frequency_bucket(train)
    words = ["New", "York", "Oslo", "new", "york"]
    spans = [Span(0, 2, "PER"), Span(1, 2, "LOC"), Span(2, 3, "LOC"), Span(3, 5, "LOC")]
    assert [bucket(words, span) for span in spans] == ["20+", "1", "0", "0"]
