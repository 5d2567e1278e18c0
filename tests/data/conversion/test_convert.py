import json

import pytest
from typer.testing import CliRunner

from lookboth.cli import app
from lookboth.data.checks import check_data
from lookboth.data.conversion.convert_options import ConvertOptions
from lookboth.data.conversion.converting import KINDS, convert
from lookboth.data.conversion.export_formats import export
from lookboth.data.readers import read_dataset
from lookboth.errors import ConfigError, DataError

# Invented utterances in the form of an NLU++ fold.
FOLD = [
    {
        "text": "move my table to the 3rd of May at half nine",
        "intents": ["change", "booking"],
        "slots": {
            "date": {"text": "3rd of May", "span": [21, 31], "value": {"day": 3, "month": 5}},
            "time": {"text": "half nine", "span": [35, 44], "value": {"hour": 9, "minute": 30}},
        },
    },
    {"text": "yes please", "intents": ["affirm"]},
    {
        "text": "two kids, four people",
        "slots": {"kids": [{"text": "two", "span": [0, 3]}], "people": {"span": [10, 14]}},
    },
]
SLOTS = [[("3rd of May", "date"), ("half nine", "time")], [], [("two", "kids"), ("four", "people")]]


@pytest.fixture
def fold(tmp_path):
    path = tmp_path / "fold0.json"
    path.write_text(json.dumps(FOLD, indent=2))
    return path


def labeled(path):
    dataset = read_dataset(path)
    return [[(" ".join(e.words[s.start : s.end]), s.label) for s in e.spans] for e in dataset.examples]


@pytest.mark.parametrize("suffix", [".conll", ".jsonl"])
def test_slots_become_spans(fold, tmp_path, suffix):
    report = convert("nlupp", fold, tmp_path / "new" / f"out{suffix}")
    assert labeled(tmp_path / "new" / f"out{suffix}") == SLOTS
    assert report.problems == ()


@pytest.mark.parametrize(
    ("slots", "said"),
    [
        ({"time": {"span": [4, 9]}}, "outside the text"),
        ({"time": {"text": "six", "span": [3, 6]}}, "cuts a word of 'sixes'"),
        ({"time": {"text": "six", "span": [3, 8]}}, "is 'sixes', not 'six'"),
        ({"time": {"text": "six"}}, "slot 'time' is {'text': 'six'}; it needs a 'span' of two numbers"),
        ({"time": {"span": [3]}}, "it needs a 'span' of two numbers"),
        (["x"], "it needs a 'span' of two numbers"),
        ({"time": {"span": [3, 6]}, "number": {"span": [3, 6]}}, "overlaps"),
    ],
)
def test_a_wrong_slot_is_named_by_its_record(tmp_path, slots, said):
    path = tmp_path / "fold.json"
    path.write_text(json.dumps([FOLD[1], {"text": "at sixes", "slots": slots}]))
    with pytest.raises(DataError) as caught:
        convert("nlupp", path, tmp_path / "out.jsonl")
    assert f"{path}:record 2: " in str(caught.value)
    assert said in str(caught.value)
    assert convert("nlupp", path, tmp_path / "out.jsonl", repair=True).ok


def test_a_text_that_is_none(tmp_path):
    path = tmp_path / "fold.json"
    path.write_text('{"text": 3}\n{"utterance": "hi"}\n')
    with pytest.raises(DataError, match=r"fold\.json:2: keys \['utterance'\]: no 'text'; write"):
        convert("nlupp", path, tmp_path / "out.jsonl")


def test_converted_folds_are_ready_to_train(fold, tmp_path):
    for split in ("train", "dev"):
        convert("nlupp", fold, tmp_path / "data" / f"{split}.conll")
    assert check_data([tmp_path / "data"]).ok


def test_kinds_options_and_suffixes_are_checked(fold, tmp_path):
    with pytest.raises(ConfigError, match=f"unknown kind of data 'x'; choose one of {', '.join(KINDS)}"):
        convert("x", fold, tmp_path / "o.conll")
    with pytest.raises(ConfigError, match="--polarities does not apply to ace05; its options: --label"):
        convert("ace05", fold, tmp_path / "o.conll", ConvertOptions(polarities=3))
    with pytest.raises(ConfigError, match="--polarities 5: allowed are 0, 3, 4"):
        ConvertOptions(polarities=5)
    with pytest.raises(DataError, match=r"written as \.conll or \.jsonl"):
        convert("nlupp", fold, tmp_path / "o.csv")
    with pytest.raises(DataError, match="cannot be written: "):
        convert("nlupp", fold, fold / "o.conll")


def test_what_columns_cannot_hold_is_refused(tmp_path):
    path = tmp_path / "in.json"
    path.write_text(json.dumps([{"words": ["a\tb", "c"], "golden-event-mentions": []}]))
    with pytest.raises(DataError, match=r"in\.json:record 1: .* is not read back unchanged"):
        convert("ace05", path, tmp_path / "out.conll")
    convert("ace05", path, tmp_path / "out.jsonl")
    assert read_dataset(tmp_path / "out.jsonl").examples[0].words == ("a\tb", "c")


def test_what_cannot_be_written_leaves_the_older_file(tmp_path):
    source, out = tmp_path / "in.json", tmp_path / "out.conll"
    source.write_text(json.dumps([{"words": ["a\tb", "c"], "golden-event-mentions": []}]))
    out.write_text("older\tO\n")
    with pytest.raises(DataError, match=r"read back unchanged \(.*out\.conll:1\)"):
        convert("ace05", source, out)
    assert out.read_text() == "older\tO\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.json", "out.conll"]


def test_the_source_is_not_written_over(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "In Rome", "label": [[3, 7, "LOC"]]}\n')
    with pytest.raises(ConfigError, match="is the input file"):
        convert("doccano", path, path)
    assert '"label"' in path.read_text()
    path.write_text('{"tokens": ["Rome"], "tags": ["B-LOC"]}\n')
    with pytest.raises(ConfigError, match="is the input file"):
        export("doccano", path, path)
    assert path.read_text() == '{"tokens": ["Rome"], "tags": ["B-LOC"]}\n'


def test_the_command_says_what_it_wrote(fold, tmp_path):
    result = CliRunner().invoke(app, ["convert", "nlupp", str(fold), str(tmp_path / "out.conll")])
    assert result.exit_code == 0
    assert "3 sentences, 18 words, 4 spans: date 1, kids 1, people 1, time 1" in result.output
    assert result.output.endswith(f"written: {tmp_path / 'out.conll'}\n")
    assert labeled(tmp_path / "out.conll") == SLOTS
