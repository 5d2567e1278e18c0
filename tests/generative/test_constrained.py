"""Every path of an automaton is an answer its codec reads without a complaint, and every right answer is a path."""

import random

import pytest
from hypothesis import given, settings, strategies as st
from test_codecs import LABELS, WORDS, labeled
from tiny import tiny_tokenizer

from lookboth.errors import ConfigError
from lookboth.generative.answer_automata import END, build_automaton
from lookboth.generative.codecs.codec_registry import CODECS, build_codec
from lookboth.generative.codecs.tags import TagsCodec
from lookboth.generative.token_grammar import Grammar
from lookboth.types import Span

END_ID = -1
FORMATS = st.sampled_from(sorted(CODECS))
SCHEMES = st.sampled_from(["IOB2", "IOBES"])


def characters(piece):
    return [ord(char) for char in piece]


def random_path(automaton, seed):
    rng, state, path = random.Random(seed), automaton.start, []
    while state != END:
        path.append(rng.choice(automaton.choices(state)))
        state = path[-1].state
    return path


def random_tokens(grammar, seed):
    rng, walk, tokens = random.Random(seed), grammar.begin(), []
    while walk.allowed:
        tokens.append(rng.choice(walk.allowed))
        walk = walk.advance(tokens[-1])
    return walk, tokens


@given(words=WORDS, labels=LABELS, name=FORMATS, scheme=SCHEMES, seed=st.integers(0, 10**6))
def test_every_path_parses_to_the_spans_it_says(words, labels, name, scheme, seed):
    codec = build_codec(name, labels, scheme)
    automaton = build_automaton(codec, words)
    path = random_path(automaton, seed)
    parsed = codec.parse("".join(choice.piece for choice in path), words)
    assert parsed.problems == ()
    assert parsed.spans == tuple(trace.span for trace in automaton.read(path))


@given(case=labeled(), name=FORMATS, scheme=SCHEMES)
def test_every_right_answer_is_a_path(case, name, scheme):
    words, labels, spans = case
    codec = build_codec(name, labels, scheme)
    grammar = Grammar(build_automaton(codec, words), characters, (END_ID,))
    walk = grammar.begin()
    for token in [*characters("".join(codec.pieces(words, spans))), END_ID]:
        assert token in walk.allowed
        walk = walk.advance(token)
    assert walk.allowed == ()
    path, lengths = walk.path()
    assert [choice.piece for choice in path if choice.piece] == codec.pieces(words, spans)
    assert [trace.span for trace in grammar.automaton.read(path)] == list(
        codec.parse(codec.encode(words, spans), words).spans
    )
    assert sum(lengths) == len(codec.encode(words, spans)) + 1


@given(words=WORDS, labels=LABELS, name=FORMATS, seed=st.integers(0, 10**6))
@settings(max_examples=50)
def test_walks_over_real_tokens_end_in_an_answer(words, labels, name, seed):
    codec, tokenizer = build_codec(name, labels), tiny_tokenizer("byte-bos")
    grammar = Grammar(
        build_automaton(codec, words),
        lambda piece: tokenizer(piece, add_special_tokens=False)["input_ids"],
        (0,),
    )
    walk, tokens = random_tokens(grammar, seed)
    path, lengths = walk.path()
    assert tokens[-1] == 0
    assert sum(lengths) == len(tokens)
    answer = "".join(choice.piece for choice in path)
    assert tokenizer.decode(tokens[:-1], clean_up_tokenization_spaces=False) == answer
    assert codec.parse(answer, words).spans == tuple(trace.span for trace in grammar.automaton.read(path))


@given(words=WORDS, labels=LABELS, name=FORMATS, seed=st.integers(0, 10**6))
def test_a_draft_is_always_allowed(words, labels, name, seed):
    grammar = Grammar(build_automaton(build_codec(name, labels), words), characters, (END_ID,))
    rng, walk = random.Random(seed), grammar.begin()
    while walk.allowed:
        assert walk.draft is None or walk.draft in walk.allowed
        walk = walk.advance(walk.draft if walk.draft is not None else rng.choice(walk.allowed))


def test_the_draft_of_a_copy_opens_no_span():
    codec = build_codec("markup", ["LOC"])
    walk = Grammar(build_automaton(codec, ["in", "New", "York"]), characters, (END_ID,)).begin()
    text = ""
    while walk.draft != END_ID:
        text += chr(walk.draft)
        walk = walk.advance(walk.draft)
    assert text == "in New York"


def test_labels_that_begin_alike_are_told_apart_later():
    codec = build_codec("tags", ["LOC", "LOCATION"])
    walk = Grammar(build_automaton(codec, ["a", "b"]), characters, (END_ID,)).begin()
    for char in "a/B-LOC":
        walk = walk.advance(ord(char))
    assert set(map(chr, walk.allowed)) == {" ", "A"}
    for char in " b/O":
        walk = walk.advance(ord(char))
    path, _ = walk.advance(END_ID).path()
    assert [trace.span for trace in walk.grammar.automaton.read(path)] == [Span(0, 1, "LOC")]


def test_no_labels_leave_one_answer_without_spans():
    for name in ("markup", "pairs", "json", "tags"):
        walk, _ = random_tokens(
            Grammar(build_automaton(build_codec(name, []), ["a", "b"]), characters, (END_ID,)), 0
        )
        assert walk.grammar.automaton.read(walk.path()[0]) == []


@given(words=WORDS, labels=LABELS, name=FORMATS, seed=st.integers(0, 10**6))
def test_under_the_plain_scheme_a_span_is_one_word(words, labels, name, seed):
    automaton = build_automaton(build_codec(name, labels, "plain"), words)
    assert all(
        trace.span.end == trace.span.start + 1 for trace in automaton.read(random_path(automaton, seed))
    )
    grammar = Grammar(automaton, characters, (END_ID,))
    walk = grammar.begin()
    while walk.allowed:
        walk = walk.advance(walk.draft if walk.draft is not None else walk.allowed[-1])


def test_a_scheme_without_transitions_is_refused():
    with pytest.raises(ConfigError, match="IOB1"):
        build_automaton(TagsCodec(["A"], "IOB1"), ["a"])
