"""Windows: every word labeled once, with context where there is room, at linear cost."""

import time

from hypothesis import assume, example, given, strategies as st

from lookboth.data.alignment import Encoding
from lookboth.data.windows import MovingWindow, Window, divide_into_windows, window_example

ENCODING = Encoding(word_prefix=" ", prefix_ids=(1,), suffix_ids=(2, 3), fallback_id=0)


@st.composite
def window_settings(draw):
    """Word lengths with the settings a recipe may hold: overlap under half of the room."""
    max_tokens = draw(st.integers(1, 40))
    overlap = draw(st.integers(0, (max_tokens - 1) // 2))
    longest = draw(st.sampled_from([1, 3, max_tokens]))
    lengths = draw(st.lists(st.integers(1, min(longest, max_tokens)), max_size=120))
    return lengths, max_tokens, overlap


@given(window_settings())
def test_every_word_is_labeled_once_in_order(setting):
    lengths, max_tokens, overlap = setting
    windows = divide_into_windows(lengths, max_tokens=max_tokens, overlap=overlap)
    labeled = [word for w in windows for word in range(w.label_start, w.label_end)]
    assert labeled == list(range(len(lengths)))
    for w in windows:
        assert 0 <= w.start <= w.label_start < w.label_end <= w.end <= len(lengths)


@given(window_settings())
def test_no_window_is_too_long(setting):
    lengths, max_tokens, overlap = setting
    for w in divide_into_windows(lengths, max_tokens=max_tokens, overlap=overlap):
        assert sum(lengths[w.start : w.end]) <= max_tokens


@example(([2, 6, 1], 7, 2))
@example(([1, 1, 6], 7, 2))
@given(window_settings())
def test_inner_borders_have_context_where_there_is_room(setting):
    lengths, max_tokens, overlap = setting
    for w in divide_into_windows(lengths, max_tokens=max_tokens, overlap=overlap):
        left, right = sum(lengths[w.start : w.label_start]), sum(lengths[w.label_end : w.end])
        total = sum(lengths[w.start : w.end])
        if w.start > 0:  # one more word of left context is over the overlap, or does not fit
            assert left + lengths[w.start - 1] > overlap or total + lengths[w.start - 1] > max_tokens
        if w.end < len(lengths):  # the right context is there, or the window is full with one labeled word
            alone = w.label_end == w.label_start + 1
            assert right >= overlap or (alone and total + lengths[w.end] > max_tokens)


@given(st.integers(0, 60), st.integers(1, 20))
def test_context_on_both_sides_of_every_inner_word(num_words, overlap):
    """With one token a word the promise is exact: `overlap` words on both sides, or the end of the text."""
    for w in divide_into_windows([1] * num_words, max_tokens=3 * overlap + 1, overlap=overlap):
        assert w.start == max(0, w.label_start - overlap)
        assert w.end == num_words or w.end >= w.label_end + overlap


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 20))
def test_a_word_over_the_limit_gets_its_own_window(lengths, max_tokens):
    windows = divide_into_windows(lengths, max_tokens=max_tokens, overlap=max_tokens // 3)
    assert [i for w in windows for i in range(w.label_start, w.label_end)] == list(range(len(lengths)))
    for w in windows:
        assert sum(lengths[w.start : w.end]) <= max_tokens or w.end == w.start + 1


@given(window_settings(), st.booleans())
def test_window_examples_hold_the_words_they_say(setting, labeled):
    lengths, max_tokens, overlap = setting
    word_ids = [tuple([10 + index] * length) for index, length in enumerate(lengths)]
    labels = list(range(len(lengths))) if labeled else None
    pieces = window_example(
        word_ids, ENCODING, labels=labels, example=5, max_tokens=max_tokens + 3, overlap=overlap
    )
    seen = []
    for piece in pieces:
        assert len(piece) <= max_tokens + 3
        assert piece.example == 5
        assert (piece.input_ids[:1], piece.input_ids[-2:]) == ((1,), (2, 3))
        words = [piece.input_ids[first:end] for first, end in piece.word_tokens]
        indices = range(piece.first_word, piece.first_word + len(words))
        assert words == [word_ids[index] for index in indices]
        assert piece.labels == (tuple(indices) if labeled else None)
        seen += indices
    assert seen == list(range(len(lengths)))


@given(window_settings())
def test_short_texts_are_not_cut(setting):
    lengths, _, overlap = setting
    assume(lengths)
    assert divide_into_windows(
        lengths, max_tokens=sum(lengths) + 1, overlap=min(overlap, sum(lengths) // 2)
    ) == [Window(0, 0, len(lengths), len(lengths))]


def test_work_is_linear():
    """100,000 words take no more than a moment, and ten times the words about ten times the windows."""
    lengths = [1 + index % 3 for index in range(100_000)]
    started = time.process_time()
    windows = divide_into_windows(lengths, max_tokens=509, overlap=64)
    assert time.process_time() - started < 2
    computed = sum(w.end - w.start for w in windows)
    assert computed < 1.5 * len(lengths)


@given(window_settings(), st.integers(0, 20))
def test_a_moving_window_makes_the_windows_of_the_whole_text(setting, look_ahead):
    lengths, max_tokens, overlap = setting
    words = [tuple([index] * length) for index, length in enumerate(lengths)]
    expected = divide_into_windows(lengths, max_tokens=max_tokens, overlap=overlap, look_ahead=look_ahead)
    window, waiting = MovingWindow(max_tokens=max_tokens, overlap=overlap, look_ahead=look_ahead), words[::-1]
    label_start, found = 0, []
    while waiting:
        start = label_start - len(window.context)
        while waiting and window.takes(waiting[-1]):
            waiting.pop()
        end = label_start + len(window.words)
        if waiting:
            count, others = window.move(waiting[-1])
            waiting += others[::-1]
        else:
            count = len(window.words)
        found.append(Window(start, label_start, label_start + count, end))
        label_start += count
    assert found == expected


@given(window_settings(), st.integers(0, 20))
def test_with_finite_look_ahead_a_word_is_labeled_where_its_look_ahead_first_fits(setting, look_ahead):
    """So a stream can return its tag, whatever follows: a longer text labels the word in the same window."""
    lengths, max_tokens, overlap = setting
    assume(look_ahead <= overlap)
    windows = divide_into_windows(lengths, max_tokens=max_tokens, overlap=overlap, look_ahead=look_ahead)
    for cut in range(len(lengths)):
        shorter = divide_into_windows(
            lengths[:cut], max_tokens=max_tokens, overlap=overlap, look_ahead=look_ahead
        )
        for w in shorter:
            for word in range(w.label_start, w.label_end):
                if sum(lengths[word + 1 : min(cut, w.end)]) >= look_ahead:
                    assert any((o.start, o.label_start) == w[:2] and word < o.label_end for o in windows)
