import time

import pytest
from hypothesis import given, strategies as st

from lookboth.data.readers import read_split
from lookboth.data.words import MAX_WORD_CHARS, TextSplitter, split_words


def words(text):
    return [text[start:end] for start, end in split_words(text)]


TRICKY = st.sampled_from(
    [
        *"aZ9 .,'’-_/@#&:;()[]\"\n\t\r$%!?",
        "\u00a0",
        "\u0301",
        "\u200d",
        "\u200b",
        "😂",
        "👍🏽",
        "北",
        "ก",
        "\x00",
    ]
)


@given(st.one_of(st.text(), st.lists(TRICKY, max_size=60).map("".join)))
def test_every_character_that_is_not_space_is_in_exactly_one_word(text):
    covered = [i for start, end in split_words(text) for i in range(start, end)]
    assert covered == [i for i, char in enumerate(text) if not char.isspace()]
    assert all(start < end for start, end in split_words(text))


@given(st.lists(TRICKY, max_size=40).map("".join))
def test_words_of_a_text_do_not_depend_on_what_stands_after_a_line_end(text):
    alone = split_words(text + "\n")
    assert split_words(text + "\nXyz 5")[: len(alone)] == alone


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Obama's dogs' toys", "Obama 's dogs ' toys"),
        ("I don’t, can't, CAN'T, cannot, won't", "I do n’t , ca n't , CA N'T , can not , wo n't"),
        ("I'm she'll we've o'clock O'Neal's", "I 'm she 'll we 've o'clock O'Neal 's"),
        ("state-of-the-art co-founder Al-Zaman", "state - of - the - art co-founder Al - Zaman"),
        ("the U.S., Dr. J. K. Smith of Acme Inc. left.", "the U.S. , Dr. J. K. Smith of Acme Inc. left ."),
        ("(Paris) [sic] “Rome”", "( Paris ) [ sic ] “ Rome ”"),
        ("$5,000.50 15% 9/11 5:30 20th 713-853-3989", "$ 5,000.50 15 % 9/11 5:30 20th 713-853-3989"),
        ("1990-1995 2005-03-09 No. 5. No. Yes", "1990 - 1995 2005-03-09 No. 5 . No . Yes"),
        ("See http://a.org/b?c=d-e. Or (www.x.com)!", "See http://a.org/b?c=d-e . Or ( www.x.com ) !"),
        ("a.b-c@d.co.uk, @bob_x #Syria AT&T &amp;", "a.b-c@d.co.uk , @bob_x # Syria AT&T &amp;"),
        ("Amazon.com end.Next and/or c/o", "Amazon.com end . Next and / or c/o"),
        ("so... what?! -- yes!!", "so ... what ?! -- yes !!"),
        ("nice :) :-( <3", "nice :) :-( <3"),
        ("e\u0301te\u0301 नमस्ते दुनिया।", "e\u0301te\u0301 नमस्ते दुनिया ।"),
        ("北京は。 서울에서", "北 京 は 。 서울에서"),
        ("👩‍👩‍👧👍🏽🇩🇪🇫🇷", "👩‍👩‍👧 👍🏽 🇩🇪 🇫🇷"),
        ("a\u00a0b\r\nc   d\u2028e", "a b c d e"),
        ("x\u200by", "x \u200b y"),
        ("", ""),
    ],
)
def test_words_are_cut_as_in_the_treebanks(text, expected):
    assert words(text) == expected.split(" ") if expected else words(text) == []


@pytest.mark.parametrize(
    "piece", ["a", "a.", "a-", "@", "a@", "'", "n't", "http://", "1,", "😂\u200d", "_", "A&", ":)"]
)
def test_a_long_text_without_a_space_takes_linear_time(piece):
    text = piece * (200_000 // len(piece))
    began = time.process_time()
    spans = split_words(text)
    assert time.process_time() - began < 5  # quadratic time would be minutes
    assert max(end - start for start, end in spans) <= MAX_WORD_CHARS + 100
    assert sum(end - start for start, end in spans) == len(text)


def test_words_of_tweets_are_mostly_those_of_the_annotators():
    """WNUT-17 follows other rules in part (`I'm` and `15%` are whole), so this guards against big slips."""
    same = total = cut = num_spans = 0
    for example in read_split("wnut17", "dev").examples:
        text = " ".join(example.words)
        starts = [len(" ".join(example.words[:i])) + (i > 0) for i in range(len(example.words))]
        expected = {(start, start + len(word)) for start, word in zip(starts, example.words, strict=True)}
        found = split_words(text)
        same, total = same + 2 * len(expected & set(found)), total + len(expected) + len(found)
        begins, ends = {start for start, _ in found}, {end for _, end in found}
        for span in example.spans:
            num_spans += 1
            last = span.end - 1
            cut += starts[span.start] not in begins or starts[last] + len(example.words[last]) not in ends
    assert same / total > 0.95
    assert cut / num_spans < 0.01


@given(
    st.lists(
        TRICKY | st.sampled_from(["No.", "J.", "can", "not", "n't", "w/", "http://", "中", "文"]), max_size=30
    ),
    st.data(),
)
def test_pieces_of_a_text_have_the_words_of_the_whole_text(parts, data):
    text, splitter, found, start = "".join(parts), TextSplitter(), [], 0
    while start < len(text):
        end = start + data.draw(st.integers(1, 12))
        found += splitter.push(text[start:end])
        start = end
    found += splitter.finish()
    assert [(start, end) for _, start, end in found] == split_words(text)
    assert all(text[start:end] == word for word, start, end in found)


def test_words_are_returned_when_nothing_can_change_them():
    splitter = TextSplitter()
    assert [[word for word, _, _ in splitter.push(char)] for char in "Dr. J. B, 北京是"] == [
        [], [], [], [], ["Dr."], [], [], ["J."], [], ["B", ","], [], ["北"], ["京"],
    ]  # fmt: skip


def test_a_piece_without_spaces_costs_a_bounded_time():
    splitter, started = TextSplitter(), time.process_time()
    found = [word for _ in range(300) for word in splitter.push("ab" * 50)]
    assert time.process_time() - started < 2
    assert len("".join(word for word, _, _ in found)) > 27_000
    assert len(splitter._text) < 3000
