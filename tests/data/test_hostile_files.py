"""Data files that nobody would write: no reader crashes, none passes on what cannot be text, no record is lost."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from lookboth.data.conversion.convert_options import ConvertOptions
from lookboth.data.conversion.converting import KINDS
from lookboth.data.jsonl import read_jsonl
from lookboth.data.rawtext import read_raw_text
from lookboth.data.readers import SUFFIXES, ReadOptions, read_dataset, read_text
from lookboth.errors import DataError, LookbothError
from lookboth.types import Dataset

HOSTILE = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
TEXT = st.text(max_size=8) | st.sampled_from(
    ["", " ", "\n", "\x00", "\ud800", "B-\ud800", "O", "B-PER", "I-PER", "Ada\u202e \u2028was", "x" * 3000]
)
NUMBER = st.integers(-3, 12) | st.sampled_from([10**400, 1.5, float("nan"), None, "1", True])
ANY = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def of(**fields):
    """Return records with these keys, now and then with anything under one of them."""
    return st.fixed_dictionaries({key: value | ANY for key, value in fields.items()})


def some(inner):
    return st.lists(inner, max_size=3)


RECORDS = st.one_of(
    st.lists(st.tuples(TEXT, TEXT), max_size=4).map(
        lambda pairs: {"tokens": [word for word, _ in pairs], "tags": [tag for _, tag in pairs]}
    ),
    of(text=TEXT, spans=some(of(start=NUMBER, end=NUMBER, label=TEXT))),
    of(text=TEXT, label=TEXT | some(TEXT) | some(st.tuples(NUMBER, NUMBER, TEXT).map(list))),
    of(text=TEXT, entities=some(of(start_offset=NUMBER, end_offset=NUMBER, label=TEXT, id=NUMBER))),
    of(
        data=of(text=TEXT),
        annotations=some(
            of(
                result=some(
                    of(
                        type=st.just("labels"),
                        from_name=TEXT,
                        to_name=TEXT,
                        value=of(start=NUMBER, end=NUMBER, labels=some(TEXT), text=TEXT),
                    )
                )
            )
        ),
    ),
    of(
        text=TEXT,
        tokens=some(of(text=TEXT, start=NUMBER, end=NUMBER, id=NUMBER)),
        spans=some(of(token_start=NUMBER, token_end=NUMBER, label=TEXT)),
        answer=st.sampled_from(["accept", "reject"]),
    ),
    of(
        words=some(TEXT),
        **{
            "golden-event-mentions": some(
                of(trigger=of(start=NUMBER, end=NUMBER, text=TEXT), event_type=TEXT)
            )
        },
    ),
    of(text=TEXT, slots=st.dictionaries(TEXT, of(text=TEXT, span=some(NUMBER), value=ANY), max_size=2)),
    ANY,
)
LINES = st.sampled_from(
    [
        b"Ada\tB-PER", b"was O", b"", b"\t", b"\x00\tO", b"\xed\xa0\x80 B-X", b"a\tb\tc\td", b"-DOCSTART- O",
        b"\xff\tO",
        "\u2028\tO".encode(), "\xa0\tO".encode(), b"label\ttext", b"text,label", b'"a,b', b'"x\ny",1', b"x|y\tz", b"\r",
        b"T1\tPER 0 3\tAda", b"T1\tPER 0 3;5 9\tAda", b"T2\tPER 0 99999999999999999999\tx", b"R1\tR Arg1:T1", b"T5",
        b"<sentences>", b"<sentence id='1'><text>Ada</text>", b"<aspectTerm term='Ada' polarity='x' from='0' to='3'/>",
        b"</sentence>", b"</sentences>",
    ]
)  # fmt: skip
FILES = st.one_of(
    st.binary(max_size=60),
    st.lists(LINES, max_size=8).map(b"\n".join),
    st.lists(RECORDS, max_size=3).map(lambda rows: "\n".join(map(json.dumps, rows)).encode()),
    st.lists(RECORDS, max_size=3).map(lambda rows: json.dumps(rows).encode()),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("hostile")


def read(reader, file: Path, *arguments, **options):
    """Return what a reader makes of a file; None where it says why not."""
    try:
        found = reader(file, *arguments, **options)
    except LookbothError as error:
        str(error).encode()
        return None
    return found


def assert_is_text(dataset: Dataset) -> None:
    for one in dataset.examples:
        "".join([*one.words, *one.labels(), one.text or ""]).encode()
        for (start, end), word in zip(one.offsets, one.words, strict=bool(one.offsets)):
            assert one.text is not None
            assert one.text[start:end] == word
        assert all(0 <= span.start < span.end <= len(one.words) for span in one.spans)
    for problem in dataset.problems:
        str(problem).encode()


@HOSTILE
@given(FILES, st.booleans())
@example(json.dumps({"tokens": ["Ada"], "tags": ["B-\ud800"]}).encode(), True)
@example(
    json.dumps({"text": "Ada", "spans": [[0, 9, "\ud800"], [0, 3, "\ud800"], [0, 3, "X"]]}).encode(), True
)
def test_readers_of_data_take_anything(folder, content, repair):
    for task in ("labeling", "classification"):
        for suffix in sorted({".conll", ".jsonl", ".tsv", ".csv"} & {*SUFFIXES[task]}):
            file = folder / f"data{suffix}"
            file.write_bytes(content)
            dataset = read(read_dataset, file, ReadOptions(task=task, repair=repair))
            if dataset is not None:
                assert_is_text(dataset)


@HOSTILE
@given(FILES, st.booleans())
def test_converters_take_anything(folder, content, repair):
    standoff = folder / "standoff"
    standoff.mkdir(exist_ok=True)
    (standoff / "a.txt").write_bytes(b"Ada was here " + content[:20])
    (standoff / "a.ann").write_bytes(content)
    for suffix in (".json", ".jsonl", ".xml", ".txt"):
        (folder / f"data{suffix}").write_bytes(content)
    for name, kind in KINDS.items():
        for suffix in (".json", ".jsonl") if name not in ("brat", "semeval-absa") else (".xml",):
            file = standoff if name == "brat" else folder / f"data{suffix}"
            converted = read(kind.read, file, ConvertOptions(), repair=repair)
            if converted is not None:
                assert_is_text(converted.dataset)


@HOSTILE
@given(st.lists(RECORDS, max_size=4), st.sampled_from(["labeling", "classification"]))
@example([{"tokens": ["Ada"], "tags": [""]}], "labeling")
def test_every_record_becomes_an_example_or_a_problem(folder, records, task):
    file = folder / "data.jsonl"
    last = {"tokens": ["Ada"], "tags": ["O"]}  # several lines: a single one may be a list of records
    file.write_text("".join(json.dumps(record) + "\n" for record in [*records, last]), encoding="utf-8")
    dataset = read_jsonl(file) if task == "labeling" else read_dataset(file, ReadOptions(task=task))
    places = {one.source for one in dataset.examples} | {problem.where for problem in dataset.problems}
    if not any(problem.kind in ("fields", "tag-style") for problem in dataset.problems):
        assert {f"{file}:{number}" for number in range(1, len(records) + 1)} <= places


@HOSTILE
@given(st.binary(max_size=60) | st.lists(LINES, max_size=5).map(b"\n".join))
def test_every_line_of_text_stays_a_text(folder, content):
    file = folder / "data.txt"
    file.write_bytes(content)
    dataset = read(read_text, file)
    if dataset is not None and not any(problem.kind == "encoding" for problem in dataset.problems):
        assert_is_text(dataset)
        ends = content.removeprefix(b"\xef\xbb\xbf")
        ends = ends if b"\n" in ends else ends.replace(b"\r", b"\n")
        assert len(dataset.examples) == len(ends.removesuffix(b"\n").split(b"\n") if ends else [])
    read(read_raw_text, str(file))


def test_entities_of_xml_are_neither_multiplied_nor_fetched(folder):
    secret = folder / "secret.txt"
    secret.write_text("secret", encoding="utf-8")
    laughs = "".join(f"<!ENTITY l{n} '{f'&l{n - 1};' * 10}'>" for n in range(1, 30))
    for entities in (f"<!ENTITY l0 'ha'>{laughs}", f"<!ENTITY l29 SYSTEM '{secret.as_uri()}'>"):
        file = folder / "laughs.xml"
        document = f"<!DOCTYPE x [{entities}]><sentences><sentence><text>&l29;</text></sentence></sentences>"
        file.write_text(document, encoding="utf-8")
        converted = read(KINDS["semeval-absa"].read, file, ConvertOptions(), repair=False)
        assert converted is None or not any("secret" in one.words for one in converted.dataset.examples)


@pytest.mark.parametrize("name", ["a\0b.conll", "a\0b.jsonl", "\ud800.conll"])
def test_names_that_no_file_can_have_are_refused(name):
    with pytest.raises(DataError, match="file"):
        read_dataset(name)
