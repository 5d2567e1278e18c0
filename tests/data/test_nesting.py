"""Overlapping spans: readers keep all of them for a nested head, and other data are refused with its name."""

import json
import re
from collections import Counter

import pytest
from hypothesis import given, strategies as st

from lookboth.data import ReadOptions, read_dataset
from lookboth.data.conversion import convert, export
from lookboth.data.conversion.export_formats import TOOLS, write_marked
from lookboth.data.conversion.marked import mark_example
from lookboth.data.labeled_rows import Table, read_word_rows
from lookboth.data.nesting import (
    depths_of,
    do_overlap,
    encode_nested,
    keep_overlaps,
    nested_tags,
    require_depth,
)
from lookboth.data.schemes import decode_tags
from lookboth.data.words import example_from_text
from lookboth.errors import DataError
from lookboth.types import Example, Span

NESTED = ReadOptions(nested=True)
TEXT = "the Bank of China said"
# Nested in another label, nested in its own label, and the same words twice.
SPANS = (Span(1, 4, "GPE"), Span(1, 4, "ORG"), Span(3, 4, "GPE"))


@st.composite
def sentences(draw):
    """The number of words of a sentence, and spans of two labels over them that may overlap in any way."""
    size = draw(st.integers(1, 8))
    places = st.tuples(st.integers(0, size - 1), st.integers(1, size), st.sampled_from("XY"))
    found = draw(st.lists(places, max_size=8))
    return size, tuple(Span(start, max(end, start + 1), label) for start, end, label in found)


@given(sentences())
def test_sequences_hold_exactly_the_spans(sentence):
    size, spans = sentence
    depth = max((level for _, level in depths_of(spans)), default=1)
    tags = nested_tags("XY", depth)
    rows = encode_nested(spans, size, tags)
    found = Counter()
    for column in range(2 * depth):
        label = tags[3 * column].partition("-")[2]
        names = ("O", f"B-{label}", f"I-{label}")
        found.update(decode_tags([names[row[column]] for row in rows], "IOB2"))
    assert found == Counter(set(spans))


@given(sentences())
def test_the_longest_spans_have_depth_1_and_no_two_of_a_depth_overlap(sentence):
    _, spans = sentence
    found = depths_of(spans)
    for span, depth in found:
        others = [o for o, level in found if o.label == span.label and level == depth and o != span]
        assert all(other.end <= span.start or span.end <= other.start for other in others)
        # Each lower depth has a span that is as long or longer and overlaps this one.
        for lower in range(1, depth):
            around = [o for o, level in found if o.label == span.label and level == lower]
            assert any(
                o.start < span.end and span.start < o.end and o.end - o.start >= span.end - span.start
                for o in around
            )
    words = Counter(word for span in set(spans) for word in range(span.start, span.end))
    assert do_overlap(set(spans)) == any(count > 1 for count in words.values())


def test_deeper_data_are_refused_with_their_number_the_first_place_and_the_depth_to_type():
    deep = Example(("a", "b", "c"), (Span(0, 3, "X"), Span(0, 2, "X"), Span(0, 1, "X")), source="f:7")
    require_depth([deep], 3)
    with pytest.raises(DataError) as caught:
        require_depth([Example(("a",), (Span(0, 1, "X"),)), deep, deep], 1)
    assert str(caught.value) == (
        "f:7: 'a b' (X) lies at depth 2 among spans of its label, and head.depth is 1; so do 4 spans in all. "
        "Type: --set head.depth=3"
    )


def write(folder, name, text):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def records():
    example = example_from_text(TEXT)
    places = [(example.offsets[s.start][0], example.offsets[s.end - 1][1], s.label) for s in SPANS]
    keyed = [{"start": a, "end": b, "label": label} for a, b, label in places]
    return example, places, keyed


def _triples(folder, places, keyed):
    return write(folder, "a.jsonl", json.dumps({"text": TEXT, "entities": [list(place) for place in places]}))


def _objects(folder, places, keyed):
    return write(folder, "a.jsonl", json.dumps({"text": TEXT, "spans": keyed}))


def _own_tokens(folder, places, keyed):
    return write(folder, "a.jsonl", json.dumps({"text": TEXT, "tokens": TEXT.split(), "spans": keyed}))


def _gliner(folder, places, keyed):
    ner = [[span.start, span.end - 1, span.label] for span in SPANS]
    return write(folder, "a.json", json.dumps([{"tokenized_text": TEXT.split(), "ner": ner}]))


def _columns(folder, places, keyed):
    rows = ["the O O O", "Bank B-ORG B-GPE O", "of I-ORG I-GPE O", "China I-ORG I-GPE B-GPE", "said O O O"]
    # The column of ORG shares a label with the others.
    return write(folder, "a.conll", "\n".join([*rows, "", "The O O O", "ORG B-GPE O O", "", ""]))


def _cells(folder, places, keyed):
    rows = ["the O", "Bank B-ORG|B-GPE", "of I-ORG|I-GPE", "China I-GPE|B-GPE|I-ORG", "said O", "", ""]
    return write(folder, "a.conll", "\n".join(rows))


def _fields(folder, places, keyed):
    outer, inner = ["O", "B-ORG", "I-ORG", "I-ORG", "O"], ["O", "B-GPE", "I-GPE", "I-GPE|B-GPE", "O"]
    record = {"tokens": TEXT.split(), "ner_tags": outer, "nested_ner_tags": inner}
    return write(folder, "a.jsonl", json.dumps(record))


def _spacy(folder, places, keyed):
    return write(folder, "a.json", json.dumps([[TEXT, {"entities": places}]]))


def _bionlp(folder, places, keyed):
    write(folder, "a.txt", TEXT + "\n")
    lines = [f"T{i}\t{label} {a} {b}\t{TEXT[a:b]}\n" for i, (a, b, label) in enumerate(places)]
    return write(folder, "a.a1", "".join(lines)).parent


def _pubtator(folder, places, keyed):
    lines = [f"1\t{a}\t{b}\t{TEXT[a:b]}\t{label}\n" for a, b, label in places]
    return write(folder, "a.pubtator", f"1|t|{TEXT}\n1|a|\n" + "".join(lines))


def _bioc(folder, places, keyed):
    marks = "".join(
        f'<annotation id="{i}"><infon key="type">{label}</infon><location offset="{a}" length="{b - a}"/>'
        f"<text>{TEXT[a:b]}</text></annotation>"
        for i, (a, b, label) in enumerate(places)
    )
    passage = f"<passage><offset>0</offset><text>{TEXT}</text>{marks}</passage>"
    collection = f"<collection><document><id>1</id>{passage}</document></collection>"
    return write(folder, "a.xml", f"<?xml version='1.0'?>{collection}")


def _webanno(folder, places, keyed):
    cells = ["_\t_", "*[1]|*[2]\tGPE[1]|ORG[2]", "*[1]|*[2]\tGPE[1]|ORG[2]"]
    cells += ["*[1]|*[2]|*\tGPE[1]|ORG[2]|GPE", "_\t_"]
    words = [(m.start(), m.end(), m[0]) for m in re.finditer(r"\S+", TEXT)]
    rows = (
        f"1-{i}\t{a}-{b}\t{w}\t{c}\t\n" for i, ((a, b, w), c) in enumerate(zip(words, cells, strict=True), 1)
    )
    head = "#FORMAT=WebAnno TSV 3.3\n#T_SP=core.ner.type.NamedEntity|identifier|value\n\n\n"
    return write(folder, "a.tsv", f"{head}#Text={TEXT}\n" + "".join(rows) + "\n")


def _conllu(folder, places, keyed):
    marks = ("_", "Entity=(e1-ORG(e2-GPE", "_", "Entity=(e3-GPE)e2)e1)", "_")
    rows = (
        f"{i}\t{word}" + 7 * "\t_" + f"\t{mark}"
        for i, (word, mark) in enumerate(zip(TEXT.split(), marks, strict=True), 1)
    )
    return write(folder, "a.conllu", "# global.Entity = eid-etype\n" + "\n".join(rows) + "\n\n")


def _conll2012(folder, places, keyed):
    marks = ("*", "(ORG(GPE*", "*", "(GPE)))", "*")
    rows = (
        f"x 0 {i} {word} N * - - - - {mark} -"
        for i, (word, mark) in enumerate(zip(TEXT.split(), marks, strict=True))
    )
    lines = ["#begin document (x); part 000", *rows, "", "#end document", ""]
    return write(folder, "a.v4_gold_conll", "\n".join(lines))


WRITERS = (
    _triples, _objects, _own_tokens, _gliner, _columns, _cells, _fields, _spacy, _bionlp, _pubtator, _bioc, _webanno,
    _conllu, _conll2012,
)  # fmt: skip


@pytest.fixture(params=WRITERS, ids=lambda writer: writer.__name__)
def source(request, tmp_path):
    """A file with SPANS in a format that can hold them."""
    _, places, keyed = records()
    return request.param(tmp_path, places, keyed)


def test_a_format_that_knows_nesting_keeps_it(source):
    found = read_dataset(source, NESTED)
    assert not [p for p in found.problems if p.fatal]
    assert found.examples[0].words == tuple(TEXT.split())
    assert found.examples[0].spans == SPANS


def test_without_a_nested_head_the_data_name_it(source):
    fatal = [p for p in read_dataset(source).problems if p.fatal or p.kind == "two-layers"]
    assert fatal
    assert all("head.kind" in p.message and "nested" in p.message for p in fatal)


@pytest.mark.parametrize("tool", TOOLS)
def test_annotation_tools_give_overlapping_spans_back(tool, tmp_path):
    example, *_ = records()
    made = Example(example.words, SPANS, example.text, example.offsets)
    write_marked([mark_example(made)], tool, tmp_path / "in")
    convert(tool, tmp_path / "in", tmp_path / "out.jsonl", nested=True)
    assert read_dataset(tmp_path / "out.jsonl", NESTED).examples[0].spans == SPANS
    assert export(tool, tmp_path / "out.jsonl", tmp_path / "again", NESTED) == 1
    convert(tool, tmp_path / "again", tmp_path / "back.jsonl", nested=True)
    assert (tmp_path / "back.jsonl").read_bytes() == (tmp_path / "out.jsonl").read_bytes()


def test_words_without_a_text_are_written_with_their_spans_and_not_as_one_column(tmp_path):
    ner = [[s.start, s.end - 1, s.label] for s in SPANS]
    given = write(tmp_path, "a.json", json.dumps([{"tokenized_text": TEXT.split(), "ner": ner}]))
    convert("gliner", given, tmp_path / "out.jsonl", nested=True)
    assert read_dataset(tmp_path / "out.jsonl", NESTED).examples[0].spans == SPANS
    with pytest.raises(DataError, match=r"spans overlap at .*a.json.*Write \.jsonl"):
        convert("gliner", given, tmp_path / "out.conll", nested=True)


def test_columns_of_other_labels_are_no_layer_and_are_logged(tmp_path):
    rows = "EU B-NP B-ORG B-ORG\nof I-NP I-ORG O\nOslo B-NP B-LOC B-LOC\n\n"
    found = read_dataset(write(tmp_path, "a.conll", rows), NESTED)
    assert found.examples[0].spans == (Span(0, 1, "ORG"), Span(0, 2, "ORG"), Span(2, 3, "LOC"))
    assert [p.message for p in found.problems] == [
        "columns 2 and 3 have tags of the same labels; all are read, as spans that may overlap",
        "column 1 has tags of other labels, so it is not read; see --tag-column",
    ]


def test_ill_formed_tags_of_any_layer_are_reported(tmp_path):
    rows = "EU O B-ORG\nof I-ORG O\nOslo I-ORG O\n\n"
    strict = read_dataset(write(tmp_path, "a.conll", rows), NESTED)
    assert [(p.kind, p.where[-1]) for p in strict.problems if p.fatal] == [("ill-formed-tag", "2")]


def test_flat_data_are_read_the_same(tmp_path):
    rows = "Ada B-PER\nmet O\nBob B-PER\n\n"
    path = write(tmp_path, "a.conll", rows)
    assert read_dataset(path, NESTED) == read_dataset(path)


def test_a_column_of_tags_is_noted_where_the_one_that_is_read_has_no_label(tmp_path):
    found = read_dataset(write(tmp_path, "a.conll", "Ada B-PER O\nran O O\n\n"))
    assert (found.examples[0].spans, [p.kind for p in found.problems]) == ((), ["two-layers"])
    assert "column 1 has tags of other labels" in found.problems[0].message
    assert not read_dataset(write(tmp_path, "b.conll", "Ada B-NP B-PER\nran B-VP O\n\n")).problems


def test_rows_of_a_table_have_a_further_layer_of_tags(tmp_path):
    names = ["O", "B-ORG", "I-ORG", "B-LOC"]
    rows = [{"tokens": ["Uni", "of", "Bonn"], "ner_tags": [1, 2, 2], "nested_ner_tags": [0, 0, 3]}]
    columns = ("tokens", "ner_tags", "nested_ner_tags")
    table = Table("x", "x", columns, {}, lambda _: rows)
    with keep_overlaps(True):
        nested = read_word_rows(table, labels=names)
    assert nested.examples[0].spans == (Span(0, 3, "ORG"), Span(2, 3, "LOC"))
    flat = read_word_rows(table, labels=names)
    assert flat.examples[0].spans == (Span(0, 3, "ORG"),)
    assert [(p.kind, "head.kind=nested" in p.message) for p in flat.problems] == [("two-layers", True)]
