import pytest
from hypothesis import given, strategies as st

from lookboth.data.conll import read_conll
from lookboth.errors import ConfigError, DataError
from lookboth.types import Span


@pytest.fixture
def read(tmp_path):
    def read(content, **options):
        path = tmp_path / "data.conll"
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return read_conll(path, **options)

    return read


def kinds(dataset):
    return [(int(p.where.rsplit(":", 1)[1]), p.kind, p.fatal) for p in dataset.problems]


def all_words(dataset):
    return [" ".join(example.words) for example in dataset.examples]


CLEAN = "EU\tB-ORG\nsaid\tO\n\nNew\tB-LOC\nYork\tI-LOC\n"


@pytest.mark.parametrize(
    "content",
    [
        CLEAN,
        CLEAN + "\n\n\n",
        CLEAN.rstrip("\n"),
        CLEAN.replace("\n", "\r\n"),
        CLEAN.replace("\n", "\r"),
        CLEAN.replace("\t", " "),
        CLEAN.replace("\t", "  "),
        CLEAN.replace("\n\n", "\n \t \n\n"),
        CLEAN.replace("\t", "\tNNP\tx\t"),
        "-DOCSTART-\tO\n\n" + CLEAN.replace("\n\n", "\n\n-DOCSTART- (2) -X- O\n\n"),
        "# id = 1\n# text = EU said\n" + CLEAN,
        "\ufeff" + CLEAN,
    ],
)
def test_the_same_sentences_however_the_file_is_written(read, content):
    dataset = read(content)
    assert all_words(dataset) == ["EU said", "New York"]
    assert [example.spans for example in dataset.examples] == [(Span(0, 1, "ORG"),), (Span(0, 2, "LOC"),)]
    assert dataset.problems == ()


def test_places_are_file_and_line(read):
    dataset = read("# c\nEU\tB-ORG\n\n\nNew\tB-LOC\n")
    assert [example.source.rsplit(":", 1)[1] for example in dataset.examples] == ["2", "5"]
    assert dataset.examples[0].source.startswith(dataset.name)


@pytest.mark.parametrize("separator", ["\t", " "])
def test_a_hash_with_a_tag_is_a_word(read, separator):
    content = "# O\n1 B-X\n\nall O\n# O\n#FF B-X\n".replace(" ", separator)
    dataset = read(content)
    assert all_words(dataset) == ["# 1", "all # #FF"]
    assert dataset.problems == ()


@pytest.mark.parametrize("line", ["# B-NEW", "#\tB-NEW", "#\tSYM"])
def test_a_hash_with_a_tag_seen_nowhere_else_is_still_a_word(read, line):
    dataset = read(f"{line}\n" + "a O\nb B-X\n".replace(" ", "\t" if "\t" in line else " "))
    assert dataset.examples[0].words == ("#", "a", "b")


def test_a_comment_with_a_tab_is_a_comment(read):
    assert all_words(read("# text = a\tb\na\tO\nb\tB-X\n")) == ["a b"]


def test_a_comment_with_as_many_columns_as_a_word_is_a_comment(read):
    assert all_words(read("# newdoc\na O\nb B-X\n")) == ["a b"]


def test_a_hashtag_without_a_tag_is_a_problem_not_a_comment(read):
    assert kinds(read("#FF\na\tO\nb\tB-X\n")) == [(1, "columns", True)]


def test_tags_and_quotes_are_taken_as_they_stand(read):
    dataset = read('"\tO\n,\tO\n"a\tB-X\n\'\tO\n')
    assert dataset.examples[0].words == ('"', ",", '"a', "'")


def test_words_keep_inner_blanks_and_line_like_characters(read):
    dataset = read("a b\tO\nx\u2028y\x0cz\tO\n1\u00a0000\tB-N\n")
    assert dataset.examples[0].words == ("a b", "x\u2028y\x0cz", "1\u00a0000")
    assert dataset.problems == ()


def test_every_bad_line_is_reported_with_its_line(read):
    content = "a\tO\nb\nc\tI-X\nd\tx\ty\tO\ng\tO\ne\tQ\n\tO\nf\tB-X\n"
    dataset = read(content)
    assert kinds(dataset) == [
        (2, "columns", True),
        (3, "ill-formed-tag", True),
        (4, "columns", True),
        (6, "ill-formed-tag", True),
        (7, "empty-word", True),
    ]
    assert "tag 'I-X' follows 'O'" in str(dataset.problems[1])
    repaired = read(content, repair=True)
    assert [p.fatal for p in repaired.problems] == [False] * 5
    assert all(p.repaired for p in repaired.problems)
    assert all_words(repaired) == ["a b c d g e", "f"]
    assert repaired.examples[0].spans == (Span(2, 3, "X"),)


def test_a_line_split_at_blanks_in_a_file_of_tabs_is_reported(read):
    assert kinds(read("a\tO\nNew York B-X\nb\tO\n")) == [(2, "columns", True)]


def test_numbered_words_point_to_the_word_column(read):
    content = "# t\n1\tI\t_\tO\n2-3\tdon't\t_\t_\n2\tdo\t_\tO\n3\tn't\t_\tB-X\n3.1\tgo\t_\tO\n"
    (problem,) = read(content).problems
    assert problem.fatal
    assert "pass --word-column 1" in str(problem)
    dataset = read(content, word_column=1)
    assert all_words(dataset) == ["I do n't"]
    assert dataset.problems == ()


def test_columns_are_chosen_from_either_side(read):
    dataset = read("B-X a O\nO b O\n", word_column=-2, tag_column=0)
    assert (dataset.examples[0].words, dataset.examples[0].spans) == (("a", "b"), (Span(0, 1, "X"),))


def test_a_text_without_tags_is_one_problem(read):
    dataset = read("Hello\nthere\n\nyou\n")
    assert kinds(dataset) == [(1, "columns", True)]


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff"])
def test_an_empty_file_is_fatal_whatever_the_options(read, content):
    assert kinds(read(content, repair=True)) == [(1, "empty-file", True)]


def test_invisible_words_are_kept_and_reported(read):
    dataset = read("a\tO\n\u200b\tO\n\x00\tO\n")
    assert dataset.examples[0].words == ("a", "\u200b", "\x00")
    assert kinds(dataset) == [(2, "invisible-word", False), (3, "invisible-word", False)]


def test_a_sentence_of_comments_only_is_reported(read):
    assert kinds(read("# id = 1\n\n# id = 2\na\tB-X\n")) == [(1, "empty-sentence", False)]


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [("I-X I-X B-X", "IOB1"), ("B-X I-X B-X", "IOB2"), ("B-X E-X S-X", "IOBES"), ("B-X L-X U-X", "BILOU")],
)
def test_schemes_are_detected(read, tags, scheme):
    dataset = read("\n".join(f"w {tag}" for tag in tags.split()))
    assert dataset.scheme == scheme
    assert dataset.examples[0].spans == (Span(0, 2, "X"), Span(2, 3, "X"))


def test_a_named_scheme_is_taken_at_its_word(read):
    dataset = read("w I-X\n", scheme="bio")
    assert (dataset.scheme, kinds(dataset)) == ("IOB2", [(1, "ill-formed-tag", True)])


def test_files_that_cannot_be_read_at_all(read, tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_conll(tmp_path / "nowhere.conll")
    with pytest.raises(DataError, match="cannot be read"):
        read_conll(tmp_path)
    with pytest.raises(ConfigError, match="separator is empty"):
        read("a\tO\n", separator="")


@given(content=st.binary(max_size=80), repair=st.booleans())
def test_no_bytes_break_the_reader(tmp_path_factory, content, repair):
    path = tmp_path_factory.getbasetemp() / "junk.conll"
    path.write_bytes(content)
    try:
        dataset = read_conll(path, repair=repair)
    except DataError:
        return
    for example in dataset.examples:
        assert example.words
        assert all(0 <= s.start < s.end <= len(example.words) for s in example.spans)
