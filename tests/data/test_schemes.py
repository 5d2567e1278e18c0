import pytest
from hypothesis import given, strategies as st
from seqeval import scheme as seqeval_scheme
from seqeval.metrics.sequence_labeling import get_entities

from lookboth.data.schemes import (
    SCHEMES,
    decode_tags,
    detect_scheme,
    encode_spans,
    find_tag_errors,
    parse_tag,
    repair_tags,
    resolve_scheme,
    tags_for_labels,
)
from lookboth.errors import ConfigError, DataError
from lookboth.types import Span

PREFIXED = ("IOB1", "IOB2", "IOBES", "BILOU")
LABELS = ("PER", "creative-work", "B-x")
PREFIXES = {"IOB1": "BI", "IOB2": "BI", "IOBES": "BIES", "BILOU": "BILU"}


def tag_lists(prefixes, labels=("PER", "creative-work")):
    tags = ["O"] + [f"{p}-{label}" for p in prefixes for label in labels]
    return st.lists(st.sampled_from(tags), max_size=12)


@st.composite
def spans_over_words(draw, scheme):
    """Random spans, touching ones of the same label included, and the number of words they lie in."""
    spans, position = [], 0
    for _ in range(draw(st.integers(0, 5))):
        start = position + draw(st.integers(0, 2))
        length = 1 if scheme == "plain" else draw(st.integers(1, 4))
        label = draw(st.sampled_from(LABELS))
        if scheme == "IO" and spans and (start, label) == (spans[-1].end, spans[-1].label):
            start += 1
        spans.append(Span(start, start + length, label))
        position = start + length
    return tuple(spans), position + draw(st.integers(0, 2))


@pytest.mark.parametrize("scheme", SCHEMES)
@given(data=st.data())
def test_spans_survive_the_round_trip(scheme, data):
    spans, num_words = data.draw(spans_over_words(scheme))
    tags = encode_spans(spans, num_words, scheme)
    assert len(tags) == num_words
    assert decode_tags(tags, scheme) == spans
    assert decode_tags(tags, scheme, repair=True) == spans
    assert find_tag_errors(tags, scheme) == []
    assert set(tags) <= set(tags_for_labels(LABELS, scheme))


@pytest.mark.parametrize("scheme", ["IOB2", "IOBES", "BILOU"])
@given(data=st.data())
def test_strict_decoding_is_seqeval_strict(scheme, data):
    tags = data.draw(tag_lists(PREFIXES[scheme]))
    entities = seqeval_scheme.Entities([tags], getattr(seqeval_scheme, scheme)).entities[0]
    assert [(s.label, s.start, s.end) for s in decode_tags(tags, scheme)] == [
        (e.tag, e.start, e.end) for e in entities
    ]


@pytest.mark.parametrize("scheme", PREFIXED)
@given(data=st.data())
def test_repair_is_the_conlleval_reading(scheme, data):
    tags = data.draw(tag_lists(PREFIXES[scheme]))
    as_conll = [{"L": "E", "U": "S"}.get(tag[0], tag[0]) + tag[1:] for tag in tags]
    expected = [Span(start, end + 1, label) for label, start, end in get_entities(as_conll)]
    assert list(decode_tags(tags, scheme, repair=True)) == expected


@pytest.mark.parametrize("scheme", PREFIXED)
@given(data=st.data())
def test_well_formed_exactly_when_both_readings_agree_after_repair(scheme, data):
    tags = data.draw(tag_lists(PREFIXES[scheme]))
    repaired = repair_tags(tags, scheme)
    assert find_tag_errors(repaired, scheme) == []
    if find_tag_errors(tags, scheme):
        assert tuple(tags) != repaired
    else:
        assert tuple(tags) == repaired
        assert decode_tags(tags, scheme) == decode_tags(tags, scheme, repair=True)


@given(st.lists(st.text(max_size=6), max_size=8), st.sampled_from(SCHEMES), st.booleans())
def test_no_tag_makes_decoding_raise(tags, scheme, repair):
    spans = decode_tags(tags, scheme, repair=repair)
    assert all(0 <= span.start < span.end <= len(tags) for span in spans)
    find_tag_errors(tags, scheme)


@pytest.mark.parametrize(
    ("tags", "scheme", "index", "words"),
    [
        (["O", "I-LOC"], "IOB2", 1, "tag 'I-LOC' follows 'O'; IOB2 spans start with 'B-'"),
        (["B-PER", "I-LOC"], "IOB2", 1, "follows 'B-PER'"),
        (["O", "B-LOC"], "IOB1", 1, "IOB1 writes 'B-' only after the same label"),
        (["B-PER", "O"], "IOBES", 0, "is followed by 'O'"),
        (["B-PER"], "BILOU", 0, "ends this span with 'L-PER'"),
        (["L-PER"], "BILOU", 0, "start with 'B-' or 'U-'"),
        (["S-PER"], "IOB2", 0, "'S-PER' is not a valid IOB2 tag; allowed are 'O', 'B-LABEL', 'I-LABEL'"),
        (["B-"], "IOB2", 0, "not a valid IOB2 tag"),
        (["b-PER"], "IOB2", 0, "not a valid IOB2 tag"),
        (["PER"], "IOB2", 0, "not a valid IOB2 tag"),
        (["X", ""], "plain", 1, "empty"),
        (["X", ""], "IO", 1, "empty"),
    ],
)
def test_each_ill_formed_tag_is_named(tags, scheme, index, words):
    ((found, message),) = find_tag_errors(tags, scheme)
    assert found == index
    assert words in message


def test_both_ends_of_a_broken_span_are_reported():
    assert [i for i, _ in find_tag_errors(["B-A", "E-B"], "IOBES")] == [0, 1]


@pytest.mark.parametrize("scheme", PREFIXED)
@given(data=st.data())
def test_the_scheme_of_well_formed_tags_is_detected_or_reads_the_same(scheme, data):
    sentences = [encode_spans(*data.draw(spans_over_words(scheme)), scheme) for _ in range(3)]
    found = detect_scheme(sentences)
    assert all(decode_tags(tags, found) == decode_tags(tags, scheme) for tags in sentences)


def test_one_broken_tag_does_not_change_the_detected_scheme():
    good = [["B-PER", "I-PER", "O"]] * 5
    assert detect_scheme([*good, ["PERSON"]]) == "IOB2"
    assert detect_scheme([*good, ["O", "I-PER"]]) == "IOB2"
    assert detect_scheme([["O", "O"], []]) == "IOB2"
    assert detect_scheme([["U-PER", "O"]]) == "BILOU"


def test_labels_with_hyphens_split_at_the_first_one():
    assert parse_tag("I-creative-work") == ("I", "creative-work")
    assert parse_tag("O-1") == ("O", "1")


def test_tags_do_not_depend_on_the_order_of_labels():
    assert tags_for_labels(["b", "a", "b"], "BILOU") == tags_for_labels({"a", "b"}, "BILOU")
    assert tags_for_labels(["NOUN", "O"], "plain") == ("O", "NOUN")


@pytest.mark.parametrize(
    ("spans", "scheme", "message"),
    [
        ([Span(0, 3, "A")], "IOB2", "within the 2 words"),
        ([Span(1, 1, "A")], "IOB2", "start < end"),
        ([Span(0, 2, "A"), Span(1, 2, "B")], "IOB2", "overlaps"),
        ([Span(0, 1, "")], "IOB2", "no tag can carry"),
        ([Span(0, 2, "A")], "plain", "single words"),
        ([Span(0, 1, "O")], "plain", "no tag can carry"),
    ],
)
def test_spans_that_no_tags_can_write_are_refused(spans, scheme, message):
    with pytest.raises(DataError, match=message):
        encode_spans(spans, 2, scheme)


def test_scheme_names_and_their_aliases():
    assert [resolve_scheme(name) for name in ("bio", "BILUO", "Plain", "iob1", "BMES")] == [
        "IOB2",
        "BILOU",
        "plain",
        "IOB1",
        "IOBES",
    ]
    with pytest.raises(ConfigError, match="unknown tag scheme 'IOX'"):
        resolve_scheme("IOX")
