"""Every kind of data that is known by its look, and the layouts of other libraries read word by word."""

import json
import re
import shlex

import pytest
from typer.testing import CliRunner

from lookboth.cli import app
from lookboth.data.checks import check_data
from lookboth.data.conversion.converting import KINDS, convert
from lookboth.data.conversion.kinds import advise_conversion, recognize
from lookboth.data.readers import ReadOptions, read_dataset, read_split
from lookboth.errors import ConfigError, DataError

TRIPLES = {"entities": [[0, 9, "PER"]]}
ANNA = [("Anna Moss", "PER")]
LS_REGION = {"start": 0, "end": 9, "text": "Anna Moss", "labels": ["PER"]}
CONLL2012 = (
    "#begin document (nw/x_1); part 000\n"
    "nw/x 0 0 Anna NNP * - - - - (PERSON* -\n"
    "nw/x 0 1 Moss NNP * - - - - *) -\n"
    "nw/x 0 2 slept VBD * - - - - * -\n\n"
    "#end document\n"
    "#begin document (nw/x_2); part 000\n"
    "nw/x 0 0 Oslo NNP * - - - - (GPE) (1)\n\n"
    "#end document\n"
)
# name of the file, content, kind, and the spans of each sentence where it is read without a conversion
FILES = {
    "spacy": ("a.jsonl", [["Anna Moss slept.", TRIPLES]], "spacy-json", [ANNA]),
    "spacy list": ("a.json", json.dumps([["Anna Moss slept.", TRIPLES]]), "spacy-json", [ANNA]),
    "ner annotator": (
        "a.json",
        json.dumps({"classes": ["PER"], "annotations": [["Anna Moss slept.", TRIPLES], None]}),
        "spacy-json",
        [ANNA],
    ),
    "gliner": (
        "a.json",
        json.dumps([{"tokenized_text": ["Anna", "Moss", "slept"], "ner": [[0, 1, "PER"], [2, 2, "act"]]}]),
        "gliner",
        [[*ANNA, ("slept", "act")]],
    ),
    "cluener": (
        "a.json",
        [
            {"text": "浙商银行叶老桂", "label": {"name": {"叶老桂": [[4, 6]]}, "company": {"浙商银行": [[0, 3]]}}},
            {"text": "没有", "label": {}},
        ],
        "cluener",
        [[("浙 商 银 行", "company"), ("叶 老 桂", "name")], []],
    ),
    "rasa lines": (
        "a.jsonl",
        [
            {
                "text": "book 2 in oslo",
                "intent": "book",
                "entities": [{"start": 10, "end": 14, "value": "Oslo", "entity": "city"}],
            },
            {"text": "hi", "intent": "greet"},
        ],
        "rasa",
        [[("oslo", "city")], []],
    ),
    "rasa": (
        "nlu.json",
        json.dumps(
            {
                "rasa_nlu_data": {
                    "regex_features": [{"name": "zip", "pattern": "[0-9]"}],
                    "common_examples": [
                        {"text": "to Oslo", "entities": [{"start": 3, "end": 7, "value": "x", "entity": "city"}]}
                    ],
                }
            },
            indent=2,
        ),
        "rasa",
        [[("Oslo", "city")]],
    ),
    "massive": (
        "a.jsonl",
        [{"utt": "wake me at five am", "annot_utt": "wake me at [time : five am]"}],
        "massive",
        [[("five am", "time")]],
    ),
    "prodigy": (
        "a.jsonl",
        [
            {"text": "Anna Moss slept", "spans": [{"start": 0, "end": 9, "label": "PER"}], "answer": "accept"},
            {"text": "no", "spans": [], "answer": "reject"},
        ],
        "prodigy",
        [ANNA],
    ),
    "conll2012": ("a.gold_conll", CONLL2012, "conll2012", [[("Anna Moss", "PERSON")], [("Oslo", "GPE")]]),
    "wikiner": (
        "a.txt",
        "Anna|NNP|I-PER Moss|NNP|I-PER slept|VBD|O .|.|O\n\n|||.|O Oslo|NNP|I-LOC\n",
        "wikiner",
        [ANNA, [("Oslo", "LOC")]],
    ),
    "opennlp": (
        "a.txt",
        "<START:person> Anna Moss <END> slept in <START> Oslo <END> .\n\nShe woke .\n",
        "opennlp",
        [[("Anna Moss", "person"), ("Oslo", "default")], []],
    ),
    "doccano": (
        "a.jsonl",
        [{"text": "Hi", "label": []}, {"text": "Anna Moss", "label": [[0, 9, "PER"]]}],
        "doccano",
        None,
    ),
    "doccano relations": (
        "a.jsonl",
        [{"text": "Anna", "entities": [{"id": 1, "label": "P", "start_offset": 0, "end_offset": 4}], "relations": []}],
        "doccano",
        None,
    ),
    "label studio": (
        "a.json",
        json.dumps([{"data": {"text": "x"}, "annotations": [{"result": []}]}]),
        "label-studio",
        None,
    ),
    "label studio min": (
        "a.json",
        json.dumps([{"text": "Anna Moss", "label": [LS_REGION], "annotator": 1, "annotation_id": 1}]),
        "label-studio",
        None,
    ),
    "label studio csv": (
        "a.csv",
        'annotation_id,annotator,label,text\n1,1,"[{""start"":0,""end"":4,""labels"":[""PER""]}]",Anna\n',
        "label-studio",
        None,
    ),
    "semeval": (
        "a.xml",
        "<sentences><sentence><text>Soup</text></sentence></sentences>",
        "semeval-absa",
        None,
    ),
    "nlupp": (
        "a.json",
        json.dumps([{"text": "at six", "slots": {"time": {"text": "six", "span": [3, 6]}}}]),
        "nlupp",
        [[("six", "time")]],
    ),
    "ace05": ("a.json", json.dumps([{"words": ["a"], "golden-event-mentions": []}]), "ace05", None),
}  # fmt: skip
# Files that are read as they are.
PLAIN = {
    "a.conll": "Anna|Moss|O\tB-PER\nslept\tO\n",
    "b.txt": "<START:x>\tO\na\tB-X\n",
    "c.jsonl": json.dumps({"text": "Anna", "entities": [[0, 4, "PER"]]}),
    "d.jsonl": json.dumps({"tokens": ["Anna"], "tags": ["O"]}),
    "e.json": json.dumps([{"text": "Anna", "spans": []}]),
    "f.tsv": "a\tb\tO\n",
}


def write(folder, name, content):
    path = folder / name
    lines = content if isinstance(content, str) else "".join(json.dumps(line) + "\n" for line in content)
    path.write_text(lines, encoding="utf-8")
    return path


def spans_of(dataset):
    return [[(" ".join(e.words[s.start : s.end]), s.label) for s in e.spans] for e in dataset.examples]


@pytest.mark.parametrize("case", FILES)
def test_a_kind_is_recognized_and_read_or_its_command_is_named(case, tmp_path):
    name, content, kind, spans = FILES[case]
    path = write(tmp_path, name, content)
    assert recognize(path) == kind
    if spans is None:
        with pytest.raises(DataError, match=f"type: lookboth convert {kind} {path}"):
            read_dataset(path)
        shown = CliRunner().invoke(app, ["check-data", str(path)])
        assert f"lookboth convert {kind}" in str(shown.exception)
    else:
        assert spans_of(read_dataset(path)) == spans
        assert check_data([path]).ok
        convert(kind, path, tmp_path / "out.conll")
        assert spans_of(read_dataset(tmp_path / "out.conll")) == spans


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_read_as_it_is_looks_like_no_other_kind(name, tmp_path):
    assert recognize(write(tmp_path, name, PLAIN[name])) is None


def test_one_word_per_line_is_not_one_sentence_per_word(tmp_path):
    path = write(tmp_path, "a.conll", "Anna|B-PER\nMoss|I-PER\n\nshe|O\n")
    assert recognize(path) is None
    assert not check_data([path]).ok


def test_keys_that_are_named_go_before_what_a_file_looks_like(tmp_path):
    path = write(tmp_path, "a.jsonl", [{"text": "Anna", "label": [[0, 4, "PER"]], "other": []}])
    options = ReadOptions(text_field="text", label_field="label")
    assert spans_of(read_dataset(path, options)) == [[("Anna", "PER")]]


def test_folders_of_brat_are_splits(tmp_path):
    for split, name in (("train", "Rita"), ("devel", "Max")):
        (tmp_path / split / "part").mkdir(parents=True)
        write(tmp_path / split / "part", "a.txt", f"{name} left.")
        write(tmp_path / split / "part", "a.ann", f"T1\tPER 0 {len(name)}\t{name}\n")
    counts = check_data([tmp_path]).splits
    assert [(split.split, dict(split.labels)) for split in counts] == [
        ("train", {"PER": 1}),
        ("dev", {"PER": 1}),
    ]
    assert spans_of(read_split(tmp_path, "dev")) == [[("Max", "PER")]]
    # A folder of documents alone is one split.
    assert check_data([tmp_path / "train"]).splits[0].labels == {"PER": 1}
    assert spans_of(read_dataset(tmp_path / "train" / "part" / "a.txt")) == [[("Rita", "PER")]]
    with pytest.raises(DataError, match="no file for the split 'dev'"):
        read_split(tmp_path / "train", "dev")


def test_the_command_that_is_named_converts_the_file_and_keeps_it(tmp_path):
    path = write(tmp_path, "my export.jsonl", [{"text": "Anna Moss", "label": [[0, 9, "PER"]]}])
    command = advise_conversion("doccano", path).partition("type: lookboth ")[2]
    done = CliRunner().invoke(app, shlex.split(command))
    assert done.exit_code == 0, done.output
    assert spans_of(read_dataset(shlex.split(command)[-1])) == [ANNA]


def test_every_kind_is_named_in_the_help(tmp_path):
    shown = re.sub(r"\W", "", CliRunner().invoke(app, ["convert", "--help"]).output)
    assert [name for name in KINDS if name.replace("-", "") not in shown] == []


@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [
        ("gliner", [{"tokenized_text": ["a"], "ner": [[0, 1, "X"]]}], "outside the sentence"),
        ("gliner", [{"tokenized_text": ["a"], "ner": [[0, "X"]]}], "is not a span"),
        ("cluener", [{"text": "ab", "label": {"X": {"c": [[0, 0]]}}}], "not 'c'"),
        ("cluener", [{"text": "ab", "label": {"X": [[0, 0]]}}], "is not \\[first"),
        ("massive", [{"utt": "at six", "annot_utt": "at [time : five]"}], "is not the 'utt' 'at six'"),
        ("massive", [{"utt": "at six"}], "no 'annot_utt'"),
        ("spacy-json", [["text", {"cats": {}}]], "is not a text with 'entities'"),
        ("spacy-json", [["text", {"entities": [[0, 99, "X"]]}]], "outside the text"),
        ("rasa", [{"intent": "x"}], "no 'text'"),
        ("opennlp", "<START:a> x <START:b> y <END>\n", "does not fit"),
        ("opennlp", "<START:a> x\n", "not closed"),
        ("wikiner", "a|X|O b\n", "is not a WikiNER line"),
        ("conll2012", "#begin document\na b c\n", "a line of 3 columns"),
        ("conll2012", CONLL2012.replace("*)", "(GPE)"), "begins inside another"),
        ("conll2012", CONLL2012.replace("*)", "*"), "never closed"),
        ("json", [{"text": "a"}], "are not supported"),
    ],
)
def test_what_cannot_be_read_is_named(kind, content, said, tmp_path):
    path = write(tmp_path, "in.json", content)
    with pytest.raises(DataError, match=said):
        convert(kind, path, tmp_path / "out.conll")


def test_documents_of_conll2012_are_kept(tmp_path):
    convert_to = tmp_path / "out.conll"
    asked = [
        "convert",
        "conll2012",
        str(write(tmp_path, "a.conll", CONLL2012)),
        str(convert_to),
        "--documents",
    ]
    assert CliRunner().invoke(app, asked).exit_code == 0
    assert convert_to.read_text().count("-DOCSTART-") == 2


@pytest.mark.parametrize(("several", "label"), [("first", "PER"), ("joined", "PER+VIP")])
@pytest.mark.parametrize(
    "kind", ["json", "doccano", "spacy-json", "gliner", "label-studio", "brat", "prodigy"]
)
def test_of_several_labels_of_one_range_one_is_chosen_by_name(kind, several, label, tmp_path):
    triples = [[0, 9, "PER"], [0, 9, "VIP"]]
    spans = [{"start": 0, "end": 9, "label": name} for name in ("PER", "VIP")]
    region = {"type": "labels", "value": {**LS_REGION, "labels": ["PER", "VIP"]}}
    contents = {
        "json": [{"text": "Anna Moss slept", "entities": triples}],
        "doccano": [{"text": "Anna Moss slept", "label": triples}],
        "spacy-json": [["Anna Moss slept", {"entities": triples}]],
        "gliner": [{"tokenized_text": ["Anna", "Moss"], "ner": [[0, 1, "PER"], [0, 1, "VIP"]]}],
        "label-studio": [{"data": {"text": "Anna Moss slept"}, "annotations": [{"result": [region]}]}],
        "prodigy": [{"text": "Anna Moss slept", "spans": spans}],
        "brat": "T1\tPER 0 9\tAnna Moss\nT2\tVIP 0 9\tAnna Moss\n",
    }
    path = write(tmp_path, "a.ann" if kind == "brat" else "a.jsonl", contents[kind])
    write(tmp_path, "a.txt", "Anna Moss slept")
    out = tmp_path / "out.jsonl"
    with pytest.raises(DataError, match=r"--several first and --several joined"):
        convert(kind, path, out)
    asked = ["convert", kind, str(path), str(out), "--several", several]
    assert CliRunner().invoke(app, asked).exit_code == 0
    assert spans_of(read_dataset(out)) == [[("Anna Moss", label)]]


def test_options_of_reading_are_for_the_other_way(tmp_path):
    columns = write(tmp_path, "a.conll", "0\tNew\tB-LOC\n1\tYork\tI-LOC\n\n")
    out = tmp_path / "out.jsonl"
    asked = ["convert", "prodigy", str(columns), str(out), "--export", "--word-column", "1"]
    assert CliRunner().invoke(app, asked).exit_code == 0
    assert json.loads(out.read_text())["text"] == "New York"
    tagged = write(tmp_path, "io.jsonl", [{"tokens": ["New", "York"], "tags": ["LOC", "LOC"]}])
    columns = str(tmp_path / "io.conll")
    assert CliRunner().invoke(app, ["convert", "json", str(tagged), columns, "--scheme", "IO"]).exit_code == 0
    assert spans_of(read_dataset(columns)) == [[("New York", "LOC")]]
    wrong = CliRunner().invoke(app, ["convert", "json", str(out), columns, "--tag-column", "2"])
    assert isinstance(wrong.exception, ConfigError)
    with pytest.raises(ConfigError, match="--text-field does not apply to doccano"):
        raise (
            CliRunner()
            .invoke(app, ["convert", "doccano", str(out), str(tmp_path / "b.conll"), "--text-field", "x"])
            .exception
        )
