"""Words to tokens and back, from our own encoding of each word.

Every word is encoded alone, in the form it has inside a sentence, so which token belongs to which word is
known by construction and never read from a tokenizer's offsets (which have been wrong for Llama-family
tokenizers in several releases).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lookboth.types import TokenizedExample

_SURROGATES = re.compile("[\ud800-\udfff]")
_PROBES = ("the", "word")


@dataclass(frozen=True, slots=True)
class Encoding:
    """How words become tokens; saved with the labeler so that it reads text as it was trained to.

    Args:
        word_prefix: put before each word, " " for byte-level tokenizers (GPT-2, Llama 3, Qwen), "" for
            tokenizers that add the word boundary themselves.
        prefix_ids: special tokens before the text. A decoder gets its begin-of-sequence token even where its
            tokenizer would not add one: the first position collects attention that belongs to no word, and
            without a special token there the first word's state is spoiled.
        suffix_ids: special tokens after the text ([SEP] of an encoder).
        fallback_id: stands for a word that yields no token at all.
        repetition: how many more times the words are put in; the last copy is labeled, having seen the whole
            text in the copies before it (sequence repetition; Kukić et al. 2026).
    """

    word_prefix: str
    prefix_ids: tuple[int, ...]
    suffix_ids: tuple[int, ...]
    fallback_id: int
    repetition: int = 0

    @classmethod
    def detect(cls, tokenizer: Any) -> "Encoding":
        """Find out how `tokenizer` (a Hugging Face tokenizer) writes a word inside a sentence."""
        prefix, suffix = _special_tokens(tokenizer)
        if not prefix and tokenizer.bos_token_id is not None:
            prefix = (tokenizer.bos_token_id,)
        fallback = tokenizer.unk_token_id
        if fallback is None:
            fallback = (_ids(tokenizer, "?") or [0])[0]
        return cls(_word_prefix(tokenizer), prefix, suffix, int(fallback))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Encoding":
        """Read what `to_dict` wrote."""
        return cls(
            data["word_prefix"],
            tuple(data["prefix_ids"]),
            tuple(data["suffix_ids"]),
            data["fallback_id"],
            data.get("repetition", 0),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}


class WordEncoder:
    """Encodes words with a Hugging Face tokenizer and remembers what it has seen.

    Args:
        tokenizer: any Hugging Face tokenizer, fast or slow.
        encoding: as saved with a labeler; detected from the tokenizer when None.
        max_word_tokens: a longer word (a megabyte without a space, say) keeps its first and last tokens;
            it still gets its tag.
        num_tokens: how many tokens the model has; one beyond, which some tokenizers give for text that spells it,
            becomes the fallback. None: as many as the tokenizer gives.
    """

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
        self._cache: dict[str, tuple[int, ...]] = {}

    def encode_words(self, words: Iterable[str]) -> list[tuple[int, ...]]:
        """Return the token ids of each word, at least one token a word."""
        words = list(words)
        unseen = list(dict.fromkeys(word for word in words if word not in self._cache))
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
        labels: Sequence[int] | None = None,
        *,
        example: int = 0,
    ) -> TokenizedExample:
        """Return `words` as one TokenizedExample with the special tokens around them, of any length.

        >>> encoder = WordEncoder(demo_tokenizer())  # doctest: +SKIP
        >>> encoder.encode(["New", "York"]).word_tokens  # doctest: +SKIP
        ((1, 2), (2, 3))
        """
        return join_words(self.encode_words(words), self.encoding, labels=labels, example=example)

    def encode_texts(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Return the token ids of each whole text as the tokenizer cuts it, without special tokens, at least one."""
        clean = [_SURROGATES.sub("\ufffd", text.strip()) for text in texts]
        encoded = self.tokenizer(clean, add_special_tokens=False, verbose=False)["input_ids"] if clean else []
        return [self._known(ids) or (self.encoding.fallback_id,) for ids in encoded]

    def _encode_new(self, words: list[str]) -> list[tuple[int, ...]]:
        texts = [self.encoding.word_prefix + _SURROGATES.sub("\ufffd", self._cut(word)) for word in words]
        encoded = self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        return [self._at_least_one(word, ids) for word, ids in zip(words, encoded, strict=True)]

    def _cut(self, word: str) -> str:
        # Byte-level tokens hold at least one byte, so this many characters always suffice.
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
        """Return the token ids of one word within the limits: at most `max_word_tokens`, each below `num_tokens`."""
        ids = self._known(ids)
        if len(ids) <= self.max_word_tokens:
            return ids
        tail = self.max_word_tokens // 2
        return (*ids[: self.max_word_tokens - tail], *ids[len(ids) - tail :])


def join_words(
    word_ids: Sequence[tuple[int, ...]],
    encoding: Encoding,
    *,
    labels: Sequence[int] | None = None,
    example: int = 0,
    first_word: int = 0,
    context: tuple[int, int] = (0, 0),
) -> TokenizedExample:
    """Join the tokens of words, the first and last `context` words being there only to be looked at.

    With `encoding.repetition` r the words stand r + 1 times between the special tokens and `word_tokens` point
    into the last copy.

    Args:
        word_ids: token ids of each word, context words included.
        encoding: gives the special tokens around the words.
        labels: the tag id of each word that is labeled, shape (w,), without the context words.
        example, first_word: see TokenizedExample.
        context: number of context words (left, right); they get no entry in `word_tokens`.
    """
    copy = [token for ids in word_ids for token in ids]
    input_ids = [*encoding.prefix_ids, *copy * encoding.repetition]
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
    first, second = _PROBES
    together = _ids(tokenizer, f"{first} {second}")
    for prefix in ("", " "):
        ids = _ids(tokenizer, prefix + second)
        if ids and together[-len(ids) :] == ids and len(together) == len(_ids(tokenizer, first)) + len(ids):
            return prefix
    return " "


def _special_tokens(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the special tokens the tokenizer puts before and after a text."""
    plain = _ids(tokenizer, _PROBES[1])
    full = list(tokenizer(_PROBES[1], verbose=False)["input_ids"])
    for start in range(len(full) - len(plain) + 1):
        if full[start : start + len(plain)] == plain:
            return tuple(full[:start]), tuple(full[start + len(plain) :])
    return (), ()
