"""Demonstrations come from the pool only, are never the query itself, and follow their strategy."""

import pytest
from hypothesis import given, settings, strategies as st

from lookboth.config.generative_section import GenerativeConfig
from lookboth.generative.demonstrations import Demonstrations
from lookboth.types import Example, Span

KINDS = ("random", "fixed", "stratified", "bm25")
SENTENCES = st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4), min_size=1, max_size=8)


def pool_of(sentences):
    return [
        Example(tuple(words), tuple(Span(i, i + 1, "AB") for i, w in enumerate(words) if w in "ab"), source=str(n))
        for n, words in enumerate(sentences)
    ]  # fmt: skip


def demonstrations(pool, kind, k=2, seed=0):
    return Demonstrations(pool, GenerativeConfig(k=k, demonstrations=kind), seed=seed)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)
@given(sentences=SENTENCES, k=st.integers(0, 5), epoch=st.integers(0, 2))
def test_a_training_sentence_never_demonstrates_itself(kind, sentences, k, epoch):
    pool = pool_of(sentences)
    chosen = demonstrations(pool, kind, k).for_training(epoch)
    for example, shown in zip(pool, chosen, strict=True):
        others = [other for other in pool if other.words != example.words]
        assert len(shown) == min(k, len(others))
        assert all(other in others for other in shown)
        assert len(set(shown)) == len(shown)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)
@given(sentences=SENTENCES, k=st.integers(0, 5))
def test_texts_get_demonstrations_from_the_pool(kind, sentences, k):
    pool = pool_of(sentences)
    for shown in demonstrations(pool, kind, k).for_texts([["a", "zzz"], []]):
        assert len(shown) == min(k, len(pool))
        assert set(shown) <= set(pool)


@pytest.mark.parametrize(("kind", "changes"), [("random", True), ("stratified", True), ("fixed", False)])
def test_which_are_drawn_anew_each_epoch(kind, changes):
    pool = pool_of([[letter, str(n)] for n, letter in enumerate("abcdef" * 4)])
    chosen = demonstrations(pool, kind)
    assert chosen.for_training(0) == chosen.for_training(0)
    assert (chosen.for_training(0) != chosen.for_training(1)) == changes
    assert chosen.shared() == chosen.shared()


def test_stratified_shows_every_label_and_none():
    words = [("x", str(n)) for n in range(30)]
    spans = {3: "RARE", 7: "OTHER", **dict.fromkeys(range(10, 20), "COMMON")}
    pool = [Example(w, (Span(0, 1, spans[n]),) if n in spans else ()) for n, w in enumerate(words)]
    for seed in range(5):
        shown = demonstrations(pool, "stratified", 4, seed).shared()
        assert sorted(label for e in shown for label in e.labels() or ("",)) == [
            "",
            "COMMON",
            "OTHER",
            "RARE",
        ]


def test_bm25_puts_the_most_alike_last():
    pool = pool_of([["the", "fox"], ["a", "lazy", "dog"], ["a", "dog"], ["some", "cat"]])
    [shown] = demonstrations(pool, "bm25").for_texts([["Lazy", "dog"]])
    assert [example.words for example in shown] == [("a", "dog"), ("a", "lazy", "dog")]


def test_what_a_saved_labeler_keeps():
    pool = pool_of([["a"], ["b"], ["c"]])
    assert demonstrations(pool, "fixed").kept() == pool[:2]
    assert demonstrations(pool, "bm25").kept() == pool
    assert demonstrations(pool, "bm25", 0).kept() == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["embedding", "word_embedding"])
def test_embeddings_find_what_is_alike(kind):
    pool = pool_of([["dogs", "bark"], ["shares", "fell", "sharply"], ["he", "cooked", "pasta"]])
    [shown] = demonstrations(pool, kind, 1).for_texts([["the", "stock", "market"]])
    assert shown[0].words[0] == "shares"


def test_words_are_compared_with_their_nearest(tiny_llama_folder):
    from lookboth.generative.retrieval import WordEmbeddingRetriever

    pool = [["Ada", "was", "in", "Rome"], [], ["x"], ["the", "unquestionably", "long", "walk", "home"]]
    retriever = WordEmbeddingRetriever(pool, str(tiny_llama_folder))
    query = ["Ada", "walked", "in"]
    (words,), vectors = retriever.embed([query]), retriever.embed(pool)
    assert [len(rows) for rows in vectors] == [4, 1, 1, 5]
    wanted = [sum(max(float(word @ other) for other in rows) for word in words) for rows in vectors]
    [ranked] = retriever.rank([query], 4)
    assert ranked == sorted(range(4), key=lambda index: -wanted[index])
    assert retriever.rank([pool[3]], 1) == [[3]]
    assert retriever.rank([[]], 2) == [[0, 1]]
