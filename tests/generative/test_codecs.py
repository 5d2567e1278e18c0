"""Answer formats: what is written is read back, whatever the words; what is not of the format is counted."""

import pytest
from hypothesis import given, strategies as st

from lookboth.generative.answer_parsing import PROBLEM_KINDS
from lookboth.generative.codecs.codec_registry import CODECS, build_codec
from lookboth.generative.escaping import escape, read_words, unescape, write_words
from lookboth.types import Span

NASTY = st.sampled_from(
    [
        "[",
        "]",
        "|",
        ":",
        ";",
        "/",
        "\\",
        "\\n",
        "\n",
        " ",
        "",
        '"',
        "{",
        "a",
        "b",
        "a b",
        "é",
        "e\u0301",
        "名",
        "O",
        "\\0",
    ]
)
WORDS = st.lists(
    st.one_of(NASTY, st.text(st.characters(exclude_categories=["Cs"]), max_size=5)), min_size=1, max_size=8
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)
LABELS = st.lists(
    st.one_of(st.sampled_from(["PER", "creative-work", "a b", "x|y]", ":;"]), TEXT),
    min_size=1,
    max_size=3,
    unique=True,
)


@st.composite
def labeled(draw, words=WORDS):
    text = draw(words)
    labels = draw(LABELS)
    spans, start = [], 0
    while start < len(text):
        start += draw(st.integers(0, 2))
        end = start + draw(st.integers(1, 3))
        if end > len(text):
            break
        spans.append(Span(start, end, draw(st.sampled_from(labels))))
        start = end
    return text, labels, tuple(spans)


def left_to_right(words, spans):
    """Return the spans where scored_answer from left to right puts them: an independent statement of the rule."""
    result, end = [], 0
    for span in spans:
        wanted = words[span.start : span.end]
        start = next(i for i in range(end, len(words)) if words[i : i + len(wanted)] == wanted)
        end = start + len(wanted)
        result.append(Span(start, end, span.label))
    return tuple(result)


@given(st.text(), st.text("[]|:;/", max_size=3))
def test_escaping_is_reversed_and_leaves_one_piece(text, markers):
    written = escape(text, markers)
    assert unescape(written) == text
    assert "\n" not in written
    assert read_words(written) == [text]


@given(WORDS)
def test_words_come_back_from_a_text(words):
    assert read_words(write_words(words, "[]|")) == words


@pytest.mark.parametrize("name", ["tags", "markup", "json"])
@given(case=labeled())
def test_every_format_that_says_positions_round_trips(name, case):
    words, labels, spans = case
    codec = build_codec(name, labels)
    answer = codec.encode(words, spans)
    parsed = codec.parse(answer, words)
    assert parsed.spans == spans
    assert not parsed.problems
    assert "\n" not in answer


@given(case=labeled(st.lists(st.sampled_from(["a", "b", "a:b", "c;"]), min_size=1, max_size=8)))
def test_pairs_come_back_as_the_first_occurrences(case):
    words, labels, spans = case
    codec = build_codec("pairs", labels)
    parsed = codec.parse(codec.encode(words, spans), words)
    assert parsed.spans == left_to_right(words, spans)
    assert not parsed.problems


@given(case=labeled(WORDS.map(lambda words: [f"{i}{word}" for i, word in enumerate(words)])))
def test_pairs_lose_nothing_where_no_word_is_repeated(case):
    words, labels, spans = case
    codec = build_codec("pairs", labels)
    assert codec.parse(codec.encode(words, spans), words).spans == spans


def test_what_pairs_lose():
    codec = build_codec("pairs", ["X"])
    words = ["a", "and", "a"]
    assert codec.parse(codec.encode(words, [Span(2, 3, "X")]), words).spans == (Span(0, 1, "X"),)
    assert codec.parse("a:X;a:X", words).spans == (Span(0, 1, "X"), Span(2, 3, "X"))
    assert codec.parse("and:X;a:X;a:X", words).spans == (Span(0, 1, "X"), Span(1, 2, "X"), Span(2, 3, "X"))


@pytest.mark.parametrize("name", sorted(CODECS))
@given(answer=st.one_of(st.text('[]|:;/\\ \n"ab{}', max_size=30), st.text(max_size=30)), words=WORDS)
def test_any_answer_can_be_read(name, answer, words):
    parsed = build_codec(name, ["a", "b"]).parse(answer, words)
    ends = [0]
    for span, place in zip(parsed.spans, parsed.places, strict=True):
        assert ends[-1] <= span.start < span.end <= len(words)
        assert 0 <= place[0] < place[1] <= len(answer)
        ends.append(span.end)
    assert all(problem.kind in PROBLEM_KINDS for problem in parsed.problems)


@pytest.mark.parametrize(
    ("name", "empty"), [("pairs", ""), ("json", "[]"), ("markup", "Ada wrote"), ("tags", "Ada/O wrote/O")]
)
def test_no_spans(name, empty):
    codec = build_codec(name, ["PER"])
    assert codec.encode(["Ada", "wrote"], []) == empty
    assert codec.parse(empty, ["Ada", "wrote"]) == ((), (), ())


BROKEN = [
    ("pairs", "Ada", "unparseable"),
    ("pairs", "Ada:ANIMAL", "unknown_label"),
    ("pairs", "Bob:PER", "invented"),
    ("pairs", "Ada:PER;Ada:PER", "invented"),
    ("json", '[{"text": "Ada", "label": "PER"}', "unparseable"),
    ("json", '[{"text": "Ada"}]', "unparseable"),
    ("json", '[{"text": "Ada", "label": "PER", "nth": 2}]', "invented"),
    ("json", '[{"text": "Ada", "label": "X"}]', "unknown_label"),
    ("markup", "[Ada | PER wrote", "unparseable"),
    ("markup", "[Ada] wrote", "unparseable"),
    ("markup", "[Bob | PER] wrote", "invented"),
    ("markup", "[Ada | X] wrote", "unknown_label"),
    ("markup", "[Ada | PER] writes", "miscopied"),
    ("tags", "Ada wrote/O", "unparseable"),
    ("tags", "Ada/I-PER wrote/O", "unparseable"),
    ("tags", "Ada/B-X wrote/O", "unknown_label"),
    ("tags", "Bob/B-PER wrote/O", "invented"),
    ("tags", "Ada/B-PER", "miscopied"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer", "kind"), BROKEN)
def test_what_cannot_be_placed_is_counted(name, answer, kind):
    parsed = build_codec(name, ["PER"]).parse(answer, ["Ada", "wrote"])
    assert kind in [problem.kind for problem in parsed.problems]
    assert set(parsed.spans) <= {Span(0, 1, "PER")}


def test_one_word_too_many_moves_no_span():
    parsed = build_codec("markup", ["LOC"]).parse("oh in [York | LOC]", ["in", "York"])
    assert parsed.spans == (Span(1, 2, "LOC"),)
    assert [problem.kind for problem in parsed.problems] == ["miscopied"]


def test_markup_reads_glued_punctuation_and_bare_markers():
    parsed = build_codec("markup", ["LOC"]).parse("in [York|LOC]. | ]", ["in", "York", ".", "|", "]"])
    assert parsed.spans == (Span(1, 2, "LOC"),)
    assert not parsed.problems


def test_places_are_where_the_answer_says_the_span():
    words = ["in", "York", "or", "Rome"]
    spans = [Span(1, 2, "LOC"), Span(3, 4, "LOC")]
    for name in CODECS:
        codec = build_codec(name, ["LOC"])
        answer = codec.encode(words, spans)
        for span, (start, end) in zip(spans, codec.parse(answer, words).places, strict=True):
            assert words[span.start] in answer[start:end]
            assert "LOC" in answer[start:end]


def test_plain_tags():
    codec = build_codec("tags", ["DET", "NOUN"], "plain")
    spans = (Span(0, 1, "DET"), Span(1, 2, "NOUN"))
    assert codec.encode(["the", "fox"], spans) == "the/DET fox/NOUN"
    assert codec.parse("the/DET fox/NOUN", ["the", "fox"]).spans == spans
