"""The tokenizer of a saved labeler for transformers: it encodes text as in training and numbers the words."""

import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers.tokenization_utils_base import BatchEncoding
from transformers.tokenization_utils_tokenizers import PreTrainedTokenizerFast

from lookboth.data import Encoding, WordEncoder, text_and_offsets, tokenize_texts
from lookboth.types import Example

# Keys of tokenizer_config.json; TEXT_KEY is present only in labelers of whole texts.
ENCODING_KEY = "lookboth_encoding"
TEXT_KEY = "lookboth_label_on"


class NumberedWords(BatchEncoding):
    """Tokenized texts with `word_index` (b, t): the 1-based word number of each token, 0 for special tokens."""

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return the 0-based word index of each token, None for special tokens."""
        return [number - 1 if number else None for number in self["word_index"][batch_index].tolist()]


class LookbothTokenizer(PreTrainedTokenizerFast):
    """Tokenizer of a saved labeler; with special tokens, it encodes text as in training.

    With `add_special_tokens=False` it acts as the base model's tokenizer.
    """

    padding_side = "right"

    def __call__(
        self, text: Any = None, *args: Any, add_special_tokens: bool = True, **kwargs: Any
    ) -> BatchEncoding:
        """Return token ids with `word_index`; see NumberedWords.

        A long text stays one row, as the model itself splits it into windows.

        Args:
            text: a text, or a list of words with `is_split_into_words=True`, or a list of either. Several rows are
                padded on the right. Pairs of texts are passed to the base tokenizer.
        """
        texts = _as_batch(text, words=bool(kwargs.get("is_split_into_words")))
        pairs = bool(args) or kwargs.get("text_pair") is not None
        if not add_special_tokens or pairs or not texts or ENCODING_KEY not in self.init_kwargs:
            return super().__call__(text, *args, add_special_tokens=add_special_tokens, **kwargs)
        rows = [self._encode_text(one) for one in texts]
        padding = {"input_ids": self.pad_token_id or 0, "special_tokens_mask": 1}
        return NumberedWords(
            {key: pad_sequence([row[key][0] for row in rows], True, padding.get(key, 0)) for key in rows[0]}
        )

    def _encode_text(self, text: str | Sequence[str]) -> NumberedWords:
        encoder = WordEncoder(self, Encoding.from_dict(self.init_kwargs[ENCODING_KEY]))
        if TEXT_KEY in self.init_kwargs:
            return self._encode_whole(text if isinstance(text, str) else " ".join(text), encoder)
        example = encoder.read_text(text) if isinstance(text, str) else Example(words=tuple(text))
        _, words, ranges = text_and_offsets(example)
        tokens = encoder.encode(words)
        offsets = torch.zeros(1, len(tokens), 2, dtype=torch.long)
        for (first, end), range_ in zip(tokens.word_tokens, ranges, strict=True):
            offsets[0, first:end] = torch.tensor(range_)
        encoded = _numbered(tokens.input_ids, tokens.word_tokens)
        encoded["special_tokens_mask"] = (encoded["word_index"] == 0).long()
        encoded["offset_mapping"] = offsets
        return encoded

    def _encode_whole(self, text: str, encoder: WordEncoder) -> NumberedWords:
        label_on = self.init_kwargs[TEXT_KEY]
        # No limit of tokens, as the model itself splits long texts into windows.
        (piece,) = tokenize_texts([text], encoder, label_on=label_on, max_tokens=sys.maxsize)
        return _numbered(piece.input_ids, piece.word_tokens)


def _as_batch(text: Any, *, words: bool) -> list[str | Sequence[str]]:
    """Return the input as a list of texts (of word lists with `words`); an empty list for other inputs."""
    if isinstance(text, str) or (words and _is_list_of(text, str)):
        return [text]
    return list(text) if _is_list_of(text, list | tuple if words else str) else []


def _is_list_of(values: Any, kind: Any) -> bool:
    return isinstance(values, list | tuple) and all(isinstance(value, kind) for value in values)


def _numbered(input_ids: Sequence[int], word_tokens: Sequence[tuple[int, int]]) -> NumberedWords:
    index = torch.zeros(1, len(input_ids), dtype=torch.long)
    for number, (first, end) in enumerate(word_tokens, start=1):
        index[0, first:end] = number
    return NumberedWords(
        {
            "input_ids": torch.tensor([input_ids]),
            "attention_mask": torch.ones_like(index),
            "word_index": index,
        }
    )
