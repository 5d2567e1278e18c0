"""Round trips through each annotation tool's format, and files as the tools' own pages show them."""

import json
import time

import pytest
from hypothesis import given, settings, strategies as st
from typer.testing import CliRunner

from lookboth.cli import Format, app
from lookboth.data.conversion.convert_options import ConvertOptions
from lookboth.data.conversion.converting import KINDS, convert
from lookboth.data.conversion.export_formats import STREAMS, TOOLS, export, write_marked
from lookboth.data.conversion.marked import Marked, mark_example, mark_prediction
from lookboth.data.counting import Counting, Ruler
from lookboth.data.readers import example_from_text, read_dataset
from lookboth.errors import ConfigError, DataError
from lookboth.inference.formats import FORMATS, render
from lookboth.types import Example, PredictedSpan, Prediction, Span, TextLabel

PIECES = [
    "Ada",
    "New",
    "York",
    "👩🏽‍🚒",
    "𝒳",
    "e\u0301",
    "نص",
    "東京",
    "\u200f",
    '"',
    "\\n",
    "a\tb",
    "\u2028",
    "&amp;",
    "🇫🇷",
]
GAPS = [" ", "  ", "\u00a0", "\n", "\r\n", " \n "]
LABELS = ["PER", "creative-work", "Ünï"]


@st.composite
def examples(draw, gaps=GAPS):
    """A text with spans over whole words that do not overlap."""
    text = "".join(
        draw(st.sampled_from(PIECES)) + draw(st.sampled_from(gaps)) for _ in range(draw(st.integers(1, 8)))
    )
    example = example_from_text(text)
    cuts = sorted(draw(st.sets(st.integers(0, len(example.words)), max_size=6)))
    spans = tuple(
        Span(a, b, draw(st.sampled_from(LABELS))) for a, b in zip(cuts[::2], cuts[1::2], strict=False)
    )
    return Example(example.words, spans, example.text, example.offsets)


def read_back(tool, path, **options):
    return KINDS[tool].read(path, ConvertOptions(**options)).dataset


def content(example):
    """What must survive: the text and its labeled ranges."""
    return example.text, [(s.start, s.end, s.label) for s in mark_example(example).spans]


@pytest.mark.parametrize("tool", list(STREAMS))
@settings(max_examples=60, deadline=None)
@given(some=st.lists(examples(), min_size=1, max_size=4))
def test_what_is_written_for_a_tool_is_read_back(tool, some, tmp_path_factory):
    path = tmp_path_factory.mktemp("tool") / "out.json"
    write_marked(map(mark_example, some), tool, path)
    dataset = read_back(tool, path)
    assert not [
        problem for problem in dataset.problems if problem.kind not in ("invisible-word", "empty-sentence")
    ]
    assert [content(e) for e in dataset.examples] == [content(e) for e in some if e.words]


@settings(max_examples=60, deadline=None)
@given(some=st.lists(examples(), min_size=1, max_size=4))
def test_brat_keeps_every_labeled_range(some, tmp_path_factory):
    """Lines become examples, so what must survive are the ranges in the joined text."""
    folder = tmp_path_factory.mktemp("brat") / "documents"
    write_marked(map(mark_example, some), "brat", folder)
    dataset = read_back("brat", folder)
    assert {problem.kind for problem in dataset.problems} <= {"invisible-word"}
    found = [(e.text[a:b], label) for e in dataset.examples for a, b, label in content(e)[1]]
    assert found == [(e.text[a:b], label) for e in some for a, b, label in content(e)[1]]
    lines = [line for e in some for line in e.text.split("\n") if line.strip()]
    assert [line for e in dataset.examples for line in e.text.split("\n") if line.strip()] == lines


@pytest.mark.parametrize("tool", TOOLS)
def test_predictions_become_pre_annotations_with_their_scores(tool, tmp_path):
    spans = (
        PredictedSpan(1, 2, "PER", "Ada", 2, 5, 0.75),
        PredictedSpan(3, 4, "LOC", "Rome", 9, 13, 0.51239),
    )
    text, words = "👩 Ada in Rome", ("👩", "Ada", "in", "Rome")
    prediction = Prediction(text, words, ((0, 1), (2, 5), (6, 8), (9, 13)), (), spans)
    path = tmp_path / "out"
    write_marked([mark_prediction(prediction)], tool, path)
    assert [content(e)[1] for e in read_back(tool, path).examples] == [[(2, 5, "PER"), (9, 13, "LOC")]]
    file = path / "0001.ann" if tool == "brat" else path
    written = file.read_text()
    assert "0.75" in written
    assert "0.5124" in written
    if tool != "brat":
        assert "".join(render([prediction], tool)) == written


def test_labels_of_whole_texts_are_no_spans():
    prediction = Prediction("so", ("so",), ((0, 2),), (), labels=(TextLabel("joy", 0.9),))
    with pytest.raises(DataError, match="whole text"):
        list(render([prediction], "prodigy"))


def test_brat_needs_a_folder(tmp_path):
    with pytest.raises(ConfigError, match="--out FOLDER"):
        render([], "brat")
    asked = CliRunner().invoke(app, ["predict", "Ada", "--format", "brat"])
    assert "--out FOLDER" in str(asked.exception)
    (tmp_path / "0001.txt").write_text("mine")
    with pytest.raises(DataError, match="Name a new folder"):
        write_marked([], "brat", tmp_path)


@given(text=st.text(alphabet="a👩é𝒳\n", max_size=12))
def test_utf16_offsets_are_those_of_the_encoding(text):
    offsets = Ruler(text, Counting("UTF-16 units"))
    units = [len(text[:i].encode("utf-16-le")) // 2 for i in range(len(text) + 1)]
    assert [offsets.from_code_points(i) for i in range(len(text) + 1)] == units
    wanted = {unit: place for place, unit in enumerate(units)}
    assert [offsets.to_code_points(u) for u in range(-2, units[-1] + 3)] == [
        wanted.get(u) for u in range(-2, units[-1] + 3)
    ]


# Label Studio


def task(text, *annotations, **more):
    return {"id": 1, "data": {"text": text}, "annotations": list(annotations), **more}


def annotation(*regions, **more):
    return {"result": [region(*r) for r in regions], **more}


def region(start, end, text, *labels):
    value = {"start": start, "end": end, "text": text, "labels": list(labels)}
    return {"id": "x", "from_name": "label", "to_name": "text", "type": "labels", "value": value}


def read_records(kind, records, tmp_path, repair=False):
    path = tmp_path / "in.json"
    path.write_text(json.dumps(records) if kind == "label-studio" else "\n".join(map(json.dumps, records)))
    return KINDS[kind].read(path, ConvertOptions(), repair=repair).dataset


def spans_of(dataset):
    return [[(e.text[a:b], label) for a, b, label in content(e)[1]] for e in dataset.examples]


def test_label_studio_before_and_after_code_points(tmp_path):
    """Offsets 13..23 are those of https://github.com/HumanSignal/label-studio/issues/1347."""
    text = "💩This is an annotation."
    for start, end in ((13, 23), (12, 22)):
        dataset = read_records(
            "label-studio", [task(text, annotation((start, end, "annotation", "A")))], tmp_path
        )
        assert spans_of(dataset) == [[("annotation", "A")]]
        assert [p.kind for p in dataset.problems] == (["offsets"] if start == 13 else [])


def test_label_studio_shows_line_ends_as_two_characters(tmp_path):
    dataset = read_records(
        "label-studio", [task("New\nYork", annotation((0, 8, "New\\nYork", "LOC")))], tmp_path
    )
    assert spans_of(dataset) == [[("New\nYork", "LOC")]]


def test_of_several_annotations_one_is_taken_and_it_is_said(tmp_path):
    skipped = annotation((0, 3, "Ada", "X"), was_cancelled=True)
    first, second = annotation((0, 3, "Ada", "PER")), annotation((0, 3, "Ada", "LOC"))
    truth = annotation((0, 3, "Ada", "ORG"), ground_truth=True)
    for made, label, kinds in (
        ([skipped, first, first], "PER", []),
        ([first, second], "PER", ["annotations"]),
        ([first, truth], "ORG", []),
    ):
        dataset = read_records("label-studio", [task("Ada slept", *made)], tmp_path)
        assert spans_of(dataset) == [[("Ada", label)]]
        assert [p.kind for p in dataset.problems] == kinds


def test_what_is_not_annotated_or_no_span_is_named(tmp_path):
    choice = {"type": "choices", "value": {"choices": ["good"]}}
    records = [task("Ada"), task("Bob", {"result": [choice]}), {"data": {"image": 3}}]
    dataset = read_records("label-studio", records, tmp_path)
    assert [(p.where.split("/")[-1], p.kind, p.fatal) for p in dataset.problems] == [
        ("in.json:record 1", "not-annotated", False),
        ("in.json:record 2", "other-results", True),
        ("in.json:record 3", "json", True),
    ]
    assert spans_of(dataset) == []


def test_json_min_is_read(tmp_path):
    value = {"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]}
    dataset = read_records(
        "label-studio", [{"id": 1, "text": "Ada slept", "label": [value], "annotator": 1}], tmp_path
    )
    assert spans_of(dataset) == [[("Ada", "PER")]]


# doccano


def test_doccano_as_its_examples_and_issues_show_it(tmp_path):
    """The first line is of its shipped example, the second of https://github.com/doccano/doccano/issues/2290."""
    emoji = "👨🏻\u200d🚒 firemen drive firetrucks"
    relation = {"entities": [{"id": 1, "label": "X", "start_offset": 22, "end_offset": 32}], "relations": [1]}
    records = [
        {"text": "EU rejects German call", "label": [[0, 2, "ORG"], [11, 17, "MISC"]]},
        {"text": emoji, "labels": [[22, 32, "X"]]},
        {"text": emoji, **relation},
    ]
    dataset = read_records("doccano", records, tmp_path)
    assert spans_of(dataset) == [
        [("EU", "ORG"), ("German", "MISC")],
        [("firetrucks", "X")],
        [("firetrucks", "X")],
    ]
    assert [p.kind for p in dataset.problems] == ["other-results"]


def test_doccano_offsets_can_be_said_to_be_code_points(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text(json.dumps({"text": "👩 in Rome", "label": [[5, 9, "LOC"]]}))
    assert spans_of(read_back("doccano", path, offsets="codepoints")) == [[("Rome", "LOC")]]
    assert spans_of(read_back("doccano", path)) == [[("Rome", "LOC")]]
    assert [(p.kind, p.fatal) for p in read_back("doccano", path).problems] == [("offsets", False)]
    assert [p.kind for p in read_back("doccano", path, offsets="utf16").problems] == ["cut-word"]
    path.write_text(json.dumps({"text": "👩 in Rome", "label": [[1, 9, "LOC"]]}))
    assert "codepoints" in read_back("doccano", path).problems[0].message


# Prodigy


def test_prodigy_as_its_page_shows_it(tmp_path):
    """https://prodi.gy/docs/api-interfaces#ner_manual: tokens, inclusive token_end, answers."""
    first = {
        "text": "First look at the new MacBook Pro",
        "spans": [{"start": 22, "end": 33, "label": "PRODUCT", "token_start": 5, "token_end": 6}],
        "answer": "accept",
    }
    records = [first, {**first, "answer": "reject"}, {**first, "answer": "ignore"}, {"text": "No spans"}]
    dataset = read_records("prodigy", records, tmp_path)
    assert spans_of(dataset) == [[("MacBook Pro", "PRODUCT")], []]
    assert [(p.kind, p.fatal) for p in dataset.problems] == [("answer", False)] * 2


def test_prodigy_gets_words_as_tokens():
    example = example_from_text("It's  Rome.")
    marked = mark_example(Example(example.words, (Span(2, 3, "LOC"),), example.text, example.offsets))
    written = json.loads("".join(STREAMS["prodigy"]([marked])))
    assert [(t["text"], t["start"], t["end"], t["id"], t["ws"]) for t in written["tokens"]] == [
        ("It", 0, 2, 0, False), ("'s", 2, 4, 1, True), ("Rome", 6, 10, 2, False), (".", 10, 11, 3, False),
    ]  # fmt: skip
    assert written["spans"] == [{"start": 6, "end": 10, "token_start": 2, "token_end": 2, "label": "LOC"}]


# brat


def brat(tmp_path, text, *lines, repair=False):
    (tmp_path / "a.txt").write_bytes(text.encode())
    (tmp_path / "a.ann").write_text("".join(f"{line}\n" for line in lines))
    return KINDS["brat"].read(tmp_path, ConvertOptions(), repair=repair).dataset


def test_brat_as_its_page_shows_it(tmp_path):
    """https://brat.nlplab.org/standoff.html: entities, an event with its trigger, a relation, a note."""
    text = "Sony formed a joint venture with Ericsson, a mobile phone company based in Sweden.\nSony announced today"
    dataset = brat(
        tmp_path,
        text,
        "T1\tOrganization 0 4\tSony",
        "T2\tMERGE-ORG 14 27\tjoint venture",
        "T3\tOrganization 33 41\tEricsson",
        "E1\tMERGE-ORG:T2 Org1:T1 Org2:T3",
        "T4\tCountry 75 81\tSweden",
        "R1\tOrigin Arg1:T3 Arg2:T4",
        "*\tEquiv T1 T3",
        "#1\tAnnotatorNotes T1\tthis annotation is suspect",
        "T5\tOrganization 83 87\tSony",
    )
    first = [
        ("Sony", "Organization"),
        ("joint venture", "MERGE-ORG"),
        ("Ericsson", "Organization"),
        ("Sweden", "Country"),
    ]
    assert spans_of(dataset) == [first, [("Sony", "Organization")]]
    assert [e.source.split("/")[-1] for e in dataset.examples] == ["a.txt:1", "a.txt:2"]
    assert [(p.kind, p.fatal) for p in dataset.problems] == [("other-results", False)]
    assert "1 event, 1 note, 1 other line, 1 relation" in dataset.problems[0].message


def test_discontinuous_spans_are_reported_and_left_out_on_request(tmp_path):
    lines = "T1\tLocation 0 5;16 23\tNorth America", "T2\tLocation 10 23\tSouth America"
    for repair in (False, True):
        dataset = brat(tmp_path, "North and South America", *lines, repair=repair)
        assert spans_of(dataset) == [[("South America", "Location")]]
        assert [(p.kind, p.fatal) for p in dataset.problems] == [("discontinuous", not repair)]


def test_pieces_around_a_line_end_are_one_span_and_join_the_lines(tmp_path):
    dataset = brat(tmp_path, "In New\r\nYork.\n\nSo", "T1\tLOC 3 6;8 12\tNew York", "T2\tX 15 17\tSo")
    assert spans_of(dataset) == [[("New\r\nYork", "LOC")], [("So", "X")]]
    assert dataset.problems == ()


@pytest.mark.parametrize("name", ["annotation.conf", "0001.ann", "notes.txt"])
def test_a_brat_collection_is_never_written_into(tmp_path, name):
    (tmp_path / name).write_text("[entities]\nMINE\n")
    with pytest.raises(DataError, match=rf"there is {name} in the folder"):
        write_marked([mark_example(Example(("Ada",), (Span(0, 1, "PER"),)))], "brat", tmp_path)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(name, "[entities]\nMINE\n")]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"T1\tPER 0 {'9' * 5000}\tAda", "is not an entity"),
        ("T1\tPER 0 9\tAda", "outside the text of 3 characters"),
        ("T1\tPER 0 3\tBob", "is 'Ada', not 'Bob'"),
        ("T1\tPER 0,3\tAda", "is not an entity"),
        ("T1\tPER 3 1\tAda", "outside the text"),
    ],
)
def test_wrong_entities_are_named_with_their_line(tmp_path, line, said):
    dataset = brat(tmp_path, "Ada", "", line)
    assert [p.where.split("/")[-1] for p in dataset.problems] == ["a.ann:2"]
    assert said in dataset.problems[0].message


def test_a_document_without_annotations_file_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("Ada")
    with pytest.raises(DataError, match=r"a\.ann: no such file"):
        KINDS["brat"].read(tmp_path, ConvertOptions())


@pytest.mark.parametrize(
    ("text", "place"), [("Ada\n \n \nBob", "3 7"), ("Ada\n  \nBob", "4 6"), ("Ada Bob", "3 4")]
)
def test_an_entity_over_white_space_is_named_and_not_lost(tmp_path, text, place):
    dataset = brat(tmp_path, text, f"T1\tX {place}\t ")
    assert [p.message for p in dataset.problems if "covers no word" in p.message]
    assert any(p.fatal for p in dataset.problems)


def test_a_long_document_is_read_in_one_pass(tmp_path):
    lines = [f"T{n}\tX {4 * n} {4 * n + 3}\tAda" for n in range(20_000)]
    start = time.process_time()
    dataset = brat(tmp_path, "Ada\n" * 20_000, *lines)
    assert len(dataset.examples) == 20_000
    assert time.process_time() - start < 20


def test_brat_labels_have_no_blanks(tmp_path):
    marked = mark_example(Example(("Ada",), (Span(0, 1, "a person"),)))
    with pytest.raises(DataError, match="no white space"):
        write_marked([marked], "brat", tmp_path / "new")


# All of them


@pytest.mark.parametrize("tool", TOOLS)
def test_overlapping_annotations_are_reported_and_never_silently_lost(tool, tmp_path):
    example = example_from_text("the University of New York")
    spans = mark_example(Example(example.words, (Span(1, 5, "ORG"),), example.text, example.offsets)).spans
    inner = mark_example(Example(example.words, (Span(3, 5, "LOC"),), example.text, example.offsets)).spans
    write_marked([Marked(example.text, example.offsets, spans + inner)], tool, tmp_path / "in")
    strict = read_back(tool, tmp_path / "in")
    assert [(p.kind, p.fatal) for p in strict.problems] == [("overlap", True)]
    with pytest.raises(DataError, match="overlaps"):
        convert(tool, tmp_path / "in", tmp_path / "out.conll")
    report = convert(tool, tmp_path / "in", tmp_path / "out.jsonl", repair=True)
    assert "overlap" in report.describe()
    assert spans_of(read_dataset(tmp_path / "out.jsonl")) == [[("University of New York", "ORG")]]


@pytest.mark.parametrize("tool", TOOLS)
def test_both_directions_on_the_command_line(tool, tmp_path):
    (tmp_path / "a.conll").write_text("New\tB-LOC\nYork\tI-LOC\nslept\tO\n\nSo\tO\n\n")
    names = [str(tmp_path / name) for name in ("a.conll", "tool", "b.conll")]
    there = CliRunner().invoke(app, ["convert", tool, *names[:2], "--export"])
    assert there.exit_code == 0, there.output
    assert "2 texts" in there.output
    back = CliRunner().invoke(app, ["convert", tool, *names[1:]])
    assert back.exit_code == 0, back.output
    assert read_dataset(names[2]).examples[0].spans == (Span(0, 2, "LOC"),)
    assert len(read_dataset(names[2]).examples) == 2


def test_the_command_line_knows_every_format():
    assert {str(format) for format in Format} == {*FORMATS, "brat"}


def test_published_data_cannot_be_written(tmp_path):
    with pytest.raises(ConfigError, match="unknown annotation tool 'ace05'; choose one of"):
        export("ace05", tmp_path / "a.conll", tmp_path / "b")
