"""Retrieval of similar sentences: by shared words (BM25), or by encoder states of sentences or words."""

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from lookboth.data import WordEncoder, build_batch, cheapest_batches
from lookboth.errors import ConfigError
from lookboth.masking import max_positions
from lookboth.models import default_device, load_backbone, load_tokenizer


class Bm25Retriever:
    """Ranks sentences by BM25 over lower-cased words (the package bm25s).

    Args:
        pool: sentences as words.

    Raises:
        ConfigError: the package is not installed.
    """

    def __init__(self, pool: Sequence[Sequence[str]]) -> None:
        if importlib.util.find_spec("bm25s") is None:
            raise ConfigError(
                "generative.demonstrations = 'bm25': the package bm25s is not installed. "
                "Type: pip install 'lookboth[generative]'"
            )
        import bm25s

        self._size = len(pool)
        self._index = bm25s.BM25()
        self._index.index([_terms(words) for words in pool], show_progress=False)

    def rank(self, queries: Sequence[Sequence[str]], count: int) -> list[list[int]]:
        """Return the `count` best sentences of the pool for each query, best first."""
        return [_best(self._scores(words), count) for words in queries]

    def _scores(self, words: Sequence[str]) -> np.ndarray:
        return np.asarray(self._index.get_scores(_terms(words))) if words else np.zeros(self._size)


class EmbeddingRetriever:
    """Ranks sentences by the cosine similarity of mean token states of an encoder.

    Args:
        pool: sentences as words.
        model: built-in name, folder or hub id of the encoder.
    """

    def __init__(self, pool: Sequence[Sequence[str]], model: str) -> None:
        self._states = _States(model)
        self._pool = self.embed(pool)

    def rank(self, queries: Sequence[Sequence[str]], count: int) -> list[list[int]]:
        """Return the `count` best sentences of the pool for each query, best first."""
        return [_best(scores, count) for scores in self.embed(queries) @ self._pool.T]

    def embed(self, sentences: Sequence[Sequence[str]]) -> np.ndarray:
        """Return one unit vector per sentence, shape (n, hidden); very long sentences are truncated."""
        return np.stack([_unit(tokens.mean(0)) for tokens, _ in self._states.of(sentences)])


class WordEmbeddingRetriever:
    """Ranks sentences by their words: the mean over query words of the cosine to the nearest word of the
    sentence.

    The sum of maximum similarities is the score of ColBERT (Khattab & Zaharia 2020, arXiv 2004.12832).
    Comparing words instead of sentences is the idea of IF-WRANER (Nandi & Agrawal 2024, arXiv 2411.00451): a
    rare name can match a similar name in a sentence about another topic.

    Args:
        pool: sentences as words.
        model: built-in name, folder or hub id of the encoder.
    """

    def __init__(self, pool: Sequence[Sequence[str]], model: str) -> None:
        self._states = _States(model)
        vectors = self.embed(pool)
        lengths = [len(rows) for rows in vectors]
        self._words = np.concatenate(vectors)
        # The words of all sentences are in one matrix; sentence i begins in row `_starts[i]`.
        self._starts = np.cumsum([0, *lengths[:-1]])

    def rank(self, queries: Sequence[Sequence[str]], count: int) -> list[list[int]]:
        """Return the `count` best sentences of the pool for each query, best first."""
        return [_best(self._scores(rows), count) for rows in self.embed(queries)]

    def embed(self, sentences: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Return one unit vector per word of each sentence, (w, hidden); one zero vector for a sentence without
        words.
        """
        return [
            np.stack([_unit(tokens[first:end].mean(0)) for first, end in ranges])
            if ranges
            else np.zeros((1, tokens.shape[1]), dtype=np.float32)
            for tokens, ranges in self._states.of(sentences)
        ]

    def _scores(self, query: np.ndarray) -> np.ndarray:
        similar = query @ self._words.T
        # One matrix product for the pool; `reduceat` takes the maximum within each sentence.
        scores: np.ndarray = np.maximum.reduceat(similar, self._starts, axis=1).mean(0)
        return scores


class _States:
    """Last hidden states of an encoder.

    Args:
        model: built-in name, folder or hub id of the encoder.
    """

    def __init__(self, model: str) -> None:
        self._backbone = load_backbone(model, device=default_device())
        longest = max_positions(self._backbone) or 512
        self._encoder = WordEncoder(load_tokenizer(model), max_word_tokens=4)
        # At most four tokens per word, so this many words always fit.
        self._max_words = max(1, longest // 4 - 1)

    def of(self, sentences: Sequence[Sequence[str]]) -> list[tuple[np.ndarray, Sequence[tuple[int, int]]]]:
        """Return the token states, (t, hidden), and the token range of each word, for each sentence."""
        pieces = [self._encoder.encode(words[: self._max_words]) for words in sentences]
        found: list[Any] = [None] * len(pieces)
        device = next(self._backbone.parameters()).device
        with torch.inference_mode():
            for indices in cheapest_batches([len(piece) for piece in pieces], max_tokens=4096):
                batch = build_batch([pieces[i] for i in indices])
                mask = batch.attention_mask.to(device) if batch.attention_mask is not None else None
                output = self._backbone(input_ids=batch.input_ids.to(device), attention_mask=mask)
                states = output.last_hidden_state.float().cpu().numpy()
                for row, index in enumerate(indices):
                    piece = pieces[index]
                    found[index] = (states[row, : len(piece)], piece.word_tokens)
        return found


def _unit(vector: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vector)
    unit: np.ndarray = vector / max(length, 1e-12)
    return unit


def _terms(words: Sequence[str]) -> list[str]:
    return [word.lower() for word in words]


def _best(scores: np.ndarray, count: int) -> list[int]:
    """Return the indices of the highest scores; ties keep the order of the pool."""
    return [int(i) for i in np.argsort(-np.asarray(scores), kind="stable")[:count]]
