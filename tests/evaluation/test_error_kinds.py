"""Every wrong span is one mistake of one kind, and the kinds add up to the counts of the scorer."""

from collections import Counter

import pytest
from hypothesis import given
from made_spans import sentence_spans

from lookboth.evaluation.error_kinds import ErrorKind, count_error_kinds, pair_spans
from lookboth.evaluation.metrics import count_per_sentence
from lookboth.types import PredictedSpan, Span


@given(sentence_spans(), sentence_spans())
def test_every_span_is_in_one_pair_and_the_kinds_add_up(gold, predicted):
    pairs = pair_spans(gold, predicted)
    assert Counter(p.gold for p in pairs if p.gold) == Counter(gold)
    assert Counter(p.predicted for p in pairs if p.predicted) == Counter(predicted)
    (counts,) = count_per_sentence([gold], [predicted])
    kinds = Counter(pair.kind for pair in pairs)
    assert kinds[None] == counts.tp
    paired = kinds[ErrorKind.boundary] + kinds[ErrorKind.type] + kinds[ErrorKind.boundary_and_type]
    assert paired + kinds[ErrorKind.missed] == counts.fn
    assert paired + kinds[ErrorKind.invented] == counts.fp


@given(sentence_spans(), sentence_spans())
def test_gold_and_prediction_exchanged_turn_missed_into_invented(gold, predicted):
    there, back = count_error_kinds([gold], [predicted]), count_error_kinds([predicted], [gold])
    assert there[ErrorKind.missed] == back[ErrorKind.invented]
    assert there[ErrorKind.type] == back[ErrorKind.type]
    assert there.total() == back.total()


@given(sentence_spans(), sentence_spans())
def test_a_span_is_missed_only_where_nothing_free_overlaps_it(gold, predicted):
    pairs = pair_spans(gold, predicted)
    missed = [p.gold for p in pairs if p.kind == ErrorKind.missed]
    invented = [p.predicted for p in pairs if p.kind == ErrorKind.invented]
    assert all(a.end <= b.start or b.end <= a.start for a in missed for b in invented)


@pytest.mark.parametrize(
    ("gold", "predicted", "kinds"),
    [
        ([(0, 2, "A")], [(0, 2, "A")], [None]),
        ([(0, 2, "A")], [(0, 2, "B")], ["type"]),
        ([(0, 2, "A")], [(0, 3, "A")], ["boundary"]),
        ([(0, 2, "A")], [(1, 3, "B")], ["boundary and type"]),
        ([(0, 2, "A")], [(2, 4, "A")], ["missed", "invented"]),
        ([(0, 2, "A"), (2, 4, "A")], [(0, 4, "A")], ["boundary", "missed"]),
        (
            [(0, 4, "A")],
            [(0, 1, "A"), (1, 4, "A")],
            ["boundary", "invented"],
        ),  # the larger overlap is the partner
        ([(0, 4, "A")], [(0, 3, "B"), (3, 4, "A")], ["boundary", "invented"]),  # the same label comes first
        ([], [], []),
    ],
)
def test_kinds_as_a_person_would_name_them(gold, predicted, kinds):
    pairs = pair_spans([Span(*s) for s in gold], [Span(*s) for s in predicted])
    assert sorted(map(str, (p.kind for p in pairs))) == sorted(map(str, kinds))


def test_pairs_stand_in_the_order_of_the_text_and_scored_spans_will_do():
    found = [PredictedSpan(5, 6, "A", "x", 9, 10, 0.5), PredictedSpan(0, 1, "A", "y", 0, 1, 0.5)]
    pairs = pair_spans([Span(3, 4, "A")], found)
    assert [(p.gold or p.predicted).start for p in pairs] == [0, 3, 5]
