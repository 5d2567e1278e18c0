"""Decisions about findings: exactly the corrected file, and nothing else changed in it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from oracle import oracle

from lookboth.audit.auditing import Audit, read_audited, source_of
from lookboth.audit.decisions import apply_decisions, decision_header
from lookboth.audit.findings import find_errors
from lookboth.config.recipe_files import parse_config
from lookboth.errors import DataError
from lookboth.training.folder_claim import hash_examples
from lookboth.types import Span

COLUMNS = (
    "-DOCSTART- -X- O\n\n# id = 1\nAnn  NNP\tB-PER\nmet VBD\tO\nBob  NNP\tO\n\nin IN\tO\nRome NNP\tB-PER\n"
)


def decided(data: Path, true: list[tuple[Span, ...]], answers: dict[int, str] | None = None, **keys) -> Path:
    """Write decisions for all findings of a judge that knows the truth: accept, unless answered otherwise."""
    config = parse_config({"data": {"train": str(data), **keys}})
    dataset = read_audited(config)
    truth = [replace(e, spans=spans) for e, spans in zip(dataset.examples, true, strict=True)]
    labeled = [*truth, *dataset.examples]
    probs = oracle(labeled, scheme=config.scheme)
    probs = replace(probs, log_probs=probs.log_probs[: len(true)])
    findings = find_errors(dataset.examples, probs)
    digest = hash_examples(dataset.examples)
    result = Audit(source_of(config), digest, dataset, range(len(true)), findings, 1.0)
    made = [
        {**finding.to_dict(), "decision": (answers or {}).get(finding.sentence, "accept")}
        for finding in findings
    ]
    file = data.parent / "decisions.json"
    file.write_text(json.dumps({"audit": decision_header(result), "decisions": made}))
    return file


PER, LOC = "PER", "LOC"
TRUE = [(Span(0, 1, PER), Span(2, 3, PER)), (Span(1, 2, LOC),)]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_only_the_tags_of_changed_words_change(tmp_path, end, mark):
    data = tmp_path / "data.conll"
    # The tab separates columns; the first column keeps its blanks.
    source = (mark + COLUMNS).replace("\n", end)
    data.write_bytes(source.encode())
    result = apply_decisions(decided(data, TRUE), tmp_path / "out")
    expected = COLUMNS.replace("Bob  NNP\tO", "Bob  NNP\tB-PER").replace("Rome NNP\tB-PER", "Rome NNP\tB-LOC")
    assert result.file.read_bytes() == (mark + expected).replace("\n", end).encode()
    assert data.read_bytes() == source.encode()
    assert (result.counts, result.sentences) == ({"accept": 2}, 2)
    first = json.loads(result.patch.read_text().splitlines()[0])
    assert first["after"] == [
        {"start": 0, "end": 1, "label": "PER"}, {"start": 2, "end": 3, "label": "PER"}
    ]  # fmt: skip
    assert first["where"].endswith("data.conll:4")


@pytest.mark.parametrize("name", ["dev.conll", "test.iob2", "news.txt"])
def test_files_of_every_split_are_audited(tmp_path, name):
    data = tmp_path / name
    data.write_text(COLUMNS)
    assert apply_decisions(decided(data, TRUE), tmp_path / "out").file.name == f"corrected{data.suffix}"


def test_rejected_and_skipped_findings_change_nothing(tmp_path):
    data = tmp_path / "data.conll"
    data.write_text(COLUMNS)
    result = apply_decisions(decided(data, TRUE, {0: "reject", 1: "skip"}), tmp_path / "out")
    assert result.file.read_text() == COLUMNS
    assert result.patch.read_text() == ""
    assert "accept 0, reject 1, skip 1; 0 sentences changed" in result.describe()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("Ann B-PER x\nLee I-PER y\nran O z\n", "Ann B-PER x\nLee O y\nran O z\n"),
        ("Ann\tPER-B\tx\nLee\tPER-I\ty\nran\tO\tz\n", "Ann\tPER-B\tx\nLee\tO\ty\nran\tO\tz\n"),
        (
            "Ann B-PER x\nLee E-PER y\nran O z\n\nEve S-PER x\n",
            "Ann S-PER x\nLee O y\nran O z\n\nEve S-PER x\n",
        ),
    ],
)
def test_tags_are_spelled_as_in_the_file(tmp_path, source, expected):
    data = tmp_path / "data.conll"
    data.write_text(source)
    true = [(Span(0, 1, "PER"),)] + [(Span(0, 1, "PER"),)] * source.count("\n\n")
    file = decided(data, true, tag_column=1)
    assert apply_decisions(file, tmp_path / "out").file.read_text() == expected


def test_json_records_keep_their_other_keys(tmp_path):
    data = tmp_path / "data.jsonl"
    lines = [
        '{"id": 7,  "text": "Ann met Bob.", "spans": [{"start": 0, "end": 3, "label": "PER", "by": "x"}]}',
        '{"id": 8,  "text": "Nobody.", "spans": [] }',
        '{"id": 9,  "text": "In New York", "spans": [{"start": 7, "end": 11, "label": "PER", "by": "y"}]}',
    ]
    data.write_text("\n".join(lines) + "\n")
    result = apply_decisions(decided(data, [TRUE[0], (), (Span(1, 3, "LOC"),)]), tmp_path / "out")
    written = result.file.read_text().splitlines()
    assert json.loads(written[0]) == {
        "id": 7, "text": "Ann met Bob.",
        "spans": [
            {"start": 0, "end": 3, "label": "PER", "by": "x"}, {"start": 8, "end": 11, "label": "PER"},
        ],
    }  # fmt: skip
    assert written[1] == lines[1]
    assert json.loads(written[2])["spans"] == [{"start": 3, "end": 11, "label": "LOC"}]


@pytest.mark.parametrize("label_map", [{"MISC": ""}, {"*": "", "human": "PER"}])
def test_spans_of_dropped_labels_and_spellings_stay_in_changed_records(tmp_path, label_map):
    data = tmp_path / "data.jsonl"
    bad, ann, met, bob = (
        {"start": start, "end": end, "label": label, "id": 1}
        for start, end, label in ((None, 2, "PER"), (0, 3, "human"), (4, 7, "MISC"), (8, 11, "MISC"))
    )
    data.write_text(json.dumps({"text": "Ann met Bob", "spans": [bob, met, ann, bad]}) + "\n")
    file = decided(data, TRUE[:1], label_map={"human": "PER", **label_map}, repair=True)
    (written,) = apply_decisions(file, tmp_path / "out").file.read_text().splitlines()
    # No two spans may overlap.
    assert json.loads(written)["spans"] == [bad, ann, met, {"start": 8, "end": 11, "label": "human"}]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_list_of_records_stays_one(tmp_path, indent, end):
    data = tmp_path / "data.json"
    records = [
        {"text": "Ann met Bob", "spans": [], "k": {"a": [1]}},
        {"text": "Nobody.", "spans": [], "k": 2},
    ]
    text = json.dumps(records, indent=indent) + "\n"
    data.write_bytes(text.replace("\n", end).encode())
    result = apply_decisions(decided(data, [(Span(2, 3, "PER"),), ()]), tmp_path / "out")
    assert result.file.name == "corrected.json"
    records[0]["spans"] = [{"start": 8, "end": 11, "label": "PER"}]
    text = json.dumps(records, indent=indent if end else None) + "\n"
    assert result.file.read_bytes() == text.replace("\n", end).encode()


def test_json_tags_and_spans_as_lists(tmp_path):
    for number, line in enumerate((
        {"tokens": ["Ann", "met", "Bob"], "ner_tags": ["B-PER", "O", "O"], "k": 1},
        {"text": "Ann met Bob", "spans": [[0, 3, "PER"]], "k": 1},
    )):  # fmt: skip
        data = tmp_path / f"data{number}.jsonl"
        data.write_text(json.dumps(line) + "\n")
        written = json.loads(apply_decisions(decided(data, TRUE[:1]), tmp_path / "out").file.read_text())
        key = "spans" if number else "ner_tags"
        assert written[key] == ([[0, 3, "PER"], [8, 11, "PER"]] if number else ["B-PER", "O", "B-PER"])
        assert written["k"] == 1


def test_other_formats_are_written_as_json_lines_and_this_is_said(tmp_path, caplog):
    data = tmp_path / "data.json"
    record = {"tokens": ["Ann", "met", "Bob"], "tags": ["B-PER", "O", "O"]}
    data.write_text(json.dumps(record, indent=1) + "\n" + json.dumps(record, indent=1))
    result = apply_decisions(decided(data, TRUE[:1] * 2), tmp_path / "out")
    assert result.file.name == "corrected.jsonl"
    assert json.loads(result.file.read_text().splitlines()[1])["tags"] == ["B-PER", "O", "B-PER"]
    assert "Words and labels alone are written" in caplog.text


def test_decisions_on_other_data_or_ill_formed_ones_are_refused(tmp_path):
    data = tmp_path / "data.conll"
    data.write_text(COLUMNS)
    file = decided(data, TRUE)
    value = json.loads(file.read_text())
    twice = {**value, "decisions": value["decisions"] * 2}
    for content, message in (
        (json.dumps(twice), "two decisions change one span|overlap"),
        (json.dumps({**value, "decisions": [{**value["decisions"][0], "decision": "yes"}]}), "'yes' is not"),
        ("{", "not decisions of an audit"),
        (json.dumps([]), "not decisions of an audit"),
    ):
        file.write_text(content)
        with pytest.raises(DataError, match=message):
            apply_decisions(file, tmp_path / "out")
    file.write_text(json.dumps(value))
    data.write_text(COLUMNS.replace("met", "saw"))
    with pytest.raises(DataError, match="not those of the audit"):
        apply_decisions(file, tmp_path / "out")
    assert not (tmp_path / "out").exists()
