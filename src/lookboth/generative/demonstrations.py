"""Choosing the demonstrations of a prompt: random, fixed, stratified by label, or retrieved by similarity."""

import random
from collections.abc import Sequence
from functools import cached_property
from itertools import cycle
from typing import Protocol

from lookboth.config import GenerativeConfig
from lookboth.types import Example

RETRIEVED = {"bm25", "embedding", "word_embedding"}
NO_SPAN = ""  # the stratum of sentences without labels


class Retriever(Protocol):
    """Finds the sentences of a pool that are most similar to a query."""

    def rank(self, queries: Sequence[Sequence[str]], count: int) -> list[list[int]]:
        """Return the `count` most similar sentences of the pool for each query (words), best first."""


class Demonstrations:
    """Chooses demonstrations from a pool of training sentences.

    Args:
        pool: labeled training sentences; never dev or test sentences.
        config: number of demonstrations and how to choose them.
        seed: seed of random choices.
        is_draw: whether the pool is the output of `kept`: without retrieval it is the draw itself, in order.
    """

    def __init__(
        self, pool: Sequence[Example], config: GenerativeConfig, *, seed: int = 0, is_draw: bool = False
    ) -> None:
        self.pool, self.config, self.seed = list(pool), config, seed
        self._retriever: Retriever | None = None
        self._is_draw = is_draw and not self.retrieves

    @property
    def retrieves(self) -> bool:
        """Return whether every text has its own demonstrations."""
        return self.config.demonstrations in RETRIEVED and self.config.k > 0

    @cached_property
    def by_label_set(self) -> "dict[tuple[str, ...], Demonstrations]":
        """The demonstrations from each data set, by its labels; a text is shown those from its own data set."""
        pools: dict[tuple[str, ...], list[Example]] = {}
        for example in self.pool:
            pools.setdefault(example.label_set if self.config.open_labels else (), []).append(example)
        if len(pools) == 1:
            return dict.fromkeys(pools, self)
        return {
            label_set: Demonstrations(pool, self.config, seed=self.seed, is_draw=self._is_draw)
            for label_set, pool in pools.items()
        }

    def for_texts(self, texts: Sequence[Sequence[str]]) -> list[list[Example]]:
        """Return the demonstrations for each text, with the most similar one last, next to the text.

        Without retrieval all texts share one draw, so that its keys and values are computed once.
        """
        if self.retrieves:
            ranked = self._rank(texts, self.config.k)
            return [[self.pool[i] for i in reversed(indices)] for indices in ranked]
        # One draw for all texts: they share a prefix, which is encoded once.
        shared = self.shared()
        return [shared for _ in texts]

    def shared(self) -> list[Example]:
        """Return the demonstrations shared by all texts, without retrieval."""
        if self._is_draw:
            return self.pool[: self.config.k]
        return [self.pool[i] for i in self._draw(random.Random(self.seed), set())]

    def kept(self) -> list[Example]:
        """Return the sentences that a saved labeler needs: those it shows for each label set, or the whole pool."""
        if self.config.k == 0:
            return []
        if self.retrieves:
            return self.pool
        return [example for part in self.by_label_set.values() for example in part.shared()]

    def for_training(self, epoch: int) -> list[list[Example]]:
        """Return the demonstrations of every sentence of the pool in one epoch.

        They are drawn again in each epoch, unless fixed or retrieved. Sentences with the same words as the
        query are excluded, because their answer would leak. With `open_labels` they are from the data set of the
        sentence.
        """
        if self.config.k == 0:
            return [[] for _ in self.pool]
        if len(self.by_label_set) > 1:
            parts = {
                label_set: iter(part.for_training(epoch)) for label_set, part in self.by_label_set.items()
            }
            return [next(parts[example.label_set]) for example in self.pool]
        twins: dict[tuple[str, ...], set[int]] = {}
        for index, example in enumerate(self.pool):
            twins.setdefault(example.words, set()).add(index)
        if self.retrieves:
            return self._retrieved_for_training(twins)
        # Seeded by epoch, so that a resumed training draws the same demonstrations.
        rng = random.Random(f"{self.seed}:{epoch}")
        return [[self.pool[i] for i in self._draw(rng, twins[example.words])] for example in self.pool]

    def _retrieved_for_training(self, twins: dict[tuple[str, ...], set[int]]) -> list[list[Example]]:
        # Rank enough sentences that k remain after the twins of the query are removed.
        most = max(map(len, twins.values()))
        ranked = self._rank([example.words for example in self.pool], self.config.k + most)
        result = []
        for example, indices in zip(self.pool, ranked, strict=True):
            others = [i for i in indices if i not in twins[example.words]][: self.config.k]
            result.append([self.pool[i] for i in reversed(others)])
        return result

    def _draw(self, rng: random.Random, without: set[int]) -> list[int]:
        count = min(self.config.k, len(self.pool) - len(without))
        if self.config.demonstrations == "stratified":
            return self._draw_by_label(rng, without, count)
        if self.config.demonstrations == "random":
            drawn = rng.sample(range(len(self.pool)), min(len(self.pool), count + len(without)))
        else:
            drawn = list(range(min(len(self.pool), count + len(without))))
        return [index for index in drawn if index not in without][:count]

    def _draw_by_label(self, rng: random.Random, without: set[int], count: int) -> list[int]:
        """Draw one sentence per label in turn, including sentences without labels, in random order of labels."""
        strata = {label: list(indices) for label, indices in self._strata().items()}
        order = sorted(strata)
        rng.shuffle(order)
        chosen: list[int] = []
        for label in cycle(order):
            if len(chosen) >= count:
                break
            left = strata[label] = [i for i in strata[label] if i not in without and i not in chosen]
            if left:
                chosen.append(rng.choice(left))
        return chosen

    def _strata(self) -> dict[str, list[int]]:
        strata: dict[str, list[int]] = {}
        for index, example in enumerate(self.pool):
            for label in set(example.labels()) or {NO_SPAN}:
                strata.setdefault(label, []).append(index)
        return strata

    def _rank(self, queries: Sequence[Sequence[str]], count: int) -> list[list[int]]:
        # Building the index encodes the whole pool, so it happens on first use only.
        if self._retriever is None:
            self._retriever = build_retriever([example.words for example in self.pool], self.config)
        return self._retriever.rank(queries, min(count, len(self.pool)))


def build_retriever(pool: Sequence[Sequence[str]], config: GenerativeConfig) -> Retriever:
    """Return the retriever of a recipe over the sentences of `pool`.

    Raises:
        ConfigError: the package for BM25 is not installed.
        ModelError: the embedding model cannot be loaded.
    """
    from lookboth.generative.retrieval import Bm25Retriever, EmbeddingRetriever, WordEmbeddingRetriever

    if config.demonstrations == "bm25":
        return Bm25Retriever(pool)
    if config.demonstrations == "word_embedding":
        return WordEmbeddingRetriever(pool, config.embedding_model)
    return EmbeddingRetriever(pool, config.embedding_model)
