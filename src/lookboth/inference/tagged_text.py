"""The text of a stream with its final tags: character offsets of words, and the spans that closed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lookboth.data import decode_tags
from lookboth.inference.decoding import span_scores
from lookboth.types import PredictedSpan, Span, is_above

if TYPE_CHECKING:
    from lookboth.inference.labeling_config import LabelingConfig
    from lookboth.inference.likelihoods import Likelihood

# Words before a span that its score under a CRF depends on. Words further away change it by less than rounding.
_CHAIN_CONTEXT = 32


@dataclass(frozen=True, slots=True)
class TaggedWord:
    """A word of a stream with its final tag.

    Args:
        text: the word.
        tag: tag in the labeler's scheme.
        start_char, end_char: half-open character range in the text of the stream.
    """

    text: str
    tag: str
    start_char: int
    end_char: int


@dataclass(frozen=True, slots=True)
class StreamUpdate:
    """What became final in one call: the next words with their tags, and the spans that closed.

    Args:
        words: in order of the text; every word is returned once.
        spans: with word and character offsets in the text of the stream.
    """

    words: tuple[TaggedWord, ...] = ()
    spans: tuple[PredictedSpan, ...] = ()

    @property
    def tags(self) -> list[str]:
        """The tags of the words."""
        return [word.tag for word in self.words]

    def above(self, score: float | Mapping[str, float | None]) -> "StreamUpdate":
        """Return the update without spans that score below `score`, as `Prediction.above`; tags do not change."""
        return replace(
            self, spans=tuple(span for span in self.spans if is_above(score, span.label, span.score))
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values: words with tags, and spans, both with character offsets."""
        words = [
            {"start": word.start_char, "end": word.end_char, "text": word.text, "tag": word.tag}
            for word in self.words
        ]
        return {"words": words, "spans": [span.to_dict() for span in self.spans]}


class TaggedText:
    """Collects words, scores and tag ids of a text, and returns words and spans when they are final.

    Words are kept from the first one whose span may continue; everything before it is dropped.

    Args:
        config: tags and scheme.
        likelihood: conversion of scores to probabilities.
    """

    def __init__(self, config: "LabelingConfig", likelihood: "Likelihood") -> None:
        self._config, self._likelihood = config, likelihood
        self._context = 0 if likelihood.transitions is None else _CHAIN_CONTEXT
        self._text, self._base = "", 0  # the kept text and its offset in the whole text
        self._first = 0  # index of the first kept word
        self._ranges: list[tuple[int, int]] = []
        self._ids: list[int] = []
        # Scores begin `_context` words before the first kept word.
        self._rows: list[np.ndarray] = []
        self._first_row = 0

    @property
    def has_words(self) -> bool:
        """Whether the text has words."""
        return bool(self._ranges or self._first)

    def add_words(self, words: Sequence[str]) -> None:
        """Append words to the text, with one space between two words."""
        for word in words:
            self._text += " " * self.has_words + word
            end = self._base + len(self._text)
            self._ranges.append((end - len(word), end))

    def add_text(self, piece: str) -> None:
        """Append a piece of text, whose words follow in `add_ranges`."""
        self._text += piece

    def add_ranges(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Append the character ranges of the next words of the text."""
        self._ranges += ranges

    def add_scores(self, scores: np.ndarray) -> None:
        """Append the scores of the next words, (w, num_tags)."""
        self._rows += list(scores)

    def update(self, ids: Sequence[int], *, ended: bool = False) -> StreamUpdate:
        """Return the next words with their tags, and the spans that these tags close.

        Args:
            ids: tag ids of the next words.
            ended: whether these are the last ones.
        """
        tagged = len(self._ids)
        self._ids += ids
        words = tuple(
            TaggedWord(self._cut(start, end), self._config.tags[tag], start, end)
            for (start, end), tag in zip(self._ranges[tagged:], ids, strict=False)
        )
        tags = [self._config.tags[tag] for tag in self._ids]
        # An inside tag may still follow a span of IOB2; spans of the other schemes end with their last tag.
        closed = [
            span
            for span in decode_tags(tags, self._config.scheme)
            if span.end < len(tags) or ended or self._config.scheme != "IOB2"
        ]
        spans = tuple(map(self._predicted, closed))
        continues = self._config.scheme != "plain" and tags and tags[-1][:2] in ("B-", "I-")
        self._drop((closed[-1].end if closed else 0) if continues else len(tags))
        return StreamUpdate(words, spans)

    def _cut(self, start: int, end: int) -> str:
        return self._text[start - self._base : end - self._base]

    def _predicted(self, span: Span) -> PredictedSpan:
        start, end = self._ranges[span.start][0], self._ranges[span.end - 1][1]
        first, last = self._first + span.start, self._first + span.end
        return PredictedSpan(first, last, span.label, self._cut(start, end), start, end, self._score(span))

    def _score(self, span: Span) -> float:
        """Return the score of a span as `predict` does; under a CRF, from the words near it and scored so far."""
        before = self._first - self._first_row
        begin = max(0, before + span.start - self._context)
        end = len(self._rows) if self._context else before + span.end
        config = self._config
        log_probs = self._likelihood.log_probs(
            np.stack(self._rows[begin:end]),
            np.array([end - begin]),
            tags=config.tags,
            scheme=config.scheme,
            temperature=config.confidence.temperature,
        )
        own = log_probs[before + span.start - begin : before + span.end - begin]
        return span_scores(own, self._ids[span.start : span.end], [Span(0, len(own), span.label)])[0]

    def _drop(self, count: int) -> None:
        """Forget the first `count` words."""
        if not count:
            return
        cut = self._ranges[count - 1][1] - self._base
        self._text, self._base = self._text[cut:], self._base + cut
        self._ranges, self._ids = self._ranges[count:], self._ids[count:]
        self._first += count
        rows = max(0, self._first - self._context - self._first_row)
        self._rows, self._first_row = self._rows[rows:], self._first_row + rows
