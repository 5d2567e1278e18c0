import json

import pytest
from hypothesis import given, settings, strategies as st

from lookboth.data.conversion.convert_options import ConvertOptions
from lookboth.data.conversion.converting import convert
from lookboth.data.readers import read_dataset
from lookboth.errors import DataError

# One invented sentence in the three forms of preprocessed ACE 2005.
WORDS = ["Rebels", "shot", "at", "the", "convoy", "and", "two", "guards", "were", "taken", "away", "."]
GOLDEN = {
    "sentence": "Rebels shot at the convoy and two guards were taken away.",
    "words": WORDS,
    "golden-entity-mentions": [{"text": "Rebels", "entity-type": "PER:Group", "start": 0, "end": 1}],
    "golden-event-mentions": [
        {
            "trigger": {"text": "shot at", "start": 1, "end": 3},
            "arguments": [{"role": "Attacker", "text": "Rebels", "start": 0, "end": 1}],
            "event_type": "Conflict:Attack",
        },
        {
            "trigger": {"text": "taken away", "start": 9, "end": 11},
            "arguments": [],
            "event_type": "Movement:Transport",
        },
    ],
}
ONEIE = {
    "doc_id": "d",
    "sent_id": "d-0",
    "tokens": WORDS,
    "entity_mentions": [],
    "event_mentions": [
        {"id": "e1", "event_type": e["event_type"], "trigger": e["trigger"], "arguments": []}
        for e in GOLDEN["golden-event-mentions"]
    ],
}
DYGIE = {
    "doc_key": "d",
    "sentences": [["Night", "fell", "."], WORDS],
    "ner": [[], []],
    "events": [[], [[[4, "Conflict.Attack"], [3, 3, "Attacker"]], [[12, 13, "Movement.Transport"]]]],
}
BOTH = [("shot at", "Conflict:Attack"), ("taken away", "Movement:Transport")]


def write(tmp_path, *records, as_list):
    path = tmp_path / ("in.json" if as_list else "in.jsonl")
    content = json.dumps(list(records), indent=1) if as_list else "\n".join(map(json.dumps, records))
    path.write_text(content, encoding="utf-8")
    return path


def labeled(path):
    dataset = read_dataset(path)
    return [[(" ".join(e.words[s.start : s.end]), s.label) for s in e.spans] for e in dataset.examples]


def event(start, end, label, **text):
    return {"trigger": {"start": start, "end": end, **text}, "event_type": label, "arguments": []}


@pytest.mark.parametrize("as_list", [True, False])
@pytest.mark.parametrize("record", [GOLDEN, ONEIE])
@pytest.mark.parametrize("suffix", [".conll", ".jsonl"])
def test_triggers_become_spans(tmp_path, record, as_list, suffix):
    report = convert("ace05", write(tmp_path, record, as_list=as_list), tmp_path / f"out{suffix}")
    assert labeled(tmp_path / f"out{suffix}") == [BOTH]
    assert report.problems == ()


def test_dygie_numbers_words_through_the_document_with_inclusive_ends(tmp_path):
    convert("ace05", write(tmp_path, DYGIE, as_list=False), tmp_path / "out.conll")
    assert labeled(tmp_path / "out.conll") == [[], [("shot", "Conflict:Attack"), BOTH[1]]]


@pytest.mark.parametrize(
    ("label", "labels"),
    [
        ("full", ["Conflict:Attack", "Movement:Transport"]),
        ("type", ["Conflict", "Movement"]),
        ("subtype", ["Attack", "Transport"]),
    ],
)
def test_the_label_is_the_part_of_the_type_that_is_asked_for(tmp_path, label, labels):
    source = write(tmp_path, GOLDEN, as_list=True)
    convert("ace05", source, tmp_path / "out.conll", ConvertOptions(label=label))
    assert [label for _, label in labeled(tmp_path / "out.conll")[0]] == labels


def test_overlapping_triggers_are_reported_and_a_repair_keeps_the_longer(tmp_path):
    events = [event(1, 2, "Conflict:Attack"), event(1, 2, "Conflict:Attack"), event(1, 3, "Life:Die")]
    source = write(tmp_path, GOLDEN, GOLDEN | {"golden-event-mentions": events}, as_list=True)
    with pytest.raises(
        DataError, match=r"in\.json:record 2: .*'shot' \(Conflict:Attack\) overlaps .*\(Life:Die\)"
    ):
        convert("ace05", source, tmp_path / "out.conll")
    report = convert("ace05", source, tmp_path / "out.conll", repair=True)
    assert labeled(tmp_path / "out.conll") == [BOTH, [("shot at", "Life:Die")]]
    assert [(p.kind, p.fatal) for p in report.problems] == [("overlap", False)]


def test_one_trigger_of_two_types_is_an_overlap(tmp_path):
    events = [event(1, 2, "Conflict:Attack"), event(1, 2, "Life:Injure")]
    source = write(tmp_path, ONEIE | {"event_mentions": events}, as_list=False)
    report = convert("ace05", source, tmp_path / "out.conll", repair=True)
    assert [(p.where, p.kind) for p in report.problems] == [(f"{source}:1", "overlap")]
    assert labeled(tmp_path / "out.conll") == [[("shot", "Conflict:Attack")]]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (event(1, 20, "A:B"), "outside the sentence; 0 <= start < end <= 12, end exclusive"),
        (event(2, 2, "A:B"), "outside the sentence"),
        (event("1", 2, "A:B"), "word numbers are whole numbers"),
        (event(1, 2, "A:B", text="shot at"), "is 'shot', not 'shot at'"),
        (event(1, 2, "A:B", text=5), "its text 5 is not a string"),
        (event(1, 2, "A:B", text=["shot"]), "its text ['shot'] is not a string"),
        ({"trigger": {"start": 1}, "event_type": "A:B"}, "needs 'event_type' and a 'trigger'"),
        ("x", "needs 'event_type' and a 'trigger'"),
    ],
)
def test_a_wrong_trigger_is_named_by_its_record(tmp_path, wrong, said):
    source = write(tmp_path, GOLDEN | {"golden-event-mentions": [wrong]}, as_list=True)
    with pytest.raises(DataError) as caught:
        convert("ace05", source, tmp_path / "out.conll")
    assert f"{source}:record 1: " in str(caught.value)
    assert said in str(caught.value)
    assert len(convert("ace05", source, tmp_path / "out.conll", repair=True).problems) == 1
    assert labeled(tmp_path / "out.conll") == [[]]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"text": "x"}, 'write {"words", "golden-event-mentions"}'),
        (GOLDEN | {"words": "Rebels shot"}, "'words' is not a list of words"),
        (GOLDEN | {"words": ["a", ""]}, "'words' is not a list of words"),
        (DYGIE | {"events": [[]]}, "one list per sentence"),
        (DYGIE | {"events": [None, []]}, "one list per sentence"),
        (DYGIE | {"events": [[], 5]}, "one list per sentence"),
        (DYGIE | {"events": [[[["x"]]], []]}, "does not begin with [word number, event type]"),
        ([1], "not a JSON object"),
    ],
)
def test_a_record_of_another_form(tmp_path, record, said):
    with pytest.raises(DataError) as caught:
        convert("ace05", write(tmp_path, record, as_list=True), tmp_path / "out.conll")
    assert said in str(caught.value)


def test_a_type_without_a_subtype(tmp_path):
    source = write(tmp_path, GOLDEN | {"golden-event-mentions": [event(1, 2, "Attack")]}, as_list=True)
    convert("ace05", source, tmp_path / "out.conll")
    assert labeled(tmp_path / "out.conll") == [[("shot", "Attack")]]
    with pytest.raises(DataError, match="event type 'Attack' has no subtype"):
        convert("ace05", source, tmp_path / "out.conll", ConvertOptions(label="type"))


def test_a_file_that_is_no_json(tmp_path):
    path = tmp_path / "in.json"
    path.write_text("[\n{\n]")
    with pytest.raises(DataError, match=r"in\.json:3: not JSON"):
        convert("ace05", path, tmp_path / "out.conll")


@settings(max_examples=40)
@given(st.data())
def test_any_triggers_survive_in_each_form(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("a")
    words = data.draw(st.lists(st.sampled_from(["war", "#", "U.S.", '"', "é"]), min_size=1, max_size=9))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(words)), max_size=6)))
    spans = list(zip(cuts[::2], cuts[1::2], strict=False))
    golden = {"words": words, "golden-event-mentions": [event(a, b, "A:B") for a, b in spans]}
    oneie = {"tokens": words, "event_mentions": [event(a, b, "A:B") for a, b in spans]}
    dygie = {"sentences": [["x"], words], "events": [[], [[[a + 1, b, "A.B"]] for a, b in spans]]}
    for record in (golden, oneie, dygie):
        convert("ace05", write(folder, record, as_list=False), folder / "out.conll")
        example = read_dataset(folder / "out.conll").examples[-1]
        assert (list(example.words), [(s.start, s.end) for s in example.spans]) == (words, spans)
