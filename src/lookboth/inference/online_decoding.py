"""Decoding of tags while the scores of words arrive: Viterbi that returns a tag as soon as it is decided."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lookboth.inference.decoding import FORBIDDEN, transition_scores

if TYPE_CHECKING:
    from lookboth.inference.likelihoods import Likelihood


class OnlineDecoder:
    """Finds the best well-formed tag sequence word by word.

    The best paths to all tags of the newest word are kept (Viterbi). A tag is decided where all of them agree: no score
    that follows can change it, so the tags are those of `decode_tags_constrained`. With a lag of k words, a tag is also
    decided k words later, on the best path so far; paths that disagree are then dropped, so the tags stay well-formed.
    With lag 0 this is greedy: the best tag that may follow the one before it.

    Args:
        tags, scheme: as in `allowed_transitions`.
        likelihood: the transition scores of a CRF; none for other heads.
        lag: words after which a tag is decided at the latest; None: no limit.
    """

    def __init__(
        self, tags: tuple[str, ...], scheme: str, likelihood: "Likelihood", *, lag: int | None
    ) -> None:
        self._steps = transition_scores(tags, scheme, likelihood.transitions)
        self._lag = lag
        self._score: np.ndarray | None = None
        # For each undecided word the best tag before each of its tags; the words before the first are decided.
        self._back: list[np.ndarray] = []

    def push(self, scores: np.ndarray) -> list[int]:
        """Return the tag ids that are decided by the next words, (w, num_tags), in order of the text."""
        return [tag for row in scores for tag in self._push(row)]

    def finish(self) -> list[int]:
        """Return the tag ids of the remaining words; the text ends here."""
        if self._score is None:
            return []
        return self._decide(int((self._score + self._steps[:-1, -1]).argmax()), 0)

    def _push(self, row: np.ndarray) -> Iterator[int]:
        if self._score is None:
            self._back.append(np.zeros(len(row), dtype=int))
            self._score = row + self._steps[-1, :-1]
        else:
            total = self._score[:, None] + self._steps[:-1, :-1]
            self._back.append(total.argmax(axis=0))
            self._score = total.max(axis=0) + row
        yield from self._agreed()
        if self._lag is not None and len(self._back) > self._lag:
            yield from self._commit(self._lag)

    def _agreed(self) -> list[int]:
        """Return the tags on which all paths agree."""
        assert self._score is not None
        # Tags that only forbidden transitions lead to are on no path.
        tags = np.flatnonzero(self._score > self._score.max() + FORBIDDEN / 2)
        for undecided, pointers in enumerate(reversed(self._back)):
            if len(tags) == 1:
                return self._decide(int(tags[0]), undecided)
            tags = np.unique(pointers[tags])
        return []

    def _commit(self, lag: int) -> list[int]:
        """Decide all but the newest `lag` words on the best path, and drop the paths that disagree."""
        assert self._score is not None
        origins = np.arange(len(self._score))
        for pointers in reversed(self._back[len(self._back) - lag :] if lag else []):
            origins = pointers[origins]
        decided = int(origins[self._score.argmax()])
        # No path may lead through another tag of the decided word.
        self._score = np.where(origins == decided, self._score, -np.inf)
        return self._decide(decided, lag)

    def _decide(self, tag: int, undecided: int) -> list[int]:
        """Return the tags up to the word with this tag, and forget them; the newest `undecided` words remain."""
        decided = len(self._back) - undecided
        path = [tag] if decided else []
        for pointers in reversed(self._back[1:decided]):
            path.append(int(pointers[path[-1]]))
        self._back = self._back[decided:]
        return path[::-1]


def decode_online(
    scores: np.ndarray, tags: Sequence[str], scheme: str, likelihood: "Likelihood", *, lag: int | None
) -> list[int]:
    """Return the tag ids that a stream decides for the words of a whole text: the same decoding, offline.

    Args:
        scores: shape (w, num_tags).
        others: as in `OnlineDecoder`.
    """
    decoder = OnlineDecoder(tuple(tags), scheme, likelihood, lag=lag)
    return decoder.push(scores) + decoder.finish()
