"""Copied words are aligned as difflib does it, and long answers take linear time."""

from difflib import SequenceMatcher

from hypothesis import given, strategies as st

from lookboth.generative import escaping
from lookboth.generative.escaping import align_words

FEW_WORDS = st.lists(st.sampled_from("abc"), max_size=12)


@given(FEW_WORDS, FEW_WORDS)
def test_short_answers_are_aligned_by_difflib(written, words):
    expected = [None] * len(written)
    for a, b, size in SequenceMatcher(a=written, b=words, autojunk=False).get_matching_blocks():
        expected[a : a + size] = range(b, b + size)
    assert align_words(written, words) == expected


@given(FEW_WORDS, FEW_WORDS)
def test_stretches_give_equal_words_in_order(written, words):
    whole, escaping.MAX_ALIGNED, stretch, escaping._STRETCH = escaping.MAX_ALIGNED, 0, escaping._STRETCH, 4
    try:
        places = align_words(written, words)
    finally:
        escaping.MAX_ALIGNED, escaping._STRETCH = whole, stretch
    found = [place for place in places if place is not None]
    assert found == sorted(set(found))
    assert all(word == words[place] for word, place in zip(written, places, strict=True) if place is not None)


def test_a_long_answer_with_errors_is_aligned():
    words = [f"w{i % 997}" for i in range(20_000)]
    written = [*words[:5000], "new", *words[5000:9000], *words[9050:]]
    places = align_words(written, words)
    assert places == [*range(5000), None, *range(5000, 9000), *range(9050, 20_000)]
