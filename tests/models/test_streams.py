"""Streams: every tag and span of `predict`, each returned as soon as its look-ahead has arrived."""

import random
from dataclasses import replace

import pytest
from tiny import CORPUS, tiny_labeler

from lookboth.errors import ConfigError, ModelError, PlanError
from lookboth.inference import decode_online
from lookboth.inference.pipeline import word_scores

TEXT = " ".join(CORPUS)
LONG = " ".join(CORPUS * 3)  # several windows of 48 tokens
CASES = [
    # family, plan, label_on, head, scheme, max_tokens
    ("llama", "0,1,0,2", "last", "linear", "IOB2", 48),
    ("llama", "causal", "first", "crf", "IOBES", 128),
    ("gpt2", "4,0,0,1", "mean", "linear", "IOBES", 48),
    ("gpt2", "causal", "max", "crf", "IOB2", 48),
    ("gemma", "0,2,2,0", "max", "linear", "IOB2", 128),
    # Look-ahead longer than the overlap of 16 tokens: windows end before it is there.
    ("llama", "5,", "last", "linear", "IOB2", 48),
]


@pytest.fixture
def folder(request):
    return lambda family: request.getfixturevalue(f"tiny_{family}_folder")


def made(folder, case):
    family, plan, label_on, head, scheme, max_tokens = case
    return tiny_labeler(
        folder(family),
        plan=plan,
        label_on=label_on,
        head={"kind": head},
        scheme=scheme,
        max_tokens=max_tokens,
    )


def check_equal(updates, expected, *, scores=True):
    words = [word for update in updates for word in update.words]
    assert tuple(word.tag for word in words) == expected.tags
    assert tuple(word.text for word in words) == expected.words
    assert tuple((word.start_char, word.end_char) for word in words) == expected.offsets
    spans = [span for update in updates for span in update.spans]
    assert [span[:6] for span in spans] == [span[:6] for span in expected.spans]
    if scores:
        assert [span.score for span in spans] == pytest.approx(
            [span.score for span in expected.spans], abs=1e-4
        )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_words_in_chunks_get_the_tags_of_the_whole_text(folder, case):
    labeler, chance = made(folder, case), random.Random(str(case))
    words, updates, start = LONG.split(), [], 0
    stream = labeler.open_stream()
    while start < len(words):
        size = chance.choice((1, 1, 2, 40))
        updates.append(stream.push(words[start] if size == 1 else words[start : start + size]))
        start += size
    updates.append(stream.finish())
    check_equal(updates, labeler.predict_words([words])[0], scores=case[3] != "crf")


@pytest.mark.parametrize("case", CASES[:3], ids=str)
def test_text_in_pieces_gets_the_tags_and_offsets_of_the_whole_text(folder, case):
    labeler, chance = made(folder, case), random.Random(str(case))
    text, updates, start = LONG.replace("Ada", "  Ada\n"), [], 0
    stream = labeler.open_stream()
    while start < len(text):
        size = chance.choice((1, 5, 60))
        updates.append(stream.push_text(text[start : start + size]))
        start += size
    updates.append(stream.finish())
    check_equal(updates, labeler.predict(text)[0], scores=case[3] != "crf")


@pytest.mark.parametrize("plan", ["causal", "0,0,1,1"])
def test_greedy_tags_come_with_their_look_ahead(folder, plan):
    labeler = tiny_labeler(folder("llama"), plan=plan, scheme="IOB2")
    words, stream, tags = TEXT.split(), labeler.open_stream(lag=0), []
    lengths = list(map(len, labeler.encoder.encode_words(words)))
    look_ahead = labeler.config.plan.total_look_ahead()
    for number, word in enumerate(words, 1):
        tags += stream.push(word).tags
        assert len(tags) == sum(sum(lengths[i:number]) >= look_ahead for i in range(1, number + 1))
    tags += stream.finish().tags
    (scores,) = word_scores(labeler, [words])
    ids = decode_online(scores, labeler.config.tags, "IOB2", labeler.likelihood(), lag=0)
    assert tags == [labeler.config.tags[tag] for tag in ids]


def test_a_span_is_returned_by_the_word_that_closes_it(folder):
    labeler = tiny_labeler(folder("llama"), scheme="IOB2")
    stream, tags, spans = labeler.open_stream(lag=0), [], []
    for word in TEXT.split():
        update = stream.push(word)
        tags += update.tags
        spans += update.spans
        goes_on = tags[-1][:2] in ("B-", "I-")
        assert len(spans) == sum(tag[0] == "B" for tag in tags) - goes_on
        assert all(span.text == " ".join(TEXT.split()[span.start : span.end]) for span in update.spans)


def test_memory_does_not_grow(folder):
    labeler = tiny_labeler(folder("llama"), plan="0,0,1,1", max_tokens=48)
    stream, sizes = labeler.open_stream(), []
    for _ in range(12):
        stream.push(TEXT.split())
        tagged = stream._tagged
        sizes.append(len(tagged._text) + len(tagged._rows) + len(stream._decoder._back))
        assert stream._scorer._text.num_tokens <= 48
    assert max(sizes[6:]) < 2 * max(sizes[:6]) < 2000


def test_other_calls_between_two_words_change_nothing(folder):
    labeler = tiny_labeler(folder("llama"), plan="0,0,1,1")
    words, stream = TEXT.split(), labeler.open_stream()
    other, updates = labeler.with_plan("full"), []
    for word in words:
        updates.append(stream.push(word))
        other.predict(word)
    updates.append(stream.finish())
    check_equal(updates, labeler.predict_words([words])[0])


def test_empty_texts(folder):
    labeler = tiny_labeler(folder("llama"))
    assert labeler.open_stream().finish().words == ()
    stream = labeler.open_stream()
    assert stream.push([]).words == stream.push_text("").words == stream.push_text(" \n").words == ()
    assert stream.finish().spans == ()


def test_what_needs_the_whole_text_is_refused(folder):
    labeler = tiny_labeler(folder("llama"), plan="0011")
    with pytest.raises(PlanError, match=r"no limit in layers 2, 3.*plan = 'causal'"):
        labeler.open_stream()
    repeated = tiny_labeler(folder("llama"))
    repeated.config = replace(repeated.config, encoding=replace(repeated.config.encoding, repetition=1))
    for wrong, message in (
        (repeated, "repetition is 1.*repetition = 0"),
        (tiny_labeler(folder("llama"), head={"kind": "context_gate"}), "head.kind = 'linear'"),
        (tiny_labeler(folder("llama"), head={"layers": "mix"}), "head.layers = 'last'"),
    ):
        with pytest.raises(ModelError, match=message):
            wrong.open_stream()


def test_misuse_is_an_error(folder):
    labeler = tiny_labeler(folder("llama"))
    with pytest.raises(ConfigError, match="lag is -1"):
        labeler.open_stream(lag=-1)
    stream = labeler.open_stream()
    stream.push("Ada")
    with pytest.raises(ConfigError, match="was given words"):
        stream.push_text("Ada")
    stream.finish()
    with pytest.raises(ConfigError, match="finished"):
        stream.push("Ada")
    labeler.encoder.encoding = replace(labeler.encoder.encoding, splitter="jieba")
    with pytest.raises(ConfigError, match="'jieba', which needs the whole text"):
        labeler.open_stream().push_text("Ada")
    labeler.encoder.encoding = replace(labeler.encoder.encoding, splitter="")
    text = labeler.open_stream()
    text.push_text("Ada ")
    with pytest.raises(ConfigError, match="was given pieces of text"):
        text.push("Ada")
