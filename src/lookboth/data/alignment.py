"""Alignment of words and tokens, known by construction because every word is encoded alone.

Each word is encoded in the form it has inside a sentence. The alignment is never read from a tokenizer's offsets, which
have been wrong for Llama-family tokenizers in several releases.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lookboth.data.splitters import example_of_words, named_splitter
from lookboth.types import Example, TagId, TokenizedExample

_SURROGATES = re.compile("[\ud800-\udfff]")
_PROBES = ("the", "word")


@dataclass(frozen=True, slots=True)
class Encoding:
    """Settings of the tokenization of words; saved with the labeler so that prediction matches training.

    Args:
        word_prefix: text added before each word: " " for byte-level tokenizers (GPT-2, Llama 3, Qwen), "" for
            tokenizers that add the word boundary themselves.
        prefix_ids: special tokens before the text. A decoder gets its begin-of-sequence token even if its tokenizer
            does not add one. The first position is an attention sink; without a special token there, the state of the
            first word is degraded.
        suffix_ids: special tokens after the text ([SEP] of an encoder).
        fallback_id: token id of a word for which the tokenizer returns no token.
        repetition: number of extra copies of the words. The last copy is labeled; it can attend to the whole text in
            the copies before it (sequence repetition; Kukić et al. 2026).
        prefix_each_copy: whether the special tokens before the text are before every copy, not the first one only.
        splitter: name of the splitter of raw text into words, as in `splitters.named_splitter`.
    """

    word_prefix: str
    prefix_ids: tuple[int, ...]
    suffix_ids: tuple[int, ...]
    fallback_id: int
    repetition: int = 0
    prefix_each_copy: bool = False
    splitter: str = ""

    @classmethod
    def detect(cls, tokenizer: Any) -> "Encoding":
        """Detect the settings of a Hugging Face tokenizer from how it tokenizes two words."""
        prefix, suffix = _special_tokens(tokenizer)
        if not prefix and tokenizer.bos_token_id is not None:
            prefix = (tokenizer.bos_token_id,)
        fallback = tokenizer.unk_token_id
        if fallback is None:
            fallback = (_ids(tokenizer, "?") or [0])[0]
        return cls(_word_prefix(tokenizer), prefix, suffix, int(fallback))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Encoding":
        """Return the encoding that `to_dict` wrote."""
        return cls(
            data["word_prefix"],
            tuple(data["prefix_ids"]),
            tuple(data["suffix_ids"]),
            data["fallback_id"],
            data.get("repetition", 0),
            data.get("prefix_each_copy", False),
            data.get("splitter", ""),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the encoding as JSON."""
        saved = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}
        # Written only if it differs from the default, for labelers saved before this key existed.
        if not self.prefix_each_copy:
            del saved["prefix_each_copy"]
        return saved

    def special_tokens(self) -> int:
        """Return the number of special tokens around one copy of the words."""
        return len(self.prefix_ids) + len(self.suffix_ids)

    def longest_text(self, limit: int) -> int:
        """Return the largest `max_tokens` with which all copies of a text have at most `limit` tokens.

        >>> Encoding("", (1,), (), 0, repetition=1).longest_text(9)
        5
        """
        once = len(self.suffix_ids) if self.prefix_each_copy else self.special_tokens()
        return once + (limit - once) // (self.repetition + 1)


class WordEncoder:
    """Encodes words with a Hugging Face tokenizer and caches the result of each word.

    Args:
        tokenizer: any Hugging Face tokenizer, fast or slow.
        encoding: as saved with a labeler; None: detected from the tokenizer.
        max_word_tokens: maximum number of tokens per word. A longer word (a megabyte without a space, say) keeps its
            first and last tokens and still gets a tag.
        num_tokens: vocabulary size of the model. Larger ids, which some tokenizers return for text that spells out a
            special token, are replaced by the fallback. None: no limit.

    Raises:
        ConfigError: the splitter of words is unknown, or its library is not installed.
    """

    # Words; keeps the cache at tens of megabytes. Clearing it costs only time.
    _CACHE_LIMIT = 200_000

    def __init__(
        self,
        tokenizer: Any,
        encoding: Encoding | None = None,
        *,
        max_word_tokens: int = 64,
        num_tokens: int | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.encoding = encoding or Encoding.detect(tokenizer)
        self.max_word_tokens = max_word_tokens
        self.num_tokens = num_tokens
        self.words_without_token: set[str] = set()
        # A missing library is reported here, when a labeler is loaded, and not at its first text.
        named_splitter(self.encoding.splitter)
        self._cache: dict[str, tuple[int, ...]] = {}

    def read_text(self, text: str, source: str = "") -> Example:
        """Return an example with the words of a raw text by the splitter of the encoding."""
        return example_of_words(text, self.encoding.splitter, source)

    def encode_words(self, words: Iterable[str]) -> list[tuple[int, ...]]:
        """Return the token ids of each word, at least one per word."""
        words = list(words)
        unseen = list(dict.fromkeys(word for word in words if word not in self._cache))
        # Cleared as a whole: keeping track of use would cost more than encoding again.
        if len(self._cache) + len(unseen) > self._CACHE_LIMIT:
            self._cache.clear()
            unseen = list(dict.fromkeys(words))
        if unseen:
            for word, ids in zip(unseen, self._encode_new(unseen), strict=True):
                self._cache[word] = ids
        return [self._cache[word] for word in words]

    def encode(
        self,
        words: Sequence[str],
        labels: Sequence[TagId] | None = None,
        *,
        example: int = 0,
    ) -> TokenizedExample:
        """Return the words as one TokenizedExample of any length, with special tokens around them.

        >>> encoder = WordEncoder(demo_tokenizer())  # doctest: +SKIP
        >>> encoder.encode(["New", "York"]).word_tokens  # doctest: +SKIP
        ((1, 2), (2, 3))
        """
        return join_words(self.encode_words(words), self.encoding, labels=labels, example=example)

    def encode_texts(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Return the token ids of each whole text, without special tokens, at least one per text."""
        clean = [_SURROGATES.sub("\ufffd", text.strip()) for text in texts]
        encoded = self.tokenizer(clean, add_special_tokens=False, verbose=False)["input_ids"] if clean else []
        return [self._known(ids) or (self.encoding.fallback_id,) for ids in encoded]

    def _encode_new(self, words: list[str]) -> list[tuple[int, ...]]:
        texts = [self.encoding.word_prefix + _SURROGATES.sub("\ufffd", self._cut(word)) for word in words]
        encoded = self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        return [self._at_least_one(word, ids) for word, ids in zip(words, encoded, strict=True)]

    def _cut(self, word: str) -> str:
        # Bounds the tokenizer's time on junk: `fit` drops the middle of such a word anyway.
        limit = 16 * self.max_word_tokens
        return word if len(word) <= limit else word[: limit // 2] + word[-limit // 2 :]

    def _known(self, ids: Sequence[int]) -> tuple[int, ...]:
        if self.num_tokens is None or max(ids, default=0) < self.num_tokens:
            return tuple(ids)
        return tuple(token if token < self.num_tokens else self.encoding.fallback_id for token in ids)

    def _at_least_one(self, word: str, ids: Sequence[int]) -> tuple[int, ...]:
        if not ids:
            self.words_without_token.add(word)
            return (self.encoding.fallback_id,)
        return self.fit(ids)

    def fit(self, ids: Sequence[int]) -> tuple[int, ...]:
        """Return the token ids of one word limited to `max_word_tokens` tokens, each below `num_tokens`."""
        ids = self._known(ids)
        if len(ids) <= self.max_word_tokens:
            return ids
        tail = self.max_word_tokens // 2
        return (*ids[: self.max_word_tokens - tail], *ids[len(ids) - tail :])


def join_words(
    word_ids: Sequence[tuple[int, ...]],
    encoding: Encoding,
    *,
    labels: Sequence[TagId] | None = None,
    example: int = 0,
    first_word: int = 0,
    context: tuple[int, int] = (0, 0),
) -> TokenizedExample:
    """Join the tokens of words into one example; the first and last `context` words are not labeled.

    With `encoding.repetition` r the words occur r + 1 times between the special tokens, and `word_tokens` points into
    the last copy.

    Args:
        word_ids: token ids of each word, context words included.
        encoding: special tokens and repetition.
        labels: the tag id of each labeled word, shape (w,), without the context words.
        example, first_word: see TokenizedExample.
        context: number of context words (left, right); they have no entry in `word_tokens`.
    """
    copy = [token for ids in word_ids for token in ids]
    again = encoding.prefix_ids if encoding.prefix_each_copy else ()
    input_ids = [*encoding.prefix_ids, *[*copy, *again] * encoding.repetition]
    ranges = []
    for ids in word_ids:
        ranges.append((len(input_ids), len(input_ids) + len(ids)))
        input_ids.extend(ids)
    input_ids.extend(encoding.suffix_ids)
    left, right = context
    return TokenizedExample(
        input_ids=tuple(input_ids),
        word_tokens=tuple(ranges[left : len(ranges) - right]),
        labels=None if labels is None else tuple(labels),
        example=example,
        first_word=first_word,
    )


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _word_prefix(tokenizer: Any) -> str:
    # A form is right if the tokens of two words are the tokens of the first and of the second in this form.
    first, second = _PROBES
    together = _ids(tokenizer, f"{first} {second}")
    for prefix in ("", " "):
        ids = _ids(tokenizer, prefix + second)
        if ids and together[-len(ids) :] == ids and len(together) == len(_ids(tokenizer, first)) + len(ids):
            return prefix
    return " "


def _special_tokens(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the special tokens that the tokenizer adds before and after a text."""
    plain = _ids(tokenizer, _PROBES[1])
    full = list(tokenizer(_PROBES[1], verbose=False)["input_ids"])
    # The special tokens are those around the tokens of the word alone.
    for start in range(len(full) - len(plain) + 1):
        if full[start : start + len(plain)] == plain:
            return tuple(full[:start]), tuple(full[start + len(plain) :])
    return (), ()
