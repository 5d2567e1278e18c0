import json
import re
import time

import pytest
from hypothesis import given, strategies as st

from lookboth.data.jsonl import read_jsonl
from lookboth.data.readers import read_text
from lookboth.data.words import split_words
from lookboth.errors import DataError
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
    record = {"text": "in Berlin-Mitte now", "spans": [span(3, 7)]}
    assert kinds(read(record)) == [(1, "cut-word", True)]
    repaired = read(record, repair=True)
    assert kinds(repaired) == [(1, "cut-word", False)]
    assert repaired.examples[0].spans == (Span(1, 2, "X"),)
    assert "'Berlin'" in repaired.problems[0].repaired


def test_a_span_with_both_ends_inside_words_is_never_made_to_fit(read):
    record = {"text": "they met in Berlin-Mitte now", "spans": [span(2, 10), span(13, 16)]}
    repaired = read(record, repair=True)
    assert repaired.examples[0].spans == ()
    assert [problem.repaired for problem in repaired.problems] == ["the span is left out"] * 2
    assert "may be of another text" in repaired.problems[0].message


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
    start = time.process_time()
    dataset = read(json.dumps({"text": "a " * count, "spans": spans}))
    assert len(dataset.examples[0].spans) == count
    assert time.process_time() - start < 10


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
        ([0, "X"], "needs 'start'"),
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


@pytest.mark.parametrize("pretty", [None, 1])
def test_a_json_list_is_read_as_lines_are(read, pretty):
    records = [{"tokens": ["a"], "tags": ["B-X"]}, 3, {"text": "in Rome", "spans": [span(3, 7)]}]
    dataset = read(json.dumps(records, indent=pretty))
    assert [example.spans for example in dataset.examples] == [(Span(0, 1, "X"),), (Span(1, 2, "X"),)]
    assert [(p.where.rsplit(":")[-1], p.kind) for p in dataset.problems] == [("record 2", "json")]


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
    path.write_bytes("One’s  here\r\n\r\ntwo".encode())
    dataset = read_text(path)
    assert [example.text for example in dataset.examples] == ["One’s  here", "", "two"]
    assert dataset.examples[1].words == ()
    assert dataset.examples[2].source == f"{path}:3"


def test_words_of_a_record_are_its_own_tokens(read):
    text = "ฉันรักเชียงใหม่ 😀"
    tokens = [
        {"text": "ฉัน", "start": 0, "end": 3},
        {"text": "รัก", "start": 3, "end": 6},
        {"text": "เชียงใหม่", "start": 6, "end": 15},
    ]
    last = [{"text": " ", "start": 15, "end": 16}, {"text": "😀", "start": 16, "end": 17}]
    for own in (tokens + last, ["ฉัน", "รัก", "เชียงใหม่", "😀"]):
        dataset = read({"text": text, "tokens": own, "spans": [span(6, 15, "LOC")]})
        assert dataset.problems == ()
        assert dataset.examples[0].words == ("ฉัน", "รัก", "เชียงใหม่", "😀")
        assert dataset.examples[0].spans == (Span(2, 3, "LOC"),)
    for wrong in (tokens, ["ฉัน", "xx"], 3, [3], [{"start": 0, "end": 99}]):
        dataset = read({"text": text, "tokens": wrong, "spans": []}, repair=True)
        if wrong != 3:  # a number is no list of words, so the record has none
            assert [p.kind for p in dataset.problems] == ["tokens", "splitter"], wrong


@pytest.mark.parametrize(
    "record",
    [
        {"tokens": ["Anna", "Moss"], "tags": ["O", "O"], "ner_tags": ["B-PER", "I-PER"]},
        {"tokens": ["Anna", "Moss"], "tags": None, "ner_tags": ["B-PER", "I-PER"]},
        {"words": ["Anna", "Moss"], "labels": ["B-PER", "I-PER"], "pos_tags": ["NNP", "NNP"]},
        {"sentence": ["Anna", "Moss"], "ner": ["B-PER", "I-PER"]},
        {"text": "Anna Moss", "spans": [], "entities": [[0, 9, "PER"]]},
        {"text": "Anna Moss", "entities": [], "spans": [span(0, 9, "PER")]},
        {
            "text": "Anna Moss",
            "entities": [{"start": 0, "end": 9, "entity_group": "PER", "word": "anna moss"}],
        },
        {"text": "Anna Moss", "entities": [{"start_offset": 0, "end_offset": 9, "type": "PER"}]},
        {"text": "Anna Moss", "entities": [{"start": 0, "end": 9, "entity": "PER", "value": "anna"}]},
        {"text": "Anna Moss", "ents": [{"start": 0, "end": 9, "label": "PER"}], "labels": ["news"]},
    ],
)
def test_labels_are_found_under_the_keys_of_others(read, record):
    dataset = read(record)
    assert dataset.problems == ()
    assert (dataset.examples[0].words, dataset.examples[0].spans) == (("Anna", "Moss"), (Span(0, 2, "PER"),))


def test_two_keys_with_labels_are_a_question(read):
    tagged = {"tokens": ["Anna"], "tags": ["NNP"], "ner_tags": ["B-PER"]}
    both = {"text": "Anna", "spans": [span(0, 4, "A")], "entities": [span(0, 4, "B")]}
    for record, names in ((tagged, ("tags", "ner_tags")), (both, ("spans", "entities"))):
        (problem,) = read(record).problems
        assert problem.fatal
        assert all(f"--label-field {name}" in problem.message for name in names)
        assert not read(record, repair=True).examples
        labels = [read(record, label_field=name, scheme="IOB2").examples[0].spans for name in names]
        assert len(labels) == 2
    assert read(tagged, label_field="ner_tags").examples[0].spans == (Span(0, 1, "PER"),)


def test_keys_that_are_named_are_obeyed(read):
    record = {"tokens": ["x"], "tags": ["O"], "mots": ["Anna"], "etiquettes": ["B-PER"]}
    dataset = read(record, text_field="mots", label_field="etiquettes")
    assert (dataset.examples[0].words, dataset.examples[0].spans) == (("Anna",), (Span(0, 1, "PER"),))
    assert kinds(read(record, text_field="none")) == [(1, "json", True)]
    assert kinds(read(record, label_field="none")) == [(1, "json", True)]
    body = {"text": "no", "body": "Anna", "marks": [[0, 4, "PER"]]}
    dataset = read(body, text_field="body", label_field="marks")
    assert dataset.examples[0].spans == (Span(0, 1, "PER"),)


def test_rejected_records_are_left_out_and_counted(read):
    record = {"text": "Anna", "spans": [span(0, 4, "PER")]}
    dataset = read(*[{**record, "answer": answer} for answer in ("accept", "reject", "ignore")])
    assert len(dataset.examples) == 1
    assert kinds(dataset) == [(2, "answer", False), (3, "answer", False)]


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("😀😀 Anna left", 5, 9),  # UTF-16 units
        ("Zoë! Anna left", 6, 10),  # bytes
        ("Hm\r\n\r\nAnna left", 4, 8),  # CRLF as one
        ("Hm\n\nAnna left", 6, 10),  # LF as two
        ("\ufeffHm Anna left", 3, 7),  # the byte order mark does not count
        ("Hm Anna left", 4, 8),  # one that is not there counts
        ("Hm Anna left", 7, 11),  # anywhere: the text stands at one place
    ],
)
def test_a_span_is_found_by_its_own_text(read, text, start, end):
    dataset = read({"text": text, "spans": [span(start, end, "PER", text="Anna")]})
    (example,) = dataset.examples
    assert [text[example.offsets[s.start][0] : example.offsets[s.end - 1][1]] for s in example.spans] == [
        "Anna"
    ]
    assert [(p.kind, p.fatal) for p in dataset.problems if p.kind != "invisible-word"] == [("offsets", False)]


def test_the_counting_is_that_of_most_spans_and_messages_show_the_offsets_of_the_file(read):
    text = "😀 Ada met Bob and Bobby."
    spans = [span(3, 6, text="Ada"), span(11, 14), span(19, 22, text="Bob")]
    dataset = read({"text": text, "spans": spans})
    assert [p.kind for p in dataset.problems] == ["offsets", "cut-word"]
    assert "span 19..22 'Bob'" in dataset.problems[1].message
    assert dataset.examples[0].spans[:2] == (Span(1, 2, "X"), Span(3, 4, "X"))


def test_objects_over_several_lines_are_one_record_each(read):
    record = json.dumps({"tokens": ["a"], "tags": ["B-X"]}, indent=2)
    assert len(read(record).examples) == 1
    assert len(read(f"{record}\n{record}").examples) == 2
    wrapped = {"version": 1, "data": [{"tokens": ["a"], "tags": ["B-X"]}] * 3}
    assert len(read(wrapped).examples) == 3
    with pytest.raises(DataError, match=r"data\.jsonl:3: not JSON"):
        read('[\n{"tokens": ["a"]},\n{"tokens": }\n]')


def test_offsets_that_fit_words_only_in_utf16_units_are_a_question_and_never_widened(read):
    first = {"text": "😀 Ada met Bob", "spans": [span(3, 6), span(11, 14)]}
    for record in (first, {"text": "😀 Ada", "spans": [[3, 6, "X"]]}):
        dataset = read(record, repair=True)
        questions = [p for p in dataset.problems if p.fatal]
        assert [p.kind for p in questions] == ["offsets"]
        assert "--offsets utf16" in questions[0].message
    assert read({"text": "😀 Ada met Bob", "spans": [span(2, 5), span(10, 13)]}).problems == ()
    assert read({"text": "😀我在北京", "spans": [span(3, 5)]}).problems == ()


def test_spans_that_are_no_list_are_never_a_text_without_spans(read):
    for spans in (None, {"start": [0], "end": [3], "label": ["X"]}, "X"):
        dataset = read({"text": "Ada", "entities": spans}, repair=True)
        assert (dataset.examples, kinds(dataset)) == ([], [(1, "json", False)])


def test_a_counting_that_fits_few_spans_is_not_taken(read):
    spans = [span(3, 6, text="Ada"), span(0, 3, text="xyz"), span(2, 5, text="uvw")]
    dataset = read({"text": "😀 Ada met Bob", "spans": spans}, repair=True)
    assert [p.kind for p in dataset.problems] == ["offsets", "span", "span"]
    assert "its own text 'Ada' is at 2..5" in dataset.problems[0].message
    assert dataset.examples[0].spans == (Span(1, 2, "X"),)


TWICE = '{"tokens": ["Rome"], "ner_tags": ["O"], "ner_tags": ["S-LOC"]}'
INSIDE = '{"text": "Rome", "spans": [{"start": 0, "end": 4, "label": "LOC", "label": "ORG"}]}'


@pytest.mark.parametrize(("line", "key"), [(TWICE, "ner_tags"), (INSIDE, "label")])
def test_a_key_that_occurs_twice_is_a_problem_of_its_line(read, line, key):
    dataset = read({"tokens": ["a"], "ner_tags": ["O"]}, line)
    assert kinds(dataset) == [(2, "repeated-key", True)]
    assert f"the key '{key}' occurs twice" in dataset.problems[0].message
    assert len(read({"tokens": ["a"], "ner_tags": ["O"]}, line, repair=True).examples) == 1


@pytest.mark.parametrize("whole", ["[\n%s,\n{}]", '{"data":\n[%s]}', "%s"])
def test_a_key_that_occurs_twice_is_found_in_a_file_that_is_one_value(tmp_path, whole):
    path = tmp_path / "data.json"
    path.write_text(whole % TWICE.replace(",", ",\n"))
    assert next(p.kind for p in read_jsonl(path).problems if p.fatal) == "repeated-key"


def test_a_repeated_key_around_the_records_is_found(tmp_path):
    path = tmp_path / "data.json"
    record = '{"text": "Rome", "spans": []}'
    path.write_text(f'{{"data": [{record}],\n"data": [{record}, {record}]}}')
    assert [p.kind for p in read_jsonl(path).problems] == ["repeated-key"]


def test_a_key_may_repeat_its_value(read):
    assert not read('{"tokens": ["a"], "tokens": ["a"], "ner_tags": ["O"]}').problems
