"""Which token belongs to which word, on every kind of tokenizer and every kind of word."""

import json

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from tiny import ENCODER_KINDS, KINDS, tiny_tokenizer

from lookboth.data.alignment import Encoding, WordEncoder

FAMILY = "👩‍👩‍👧‍👦"
ODD_WORDS = {
    "emoji ZWJ sequence": FAMILY,
    "flag": "🇩🇪",
    "keycap": "1\ufe0f\u20e3",
    "decomposed accent": "cafe\u0301",
    "lone combining mark": "\u0301",
    "zalgo": "a" + "\u0301\u0330" * 30,
    "zero-width space": "\u200b",
    "byte order mark": "\ufeff",
    "soft hyphen": "\u00ad",
    "no-break space": "\u00a0",
    "ideographic space": "\u3000",
    "line end": "\r\n",
    "tab": "\t",
    "space": " ",
    "empty": "",
    "null byte": "\x00",
    "null byte inside": "a\x00b",
    "control characters": "\x01\x7f\x85",
    "lone high surrogate": "\ud83d",
    "lone low surrogate inside": "x\udc00y",
    "private use": "\ue000\U00100000",
    "no characters": "\uffff\U0010ffff",
    "ligature": "ﷺ",
    "dotted capital I": "İ",
    "Chinese": "北京",
    "Hindi": "नमस्ते",
    "Arabic with marks": "مُحَمَّد",
    "right-to-left override": "\u202eabc\u202c",
    "word boundary sign": "▁",
    "boundary sign inside": "a▁b",
    "special token as text": "<s>",
    "another special token": "[SEP]",
}
plain_words = st.lists(st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789.,-'", min_size=1), min_size=1)
any_words = st.lists(
    st.one_of(st.text(), st.sampled_from(sorted(ODD_WORDS.values())), st.text("abc\ud800\udfff\x00 \n▁"))
)


@pytest.fixture(params=KINDS, scope="module")
def tokenizer(request):
    return tiny_tokenizer(request.param)


def assert_tiles(encoded, encoder: WordEncoder, num_words: int) -> None:
    """Every token between the special ones belongs to one word, in order, and every word has one."""
    prefix, suffix = encoder.encoding.prefix_ids, encoder.encoding.suffix_ids
    assert len(encoded.word_tokens) == num_words
    border = len(prefix)
    for first, end in encoded.word_tokens:
        assert first == border
        assert end > first
        border = end
    assert border + len(suffix) == len(encoded)
    assert encoded.input_ids[: len(prefix)] == prefix
    assert encoded.input_ids[border:] == suffix
    assert all(0 <= token < len(encoder.tokenizer) for token in encoded.input_ids)


def test_detected_encodings():
    def detect(kind):
        tokenizer = tiny_tokenizer(kind)
        found = Encoding.detect(tokenizer)
        names = [tokenizer.convert_ids_to_tokens(list(i)) for i in (found.prefix_ids, found.suffix_ids)]
        return found.word_prefix, *names

    assert detect("byte-bos") == (" ", ["<|begin|>"], [])
    assert detect("byte-bos-not-added") == (" ", ["<|begin|>"], [])  # added all the same: see Encoding
    assert detect("byte-plain") == (" ", [], [])
    assert detect("metaspace") == ("", ["<s>"], [])
    assert detect("metaspace-legacy") == ("", ["<s>"], [])
    assert detect("wordpiece") == ("", ["[CLS]"], ["[SEP]"])
    assert detect("mpnet") == ("", ["<s>"], ["</s>"])
    assert detect("roberta") == (" ", ["<s>"], ["</s>"])
    assert detect("modernbert") == (" ", ["[CLS]"], ["[SEP]"])
    assert detect("xlm-roberta") == ("", ["<s>"], ["</s>"])
    assert detect("deberta-v3") == ("", ["[CLS]"], ["[SEP]"])


@pytest.mark.parametrize("kind", ENCODER_KINDS)
def test_an_encoder_reads_a_sentence_as_its_own_tokenizer_does(kind):
    """Special tokens and word boundaries are those of the tokenizer; a byte-level one is given a leading space."""
    tokenizer = tiny_tokenizer(kind)
    encoder = WordEncoder(tokenizer)
    sentence = "Ada Lovelace was born in London , unquestionably"
    wanted = tokenizer(encoder.encoding.word_prefix + sentence)["input_ids"]
    assert list(encoder.encode(sentence.split()).input_ids) == wanted


def test_encoding_survives_json(tokenizer):
    encoding = Encoding.detect(tokenizer)
    assert Encoding.from_dict(json.loads(json.dumps(encoding.to_dict()))) == encoding


@given(words=plain_words)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_words_alone_equal_words_in_a_sentence(tokenizer, words):
    """Encoding word by word gives what the tokenizer gives for the sentence (its first word as any other)."""
    encoder = WordEncoder(tokenizer, max_word_tokens=10_000)
    sentence = encoder.encoding.word_prefix + " ".join(words)
    expected = tokenizer(sentence, add_special_tokens=False)["input_ids"]
    assert [token for ids in encoder.encode_words(words) for token in ids] == expected


@given(words=any_words)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_word_ranges_tile_any_text(tokenizer, words):
    encoder = WordEncoder(tokenizer)
    assert_tiles(encoder.encode(words), encoder, len(words))


@pytest.mark.parametrize("word", ODD_WORDS.values(), ids=ODD_WORDS.keys())
def test_odd_words_get_a_token_and_move_nothing(tokenizer, word):
    encoder = WordEncoder(tokenizer)
    encoded = encoder.encode(["the", word, "word"])
    assert_tiles(encoded, encoder, 3)
    the, odd, after = [encoded.input_ids[first:end] for first, end in encoded.word_tokens]
    assert [the, after] == encoder.encode_words(["the", "word"])
    if word in encoder.words_without_token:
        assert odd == (encoder.encoding.fallback_id,)


def test_words_that_yield_no_token_are_reported():
    encoder = WordEncoder(tiny_tokenizer("wordpiece"))
    encoder.encode(["the", "\u200b", "", "\x00", "word"])
    assert encoder.words_without_token == {"\u200b", "", "\x00"}


def test_byte_level_tokens_keep_every_byte_of_the_word():
    encoder = WordEncoder(tiny_tokenizer("byte-bos"))
    for word in (FAMILY, "cafe\u0301", "a\x00b", "北京", "مُحَمَّد"):
        assert encoder.tokenizer.decode(encoder.encode_words([word])[0]) == " " + word


def test_lone_surrogates_cost_one_replacement_character_each():
    encoder = WordEncoder(tiny_tokenizer("byte-bos"))
    assert encoder.encode_words(["a\ud83d\udc00"]) == encoder.encode_words(["a\ufffd\ufffd"])


def test_a_megabyte_word_keeps_its_ends(tokenizer):
    encoder = WordEncoder(tokenizer, max_word_tokens=64)
    encoded = encoder.encode(["the", "London" + "x" * 1_000_000 + "york", "word"])
    assert_tiles(encoded, encoder, 3)
    first, end = encoded.word_tokens[1]
    assert end - first <= 64
    if encoded.input_ids[first] != encoder.encoding.fallback_id:  # WordPiece gives long words up
        assert encoded.input_ids[first] == encoder.encode_words(["London"])[0][0]


@pytest.mark.parametrize("limit", [1, 2, 3, 8])
def test_long_words_are_cut_to_the_limit(limit):
    encoder = WordEncoder(tiny_tokenizer("byte-bos"), max_word_tokens=limit)
    whole = WordEncoder(tiny_tokenizer("byte-bos")).encode_words(["zxqzxqzxqzxq"])[0]
    cut = encoder.encode_words(["zxqzxqzxqzxq"])[0]
    assert len(whole) > 8
    assert len(cut) == limit
    assert cut == whole[: (limit + 1) // 2] + whole[len(whole) - limit // 2 :]


def test_eviction_changes_no_answer(monkeypatch):
    monkeypatch.setattr(WordEncoder, "_CACHE_LIMIT", 10)
    small = WordEncoder(tiny_tokenizer("byte-bos"))
    words = [f"word{number % 17}" for number in range(100)]
    monkeypatch.setattr(WordEncoder, "_CACHE_LIMIT", 10_000)
    expected = WordEncoder(tiny_tokenizer("byte-bos")).encode_words(words)
    monkeypatch.setattr(WordEncoder, "_CACHE_LIMIT", 10)
    for size in (1, 3, 9, 11, 40):
        found = [ids for i in range(0, len(words), size) for ids in small.encode_words(words[i : i + size])]
        assert found == expected


def test_cache_stays_bounded_over_many_calls(monkeypatch):
    monkeypatch.setattr(WordEncoder, "_CACHE_LIMIT", 50)
    encoder = WordEncoder(tiny_tokenizer("byte-bos"))
    for start in range(0, 1000, 10):
        encoder.encode_words([f"w{number}" for number in range(start, start + 10)])
    assert len(encoder._cache) <= 50


def test_labels_and_example_index_are_carried():
    encoder = WordEncoder(tiny_tokenizer("byte-bos"))
    encoded = encoder.encode(["New", "York"], [3, 4], example=7)
    assert (encoded.labels, encoded.example, encoded.first_word) == ((3, 4), 7, 0)


def test_no_words_leave_only_special_tokens(tokenizer):
    encoder = WordEncoder(tokenizer)
    encoded = encoder.encode([])
    assert encoded.input_ids == encoder.encoding.prefix_ids + encoder.encoding.suffix_ids
    assert encoded.word_tokens == ()
