import pytest
from hypothesis import example, given, settings, strategies as st

from lookboth.data.conversion.convert_options import ConvertOptions
from lookboth.data.conversion.converting import convert
from lookboth.data.readers import ReadOptions, read_dataset
from lookboth.data.schemes import encode_spans
from lookboth.errors import DataError
from lookboth.types import Span

# Invented text in the form of eng.train: IOB1, so that a span begins with B- only after one of its label.
ORIGINAL = """-DOCSTART- -X- -X- O

Mira NNP I-NP I-PER
Oakes NNP I-NP I-PER
met VBD I-VP O
Tarn NNP I-NP I-LOC
Vale NNP B-NP B-LOC
. . O O

-DOCSTART- -X- O O

Snow NN I-NP O
fell VBD I-VP O

It PRP I-NP O
melted VBD I-VP O
"""
MIRA = (Span(0, 2, "PER"), Span(3, 4, "LOC"), Span(4, 5, "LOC"))


@pytest.fixture
def original(tmp_path):
    path = tmp_path / "eng.train"
    path.write_text(ORIGINAL)
    return path


def spans_of(path):
    return [example.spans for example in read_dataset(path).examples]


@pytest.mark.parametrize("suffix", [".conll", ".jsonl"])
def test_the_entity_column_becomes_iob2(original, tmp_path, suffix):
    report = convert("conll2003", original, tmp_path / f"out{suffix}")
    assert spans_of(tmp_path / f"out{suffix}") == [MIRA, (), ()]
    assert report.ok
    assert dict(report.splits[0].labels) == {"LOC": 2, "PER": 1}


def test_the_columns_are_written_with_tabs(original, tmp_path):
    convert("conll2003", original, tmp_path / "out.conll")
    lines = (tmp_path / "out.conll").read_text().split("\n")
    tags = ("Mira\tB-PER", "Oakes\tI-PER", "met\tO", "Tarn\tB-LOC", "Vale\tB-LOC", ".\tO", "")
    assert lines[:7] == list(tags)
    assert "-DOCSTART-" not in "".join(lines)


def test_the_chunk_and_part_of_speech_columns(original, tmp_path):
    convert("conll2003", original, tmp_path / "chunk.conll", ConvertOptions(column="chunk"))
    np = [span for span in spans_of(tmp_path / "chunk.conll")[0] if span.label == "NP"]
    assert np == [Span(0, 2, "NP"), Span(3, 4, "NP"), Span(4, 5, "NP")]
    convert("conll2003", original, tmp_path / "pos.conll", ConvertOptions(column="pos"))
    dataset = read_dataset(tmp_path / "pos.conll", ReadOptions(scheme="plain"))
    assert dataset.scheme == "plain"
    assert dataset.labels() == (".", "NN", "NNP", "PRP", "VBD")


def test_borders_of_documents_are_kept_when_asked_for(original, tmp_path):
    options = ConvertOptions(documents=True)
    convert("conll2003", original, tmp_path / "out.conll", options)
    sentences = (tmp_path / "out.conll").read_text().split("\n\n")
    assert [i for i, s in enumerate(sentences) if s == "-DOCSTART-\tO"] == [0, 2]
    assert spans_of(tmp_path / "out.conll") == [MIRA, (), ()]
    convert("conll2003", original, tmp_path / "out.jsonl", options)
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [line.rpartition('"document": ')[2] for line in lines] == ["1}", "2}", "2}"]


def test_a_copy_that_is_iob2_already_gives_the_same(original, tmp_path):
    copy = tmp_path / "iob2.txt"
    copy.write_text(ORIGINAL.replace("I-PER\nOakes", "B-PER\nOakes").replace("I-LOC", "B-LOC"))
    convert("conll2003", copy, tmp_path / "out.conll")
    assert spans_of(tmp_path / "out.conll") == [MIRA, (), ()]


def test_a_line_with_other_columns_is_named(tmp_path):
    path = tmp_path / "chunking.txt"
    path.write_text("Snow NN B-NP\nfell VBD B-VP\n")
    with pytest.raises(DataError, match=r"chunking\.txt:1: 3 columns; a line of CoNLL-2003 has four"):
        convert("conll2003", path, tmp_path / "out.conll")
    path.write_text("Snow NN B-NP B-ORG\nfell VBD B-VP I-PER\n")
    with pytest.raises(DataError, match=r"chunking\.txt:2: tag 'I-PER' follows 'B-ORG'"):
        convert("conll2003", path, tmp_path / "out.conll")
    assert not (tmp_path / "out.conll").exists()


@st.composite
def tagged(draw):
    """Sentences with spans, as words and as the IOB1 tags that write the spans down."""
    sentences = []
    for _ in range(draw(st.integers(1, 4))):
        words = draw(st.lists(st.sampled_from(["a", "#", '"', "-", "O", "B-X", "ä"]), min_size=1, max_size=8))
        cuts = sorted(draw(st.sets(st.integers(0, len(words)), max_size=6)))
        labels = draw(st.lists(st.sampled_from(["", "A", "B-C"]), min_size=7, max_size=7))
        pieces = zip(cuts, cuts[1:], labels, strict=False)
        spans = tuple(Span(start, end, label) for start, end, label in pieces if label)
        sentences.append((words, spans, encode_spans(spans, len(words), "IOB1")))
    return sentences


@settings(max_examples=40)
@given(tagged())
@example([(["a", "a", "a"], (), ("O", "O", "O"))])
def test_any_spans_in_iob1_survive(tmp_path_factory, sentences):
    folder = tmp_path_factory.mktemp("c")
    blocks = [
        "\n".join(f"{word} NN I-NP {tag}" for word, tag in zip(words, tags, strict=True))
        for words, _, tags in sentences
    ]
    (folder / "in.txt").write_text("-DOCSTART- -X- O O\n\n" + "\n\n".join(blocks) + "\n", encoding="utf-8")
    convert("conll2003", folder / "in.txt", folder / "out.conll")
    found = read_dataset(folder / "out.conll").examples
    assert [(list(e.words), e.spans) for e in found] == [(words, spans) for words, spans, _ in sentences]
