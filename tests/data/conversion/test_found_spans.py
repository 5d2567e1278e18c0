"""Spans that a file's offsets miss, countings that are told apart, and results that are no spans of text."""

import json

import pytest

from lookboth.data.conversion.convert_options import ConvertOptions
from lookboth.data.conversion.converting import KINDS, convert
from lookboth.data.readers import read_dataset
from lookboth.errors import DataError

FINE = ("invisible-word", "empty-sentence")


def read(kind, path, content, *, repair=False, **options):
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return KINDS[kind].read(path, ConvertOptions(**options), repair=repair).dataset


def lines(*records):
    return "\n".join(map(json.dumps, records)).encode()


def spans_of(dataset):
    return [
        [(e.text[e.offsets[s.start][0] : e.offsets[s.end - 1][1]], s.label) for s in e.spans]
        for e in dataset.examples
    ]


def kinds(dataset):
    return [(p.kind, p.fatal) for p in dataset.problems if p.kind not in FINE]


# doccano


@pytest.mark.parametrize(
    ("spans", "found", "noted"),
    [
        ([[2, 5, "P"], [9, 13, "L"]], "北京", [("offsets", False)]),  # code points, said
        ([[3, 6, "P"], [10, 14, "L"]], "在北", []),  # UTF-16 units, as doccano counts
    ],
)
def test_one_text_tells_how_all_offsets_of_a_doccano_file_count(spans, found, noted, tmp_path):
    latin = {"text": "😀 Ada in Rome", "label": spans}
    dataset = read(
        "doccano", tmp_path / "a.jsonl", lines({"text": "😀我在北京", "label": [[3, 5, "L"]]}, latin)
    )
    assert spans_of(dataset) == [[(found, "L")], [("Ada", "P"), ("Rome", "L")]]
    assert kinds(dataset) == noted


def test_offsets_that_fit_both_countings_are_a_question(tmp_path):
    content = lines({"text": "😀我在北京", "label": [[3, 5, "L"]]})
    (problem,) = read("doccano", tmp_path / "a.jsonl", content, repair=True).problems
    assert problem.fatal
    assert "'在北' (--offsets utf16) or '北京' (--offsets codepoints)" in problem.message
    assert spans_of(read("doccano", tmp_path / "a.jsonl", content, offsets="codepoints")) == [[("北京", "L")]]


def test_messages_about_doccano_show_the_offsets_of_the_file(tmp_path):
    content = lines({"text": "😀 Ada in Romeo", "label": [[3, 6, "P"], [10, 14, "L"]]})
    (problem,) = read("doccano", tmp_path / "a.jsonl", content, offsets="utf16").problems
    assert "span 10..14 'Rome' (L) cuts a word of 'Romeo'" in problem.message


def test_labels_of_whole_texts_are_no_spans_of_doccano(tmp_path):
    content = lines({"text": "Paracetamol", "label": ["Medicine"]}, {"text": "no", "label": []})
    dataset = read("doccano", tmp_path / "a.jsonl", content, repair=True)
    assert (spans_of(dataset), kinds(dataset)) == ([], [("json", True)])
    assert "--task classification" in dataset.problems[0].message
    both = lines({"text": "Ada", "label": [[0, 3, "A"]], "entities": [[0, 3, "B"]]})
    assert kinds(read("doccano", tmp_path / "a.jsonl", both)) == [("json", True)]
    odd = lines({"text": "Ada", "label": [[0, 3, "A"], 7], "offsets": ["x"]})
    assert "span 7 needs" in read("doccano", tmp_path / "a.jsonl", odd).problems[0].message


# Label Studio


def region(start, end, text, label="P", kind="labels", **more):
    return {"type": kind, "value": {"start": start, "end": end, "text": text, kind: [label], **more}}


def task(data, *regions, **more):
    data = {"text": data} if isinstance(data, str) else data
    return {"data": data, "annotations": [{"result": list(regions), **more}]}


HTML = "<p>Mara <b>Voss</b> &amp; co visited <i>Oslo</i>.</p>"


def test_html_labels_are_read_from_the_text_that_is_shown(tmp_path):
    path = tmp_path / "a.json"
    at = "/p[1]/text()[1]"
    first = region(at, at, "Mara Voss", "PER", "hypertextlabels", globalOffsets={"start": 0, "end": 9})
    last = region(at, at, "Oslo", "LOC", "hypertextlabels", globalOffsets={"start": 23, "end": 27})
    dataset = read("label-studio", path, [task(HTML, first, last), task("<p>Nobody</p>")])
    assert spans_of(dataset) == [[("Mara Voss", "PER"), ("Oslo", "LOC")], []]
    assert [e.text for e in dataset.examples] == ["Mara Voss & co visited Oslo.", "Nobody"]
    plain = region(0, 9, "Mara Voss", "PER", "hypertextlabels")
    assert spans_of(read("label-studio", path, [task("Mara Voss left", plain)])) == [[("Mara Voss", "PER")]]
    wrong = region(at, at, "Mara Voss", "PER", "hypertextlabels", globalOffsets={"start": 3, "end": 9})
    dataset = read("label-studio", path, [task(HTML, wrong)], repair=True)
    assert (spans_of(dataset), kinds(dataset)) == ([], [("html", False)])


@pytest.mark.parametrize(
    "result",
    [
        {"type": "choices", "value": {"choices": ["good"]}},
        {"type": "paragraphlabels", "value": {"start": "0", "end": "0", "paragraphlabels": ["P"]}},
        {"type": "rectanglelabels", "value": {"x": 1, "rectanglelabels": ["P"]}},
        {"type": "taxonomy", "value": {"start": 0, "end": 3, "text": "Ada", "taxonomy": [["A"]]}},
        {"type": "labels", "value": {"start": 0, "end": 3, "text": "Ada", "labels": []}},
    ],
)
def test_results_of_another_type_are_never_a_text_without_spans(result, tmp_path):
    for content in ([task("Ada", result)], [{"text": "Ada", "label": [result["value"]], "annotator": 1}]):
        path = tmp_path / "a.json"
        path.write_text(json.dumps(content))
        with pytest.raises(DataError):
            convert("label-studio", path, tmp_path / "out.jsonl")


def test_the_key_of_the_text_is_the_one_that_the_regions_fit(tmp_path):
    path = tmp_path / "a.json"
    data = {"text": "a title", "body": "Ada slept", "lang": "en"}
    dataset = read("label-studio", path, [task(data, region(0, 3, "Ada")), task({**data, "body": "Bo"})])
    assert spans_of(dataset) == [[("Ada", "P")], []]
    assert [e.text for e in dataset.examples] == ["Ada slept", "Bo"]
    both = [task({"a": "Ada", "b": "Ada"}, region(0, 3, "Ada"))]
    (problem,) = read("label-studio", path, both).problems
    assert problem.fatal
    assert "a or b; name it: --text-field a" in problem.message
    assert spans_of(read("label-studio", path, both, text_field="b")) == [[("Ada", "P")]]


def test_predictions_are_no_annotations_where_somebody_annotated(tmp_path):
    guess = {"predictions": [{"result": [region(0, 3, "Bob")]}]}
    predicted = {"data": {"text": "Bob slept"}, "annotations": [], **guess}
    skipped = {**task("Bob left", was_cancelled=True), **guess}
    path = tmp_path / "a.json"
    dataset = read("label-studio", path, [task("Ada slept", region(0, 3, "Ada")), predicted, skipped])
    assert spans_of(dataset) == [[("Ada", "P")]]
    assert kinds(dataset) == [("not-annotated", False)] * 2
    assert kinds(read("label-studio", path, [skipped])) == [("not-annotated", False)]
    dataset = read("label-studio", path, [predicted])
    assert (spans_of(dataset), kinds(dataset)) == ([[("Bob", "P")]], [("predictions", False)])


def test_a_table_of_label_studio_is_read(tmp_path):
    cell = json.dumps([{"start": 7, "end": 10, "text": "Ada", "labels": ["P"]}]).replace('"', '""')
    rows = f'annotation_id,annotator,label,text\r\n1,1,"{cell}","Hello\r\n, Ada"\r\n2,1,,"Nobody, here"\r\n'
    dataset = read("label-studio", tmp_path / "a.csv", rows.replace("\r\n, ", "\n, ").encode())
    assert spans_of(dataset) == [[("Ada", "P")], []]
    assert [e.text for e in dataset.examples] == ["Hello\n, Ada", "Nobody, here"]


def test_conll_of_label_studio_with_sentences_as_words_is_refused(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text("-DOCSTART- -X- O\n车在路上碰到石头,需要赔偿. -X- _ B-石头\n")
    with pytest.raises(DataError, match="Export the project as JSON"):
        read_dataset(path)
    path.write_text("-DOCSTART- -X- O\nMara -X- _ B-PER\nVoss -X- _ I-PER\n")
    assert [len(e.spans) for e in read_dataset(path).examples] == [1]


# Prodigy


def test_tasks_of_several_sessions_and_of_other_interfaces(tmp_path):
    accepted = {"text": "ab cd", "answer": "accept", "_input_hash": 1}
    tokens = [{"text": t, "start": a, "end": a + len(t)} for t, a in (("a", 0), ("b", 1), ("cd", 3))]
    first = {**accepted, "tokens": tokens, "spans": [{"start": 0, "end": 1, "label": "X"}]}
    choice = {**accepted, "_input_hash": 2, "options": [], "accept": ["POS"]}
    content = lines(first, first, {**accepted, "spans": []}, choice)
    dataset = read("prodigy", tmp_path / "a.jsonl", content)
    assert spans_of(dataset) == [[("a", "X")]]
    assert dataset.examples[0].words == ("a", "b", "cd")
    assert kinds(dataset) == [("annotations", True), ("other-results", True)]


def test_words_that_are_not_ours_are_written_and_read_back(tmp_path):
    tokens = [{"text": t, "start": a, "end": a + 3} for t, a in (("ฉัน", 0), ("รัก", 3))]
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        lines({"text": "ฉันรัก", "tokens": tokens, "spans": [{"start": 3, "end": 6, "label": "V"}]})
    )
    for out in (tmp_path / "b.jsonl", tmp_path / "b.conll"):
        convert("prodigy", path, out)
        assert read_dataset(out).examples[0].words == ("ฉัน", "รัก")


# brat


@pytest.mark.parametrize(
    ("text", "starts"),
    [
        ("Rita left.\r\nShe met Ole.\r\n", (0, 19)),  # CRLF as one
        ("Rita left.\r\nShe met Ole.\r\n", (0, 20)),
        ("\ufeffRita left.\nShe met Ole.\n", (0, 19)),
        ("\ufeffRita left.\nShe met Ole.\n", (1, 20)),  # the byte order mark counts
        ("\ufeffRita left.\r\nShe met Ole.\r\n", (1, 20)),  # and CRLF as one
        ("Rita left.\nShe met Ole.\n", (0, 20)),  # LF as two
        ("Rita 😀.\nShe met Ole.\n", (0, 17)),  # UTF-16 units
        ("Rita é.\nShe met Ole.\n", (0, 17)),  # bytes
    ],
)
def test_entities_are_found_by_their_own_text(text, starts, tmp_path):
    (tmp_path / "a.txt").write_bytes(text.encode())
    entities = [
        f"T{n}\tPER {a} {a + len(t)}\t{t}\n"
        for n, (a, t) in enumerate(zip(starts, ("Rita", "Ole"), strict=True))
    ]
    (tmp_path / "a.ann").write_text("".join(entities))
    dataset = KINDS["brat"].read(tmp_path, ConvertOptions()).dataset
    assert spans_of(dataset) == [[("Rita", "PER")], [("Ole", "PER")]]
    assert {p.kind for p in dataset.problems} <= {"offsets"}


def test_brat_folders_in_folders_and_files_without_a_partner(tmp_path):
    for name, text in (("x/a", "Rita"), ("y/a", "Ole")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / f"{name}.txt").write_text(text)
        (tmp_path / f"{name}.a1").write_text(f"T1\tPER 0 {len(text)}\t{text}\n")
    (tmp_path / "y/a.a2").write_text("T2\tHit 0 3\tOle\nE1\tHit:T2\n")
    (tmp_path / "README.txt").write_text("About")
    (tmp_path / "b.ann").write_text("T1\tPER 0 1\tx\n")
    dataset = KINDS["brat"].read(tmp_path, ConvertOptions(several="joined")).dataset
    assert spans_of(dataset) == [[("Rita", "PER")], [("Ole", "PER+Hit")]]
    assert kinds(dataset)[:2] == [("not-annotated", False), ("not-annotated", True)]


def test_nested_and_overlapping_pieces_of_brat_are_named_with_the_offsets_of_the_file(tmp_path):
    (tmp_path / "a.txt").write_text("So:\nthe big red bus stop\n")
    (tmp_path / "a.ann").write_text(
        "T1\tX 8 15;12 19\tbig red red bus\nT2\tY 16 19\tbus\nT3\tZ 8 11;16 19\tbig bus\n"
    )
    dataset = KINDS["brat"].read(tmp_path, ConvertOptions()).dataset
    assert spans_of(dataset) == [[], [("big red bus", "X")]]
    assert kinds(dataset) == [("discontinuous", False), ("discontinuous", True), ("overlap", True)]
    assert "span 16 19 'bus' (Y) overlaps span 8 15;12 19" in dataset.problems[2].message


# SemEval


def xml(*sentences):
    return f"<sentences>{''.join(sentences)}</sentences>".encode()


def sentence(terms, more=""):
    return f"<sentence id='1'{more}><text>The soup pie</text><aspectTerms>{terms}</aspectTerms></sentence>"


SOUP, PIE = "<aspectTerm term='soup' from='4' to='8'{}/>", "<aspectTerm term='pie' from='9' to='12'{}/>"


def test_terms_without_polarity_are_aspects_and_sentences_out_of_scope_are_no_negatives(tmp_path):
    path = tmp_path / "a.xml"
    out = sentence("", " OutOfScope='TRUE'")
    dataset = read("semeval-absa", path, xml(sentence(SOUP.format("") + PIE.format("")), out))
    assert spans_of(dataset) == [[("soup", "aspect"), ("pie", "aspect")]]
    assert kinds(dataset) == [("polarity", False), ("out-of-scope", False)]
    mixed = xml(sentence(SOUP.format("") + PIE.format(" polarity='positive'")))
    dataset = read("semeval-absa", path, mixed)
    assert kinds(dataset) == [("polarity", True)]
    assert "--polarities 0" in dataset.problems[0].message
    assert spans_of(read("semeval-absa", path, mixed, polarities=0)) == [
        [("soup", "aspect"), ("pie", "aspect")]
    ]


def test_many_problems_are_counted_by_their_kinds(tmp_path):
    (tmp_path / "a.txt").write_text("University of Oslo\n" * 12)
    starts = range(0, 12 * 19, 19)
    entities = [f"T{n}\tORG {n} {n + 18}\nT{n + 1}\tLOC {n + 14} {n + 18}\n" for n in starts]
    (tmp_path / "a.ann").write_text("".join(entities) + "T99\tX 0 3;5 9\n")
    with pytest.raises(DataError, match=r"and 3 more \(in all: discontinuous 1, overlap 12\)"):
        convert("brat", tmp_path, tmp_path / "out.conll")
