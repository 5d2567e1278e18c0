"""Columns as public corpora have them: numbers, headers, comments and marks are never read as words."""

import pytest

from lookboth.data.conll import read_conll, stream_words
from lookboth.data.lines import stream_file
from lookboth.data.problems import StrictLog
from lookboth.types import Span

WORDS = ("Anna", "Moss", "slept")
TAGS = ("B-PER", "I-PER", "O")


@pytest.fixture
def read(tmp_path):
    def read(content, **options):
        path = tmp_path / "a.conll"
        path.write_bytes(content.encode())
        return read_conll(path, **options)

    return read


def rows_of(first):
    return "".join(f"{cell}\t{word}\t{tag}\n" for cell, word, tag in zip(first, WORDS, TAGS, strict=True))


def words_of(dataset):
    return [" ".join(example.words) for example in dataset.examples]


NUMBERS = [
    ("0 1 2", "0 1 2"),
    ("1 2 3", "4 5 6"),
    ("T1 T2 T3", "T4 T5 T6"),
    ("1.1 1.2 1.3", "2.1 2.2 2.3"),
    ("1-1 1-2 1-3", "2-1 2-2 2-3"),
    ("0 5 10", "0 5 10"),
    ("0-4 5-9 10-15", "16-20 21-25 26-31"),
    ("s1w1 s1w2 s1w3", "s2w1 s2w2 s2w3"),
    ("1 1 1", "2 2 2"),
    ("doc doc doc", "doc doc doc"),
]


@pytest.mark.parametrize(("first", "second"), NUMBERS)
def test_numbers_of_words_are_no_words(read, first, second):
    content = rows_of(first.split()) + "\n" + rows_of(second.split())
    dataset = read(content)
    (problem,) = dataset.problems
    assert (problem.kind, problem.fatal, problem.repaired) == ("columns", True, "")
    assert "pass --word-column 1" in str(problem)
    named = read(content, word_column=1)
    assert words_of(named) == ["Anna Moss slept"] * 2
    assert named.problems == ()


@pytest.mark.parametrize(("first", "second"), NUMBERS)
def test_predict_labels_the_words_and_not_their_numbers(tmp_path, first, second):
    path = tmp_path / "a.conll"
    path.write_text(rows_of(first.split()) + "\n" + rows_of(second.split()))
    assert [s.words for s in stream_words(stream_file(path), StrictLog("a"))] == [WORDS, WORDS]


def test_the_column_after_several_columns_of_numbers_is_proposed(read):
    content = "1-1\t0-4\tAnna\tPER[1]\n1-2\t5-9\tMoss\tPER[1]\n1-3\t10-14\tin\t_\n1-4\t15-19\tOslo\tLOC\n"
    assert "--word-column 2" in str(read(content).problems[0])
    assert read(content, word_column=2).examples[0].spans == (Span(0, 2, "PER"), Span(3, 4, "LOC"))


def test_cells_like_ranges_are_words_lines_outside_conllu(read):
    dataset = read("x\tAnna\tB-PER\n3-4\tslept\tO\n8.1\tin\tO\ny\tOslo\tB-LOC\n", word_column=1)
    assert words_of(dataset) == ["Anna slept in Oslo"]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("word\ttag", "{word}\t{tag}"),
        ("Token Label", "{word} {tag}"),
        ("# FORM\tNER", "{word}\t{tag}"),
        ("id\tword\tlemma\tner", "a{n}\t{word}\tx\t{tag}"),
        ("TOKEN NE-FINE", "{word} {tag}"),
        ("token\tlabel\tscore", "{word}\t{tag}\t0.{n}"),
    ],
)
def test_a_header_names_the_columns_and_is_no_sentence(read, header, row):
    lines = [row.format(n=n, word=w, tag=t) for n, (w, t) in enumerate(zip(WORDS, TAGS, strict=True))]
    dataset = read("\n".join([header, *lines]))
    assert (dataset.examples[0].words, dataset.examples[0].spans) == (WORDS, (Span(0, 2, "PER"),))
    assert [(p.kind, p.fatal) for p in dataset.problems] == [("header", False)]


def test_a_column_that_names_sentences_ends_them(read):
    content = (
        "Sentence #\tWord\tPOS\tTag\nSentence: 1\tAnna\tNN\tB-PER\n\tran\tVB\tO\nSentence: 2\tBo\tNN\tB-PER\n"
    )
    assert words_of(read(content)) == ["Anna ran", "Bo"]


def test_a_file_without_borders_of_sentences_is_named(read):
    kinds = [problem.kind for problem in read("Anna\tB-PER\n" + "ran\tO\n" * 1000).problems]
    assert kinds == ["one-sentence"]


def test_a_word_named_word_is_a_word(read):
    assert words_of(read("word\tO\ntag\tO\nAnna\tB-PER\n")) == ["word tag Anna"]


@pytest.mark.parametrize(
    "line", ["# note", "=====", "# sent_id = 7", "###", "News of the day", '<s id="1">', "</s>"]
)
def test_a_repair_makes_no_words_of_comments_and_headings(read, line):
    content = f"Anna\tB-PER\n{line}\nran\tO\n"
    assert read(content).problems[0].fatal
    assert words_of(read(content, repair=True)) == ["Anna ran"]


def test_borders_of_documents_are_no_words(read):
    for border in ("###MEDLINE:123", "#begin document (x); part 000", "-DOCSTART- -X- -X- O"):
        dataset = read(f"{border}\n\nAnna\tB-PER\n{border}\nran\tO\n")
        assert (words_of(dataset), dataset.problems) == (["Anna", "ran"], ())


def test_wide_spaces_separate_where_nothing_else_does(read):
    for space in "\u00a0\u3000\u2003":
        assert read(f"Anna{space}B-PER\nran{space}O\n").examples[0].words == ("Anna", "ran")
    assert read("1\u00a0000 B-N\nran O\n").examples[0].words == ("1\u00a0000", "ran")


def test_blanks_around_words_are_no_part_of_them(read):
    assert read("Anna \tB-PER \t\r\nran\u00a0\tO\t\r\n").examples[0].words == ("Anna", "ran")


@pytest.mark.parametrize(
    "words", [("en:Anna", "en:Moss", "en:slept"), ("zh-yue:Anna", "zh-yue:Moss", "zh-yue:slept")]
)
def test_marks_on_all_words_are_removed_and_named(read, words):
    dataset = read("".join(f"{word} {tag}\n" for word, tag in zip(words, TAGS, strict=True)))
    assert (words_of(dataset), dataset.problems[0].kind) == (["Anna Moss slept"], "marked-words")
    assert words_of(read("re:a O\nb O\nc B-X\n")) == ["re:a b c"]


def test_places_of_characters_are_removed(read):
    assert words_of(read("北0 B-GPE.NAM\n京1 I-GPE.NAM\n人0 O\n")) == ["北 京 人"]


def test_two_layers_of_tags_are_named(read):
    dataset = read("Bayern\tB-ORG\tB-LOC\nspielt\tO\tO\n\nKiel\tB-LOC\tO\n")
    assert [(p.kind, p.fatal) for p in dataset.problems] == [("two-layers", False)]
    assert read("EU\tI-NP\tB-ORG\nran\tI-VP\tO\n").problems == ()


def test_features_of_conllu_give_the_tags_of_the_one_that_has_them(read):
    def row(number, word, misc):
        return "\t".join([str(number), word, *"_" * 7, misc]) + "\n"

    content = row(1, "Anna", "NE=B-PER|SpaceAfter=No") + row(2, "Moss", "NE=I-PER") + row(3, "ran", "_")
    assert read(content, word_column=1).examples[0].spans == (Span(0, 2, "PER"),)
    plain = read(row(1, "Anna", "SpaceAfter=No") + row(2, "ran", "_"), word_column=1)
    assert "holds features" in str(plain.problems[0])


def test_the_column_that_has_tags_is_named(read):
    for content in ("B-PER Anna\nO ran\n", "Anna\tB-PER\t0.9\nran\tO\t0.8\n"):
        place = 0 if content[0] == "B" else 1
        dataset = read(content)
        assert f"column {place} has tags such as B-PER; see --tag-column {place}" in str(dataset.problems[-1])


def test_running_text_with_tags_is_not_columns(read):
    (problem,) = read("当/o 希望/o 中国/ns\n").problems
    assert "each word carries its tag" in str(problem)
