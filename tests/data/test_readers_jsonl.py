import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookboth.data.jsonl import read_jsonl
from lookboth.data.texts import read_text
from lookboth.data.words import split_words
from lookboth.types import Span


@pytest.fixture
def read(tmp_path):
    def read(*records, **options):
        path = tmp_path / "data.jsonl"
        lines = [r if isinstance(r, str) else json.dumps(r) for r in records]
        path.write_text("\n".join(lines), encoding="utf-8")
        return read_jsonl(path, **options)

    return read


def kinds(dataset):
    return [(int(p.where.rsplit(":", 1)[1]), p.kind, p.fatal) for p in dataset.problems]


def span(start, end, label="X", **more):
    return {"start": start, "end": end, "label": label, **more}


def test_tokens_and_texts_may_stand_in_one_file(read):
    dataset = read(
        {"tokens": ["New York", "is"], "ner_tags": ["S-LOC", "O"]},
        {"text": "In  Rome,\r\nEU", "entities": [span(11, 13, "ORG"), span(4, 8, "LOC", text="Rome")]},
    )
    assert dataset.problems == ()
    first, second = dataset.examples
    assert (first.words, first.spans) == (("New York", "is"), (Span(0, 1, "LOC"),))
    assert second.words == ("In", "Rome", ",", "EU")
    assert second.spans == (Span(1, 2, "LOC"), Span(3, 4, "ORG"))
    assert [second.text[a:b] for a, b in second.offsets] == list(second.words)
    assert second.source.endswith("data.jsonl:2")


@given(data=st.data())
def test_spans_on_word_borders_come_back_exactly(data, tmp_path_factory):
    text = data.draw(st.text(alphabet="aé😂 .'-\u00a0北", min_size=1, max_size=30))
    offsets = split_words(text)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(offsets)), max_size=6)))
    expected = tuple(Span(a, b, "X") for a, b in zip(cuts[::2], cuts[1::2], strict=False))
    chars = [span(offsets[s.start][0], offsets[s.end - 1][1]) for s in expected]
    path = tmp_path_factory.getbasetemp() / "spans.jsonl"
    path.write_text(json.dumps({"text": text, "spans": chars[::-1]}), encoding="utf-8")
    dataset = read_jsonl(path)
    if offsets:
        assert dataset.examples[0].spans == expected
        assert dataset.problems == ()


def test_a_span_that_cuts_a_word_is_widened_by_repair(read):
    record = {"text": "in Berlin-Mitte now", "spans": [span(4, 7)]}
    assert kinds(read(record)) == [(1, "cut-word", True)]
    repaired = read(record, repair=True)
    assert kinds(repaired) == [(1, "cut-word", False)]
    assert repaired.examples[0].spans == (Span(1, 2, "X"),)
    assert "'Berlin'" in repaired.problems[0].repaired


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5)), max_size=9))
def test_a_span_is_left_out_for_the_longest_that_it_overlaps(tmp_path_factory, places):
    text = " ".join("abcdefghijklmno")
    spans = [(start, start + length) for start, length in places]
    records = [{"start": 2 * a, "end": 2 * b - 1, "label": f"L{n}"} for n, (a, b) in enumerate(spans)]
    kept, rivals = [], {}
    for number in sorted(range(len(spans)), key=lambda n: (spans[n][0] - spans[n][1], spans[n][0])):
        start, end = spans[number]
        over = [other for other in kept if spans[other][0] < end and start < spans[other][1]]
        if over:
            rivals[f"L{number}"] = f"L{over[0]}"
        else:
            kept.append(number)
    path = tmp_path_factory.mktemp("jsonl") / "in.jsonl"
    path.write_text(json.dumps({"text": text, "spans": records}), encoding="utf-8")
    dataset = read_jsonl(path, repair=True)
    assert list(dataset.examples[0].spans) == sorted(Span(*spans[n], f"L{n}") for n in kept)
    said = [re.findall(r"\((L\d)\)", problem.message) for problem in dataset.problems]
    assert dict(said) == rivals


def test_thousands_of_spans_of_one_text_are_read_in_seconds(read):
    count = 30_000
    spans = [{"start": 2 * i, "end": 2 * i + 1, "label": "X"} for i in range(count)]
    start = time.perf_counter()
    dataset = read(json.dumps({"text": "a " * count, "spans": spans}))
    assert len(dataset.examples[0].spans) == count
    assert time.perf_counter() - start < 10


def test_of_overlapping_spans_the_longer_stays(read):
    record = {"text": "New York City", "spans": [span(0, 8, "A"), span(4, 13, "B"), span(0, 13, "C")]}
    dataset = read(record, repair=True)
    assert dataset.examples[0].spans == (Span(0, 3, "C"),)
    assert kinds(dataset) == [(1, "overlap", False)] * 2
    assert [fatal for _, _, fatal in kinds(read(record))] == [True, True]


def test_blanks_at_the_edge_of_a_span_are_no_problem(read):
    dataset = read({"text": "in Rome now", "spans": [span(2, 8)]})
    assert (dataset.problems, dataset.examples[0].spans) == ((), (Span(1, 2, "X"),))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (span(0, 99), "outside the text"),
        (span(-1, 2), "outside the text"),
        (span(2, 2), "outside the text"),
        (span("0", 2), "whole numbers"),
        (span(True, 2), "whole numbers"),
        (span(0, 2, ""), "not a name"),
        (span(0, 2, 3), "not a name"),
        (span(2, 3), "covers no word"),
        (span(0, 2, text="no"), "offsets count characters"),
        ({"start": 0}, "needs 'start', 'end' and 'label'"),
        ([0, 2, "X"], "needs 'start'"),
    ],
)
def test_each_bad_span_is_named_and_left_out(read, bad, message):
    dataset = read({"text": "ab cd", "spans": [bad, span(3, 5)]})
    (problem,) = dataset.problems
    assert message in str(problem)
    assert problem.fatal
    assert dataset.examples[0].spans == (Span(1, 2, "X"),)


@pytest.mark.parametrize(
    "line",
    [
        "{oops",
        "3",
        '{"tokens": ["a"]}',
        '{"text": "a"}',
        '{"tokens": ["a"], "tags": []}',
        '{"tokens": ["a"], "tags": [1]}',
        '{"tokens": "a", "tags": "O"}',
        '{"text": 1, "spans": []}',
        "[" * 100_000,
        "1" * 5_000,
    ],
)
def test_a_line_that_is_no_sentence_is_reported_and_the_rest_read(read, line):
    dataset = read({"tokens": ["a"], "tags": ["O"]}, line, {"tokens": ["b"], "tags": ["O"]})
    assert kinds(dataset) == [(2, "json", True)]
    assert [example.words for example in dataset.examples] == [("a",), ("b",)]
    assert kinds(read("", line, repair=True)) == [(2, "json", False)]


def test_a_json_list_is_one_problem(read):
    assert kinds(read("[", "{}", "]")) == [(1, "json", True)]


def test_half_surrogates_are_reported_and_replaced(read):
    dataset = read('{"tokens": ["\\ud83d"], "tags": ["O"]}', '{"text": "a \\ude00 b", "spans": []}')
    assert kinds(dataset) == [(1, "encoding", True), (2, "encoding", True)]
    assert dataset.examples[0].words == ("\ufffd",)
    assert dataset.examples[1].text == "a \ufffd b"


def test_empty_sentences_and_empty_words(read):
    dataset = read(
        {"tokens": [], "tags": []}, {"tokens": ["", "a"], "tags": ["O", "O"]}, {"text": " ", "spans": []}
    )
    assert kinds(dataset) == [
        (1, "empty-sentence", False),
        (2, "invisible-word", False),
        (3, "empty-sentence", False),
    ]
    assert len(dataset.examples) == 1


def test_raw_text_keeps_one_example_a_line(tmp_path):
    path = tmp_path / "raw.txt"
    path.write_bytes("One’s  here\r\n\r\ntwo".encode() + b"\xff")
    dataset = read_text(path)
    assert [example.text for example in dataset.examples] == ["One’s  here", "", "two\ufffd"]
    assert dataset.examples[1].words == ()
    assert dataset.examples[2].source == f"{path}:3"
    assert kinds(dataset) == [(3, "encoding", True)]
    assert kinds(read_text(path, repair=True)) == [(3, "encoding", False)]
