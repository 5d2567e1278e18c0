"""Labeling of one text while its words arrive: windows, tags and spans, each returned when it is final."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from lookboth.data import MovingWindow, TextSplitter
from lookboth.errors import ConfigError
from lookboth.inference.online_decoding import OnlineDecoder
from lookboth.inference.tagged_text import StreamUpdate, TaggedText

if TYPE_CHECKING:
    from lookboth.data import WordEncoder
    from lookboth.inference.labeling_config import LabelingConfig
    from lookboth.inference.likelihoods import Likelihood


class WindowScorer(Protocol):
    """Scores the words of one window while they arrive."""

    def push(self, words: Sequence[tuple[int, ...]], *, context: bool = False) -> np.ndarray:
        """Return the scores of the words that are final after the next words, (w, num_tags).

        Args:
            words: token ids of each word.
            context: whether these words are not scored.
        """

    def close(self) -> np.ndarray:
        """Return the scores of the other words, (w, num_tags); the window ends here."""


class WordStream:
    """Labels one text while it arrives; made by `Labeler.open_stream`.

    Give it words (`push`) or pieces of text (`push_text`), and `finish` at the end. Memory is bounded: a window, the
    words without a final tag, and the open span.

    Args:
        config: windows, tags, and a plan with finite look-ahead.
        encoder: encodes words as tokens.
        likelihood: conversion of scores to probabilities.
        open_window: starts a new window of the model.
        lag: see `Labeler.open_stream`.
    """

    def __init__(
        self,
        config: "LabelingConfig",
        encoder: "WordEncoder",
        likelihood: "Likelihood",
        open_window: Callable[[], WindowScorer],
        *,
        lag: int | None,
    ) -> None:
        self._encoder, self._open_window = encoder, open_window
        self._window = MovingWindow(
            max_tokens=config.max_tokens - config.encoding.special_tokens(),
            overlap=config.overlap,
            look_ahead=config.look_ahead or 0,
        )
        self._scorer = open_window()
        self._num_scored = 0  # words of this window
        self._decoder = OnlineDecoder(config.tags, config.scheme, likelihood, lag=lag)
        self._tagged = TaggedText(config, likelihood)
        self._splitter: TextSplitter | None = None
        self._is_finished = False

    def push(self, words: str | Iterable[str]) -> StreamUpdate:
        """Label the next word or words, and return what became final.

        Character offsets refer to the words joined by one space.

        Raises:
            ConfigError: the stream is finished, or was given text before.
        """
        given = [words] if isinstance(words, str) else list(words)
        if self._splitter is not None:
            raise ConfigError(
                "This stream was given pieces of text; push_text takes more, push takes words only."
            )
        self._require_open()
        self._tagged.add_words(given)
        return self._label(given)

    def push_text(self, piece: str) -> StreamUpdate:
        """Label the next piece of a text, of any length, and return what became final.

        Words are those of `split_words` in the whole text. A word is labeled when white space follows it, or when
        nothing else can change it (`TextSplitter`). Character offsets refer to the whole text.

        Raises:
            ConfigError: the stream is finished or was given words before, or the labeler has another splitter.
        """
        self._require_open()
        if self._encoder.encoding.splitter:
            raise ConfigError(
                f"This labeler splits text with {self._encoder.encoding.splitter!r}, which needs the whole text. Split "
                "the text into words and give them to push."
            )
        if self._splitter is None and self._tagged.has_words:
            raise ConfigError(
                "This stream was given words; push takes more, push_text takes pieces of text only."
            )
        self._splitter = self._splitter or TextSplitter()
        self._tagged.add_text(piece)
        return self._label_split(self._splitter.push(piece))

    def finish(self) -> StreamUpdate:
        """Return all that was not final; the text ends here.

        Raises:
            ConfigError: the stream is finished.
        """
        self._require_open()
        update = self._label_split(self._splitter.finish() if self._splitter else [])
        self._is_finished = True
        ids = self._decide(self._scorer.close()) + self._decoder.finish()
        rest = self._tagged.update(ids, ended=True)
        return StreamUpdate(update.words + rest.words, update.spans + rest.spans)

    def _require_open(self) -> None:
        if self._is_finished:
            raise ConfigError("This stream is finished. Open another: labeler.open_stream()")

    def _label_split(self, words: Sequence[tuple[str, int, int]]) -> StreamUpdate:
        self._tagged.add_ranges([(start, end) for _, start, end in words])
        return self._label([word for word, _, _ in words])

    def _label(self, words: Sequence[str]) -> StreamUpdate:
        # Reversed, so that the next word is taken from the end.
        waiting = self._encoder.encode_words(words)[::-1]
        decided: list[int] = []
        while waiting:
            batch: list[tuple[int, ...]] = []
            while waiting and self._window.takes(waiting[-1]):
                batch.append(waiting.pop())
            if batch:
                decided += self._decide(self._scorer.push(batch))
            if waiting:
                decided += self._move(waiting)
        return self._tagged.update(decided)

    def _move(self, waiting: list[tuple[int, ...]]) -> list[int]:
        """Start the next window, and return the tag ids decided by the last scores of this one.

        Args:
            waiting: the words to come, the next one last; the words to label again are added.
        """
        count, others = self._window.move(waiting[-1])
        waiting += others[::-1]
        num_owed = count - self._num_scored
        owed = self._decide(self._scorer.close()[:num_owed]) if num_owed else []
        self._scorer, self._num_scored = self._open_window(), 0
        # The new window reads its context first; its words have their tags already.
        if self._window.context:
            self._scorer.push(self._window.context, context=True)
        return owed

    def _decide(self, scores: np.ndarray) -> list[int]:
        """Return the tag ids that the scores of the next words decide."""
        self._num_scored += len(scores)
        self._tagged.add_scores(scores)
        return self._decoder.push(scores)
