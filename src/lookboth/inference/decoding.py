"""Word scores to tags: the most probable tag sequence that is well-formed."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from lookboth.types import Span

if TYPE_CHECKING:
    import numpy as np

_FORBIDDEN = -1e9


@lru_cache(maxsize=64)
def allowed_transitions(tags: tuple[str, ...], scheme: str) -> "np.ndarray":
    """Return which tag may follow which, shape (n + 1, n + 1), True = allowed.

    Row and column n stand for the border of the text: row n says which tags may come first, column n which
    may come last.

    Args:
        tags: the n tags.
        scheme: "IOB2", "IOBES" or "plain" (everything is allowed).
    """
    import numpy as np

    states = [_split(tag) for tag in tags] + [("O", "")]
    if scheme == "plain":
        return np.ones((len(states), len(states)), dtype=bool)
    return np.array([[_may_follow(left, right, scheme) for right in states] for left in states])


def decode_tags_constrained(log_probs: "np.ndarray", tags: tuple[str, ...], scheme: str) -> list[int]:
    """Return the tag ids of the best well-formed sequence (Viterbi over allowed transitions).

    Where the best tag of each word alone already forms a well-formed sequence, that is the answer.

    Args:
        log_probs: shape (w, n).
        tags, scheme: as in `allowed_transitions`.
    """
    best = log_probs.argmax(axis=1)
    if len(best) == 0 or _is_allowed(best, allowed_transitions(tags, scheme)):
        return [int(tag) for tag in best]
    return _viterbi(log_probs, allowed_transitions(tags, scheme))


def span_score(log_probs: "np.ndarray", tag_ids: Sequence[int], span: Span) -> float:
    """Return the geometric mean of the probabilities of a span's tags, in [0, 1]."""
    import numpy as np

    words = np.arange(span.start, span.end)
    return float(np.exp(log_probs[words, np.asarray(tag_ids)[words]].mean()))


def _is_allowed(ids: "np.ndarray", allowed: "np.ndarray") -> bool:
    import numpy as np

    border = len(allowed) - 1
    path = np.concatenate(([border], ids, [border]))
    return bool(allowed[path[:-1], path[1:]].all())


def _viterbi(log_probs: "np.ndarray", allowed: "np.ndarray") -> list[int]:
    import numpy as np

    penalty = np.where(allowed, 0.0, _FORBIDDEN)
    inner = penalty[:-1, :-1]
    score = log_probs[0] + penalty[-1, :-1]
    back = []
    for row in log_probs[1:]:
        total = score[:, None] + inner
        back.append(total.argmax(axis=0))
        score = total.max(axis=0) + row
    path = [int((score + penalty[:-1, -1]).argmax())]
    for pointers in reversed(back):
        path.append(int(pointers[path[-1]]))
    return path[::-1]


def _split(tag: str) -> tuple[str, str]:
    prefix, _, label = tag.partition("-")
    return prefix, label


def _may_follow(left: tuple[str, str], right: tuple[str, str], scheme: str) -> bool:
    """Say whether tag `right` may come directly after `left`."""
    if right[0] in {"I", "E"}:
        return left[0] in {"B", "I"} and left[1] == right[1]
    # An IOB2 span may stop anywhere; in IOBES an open span must reach its E.
    return scheme == "IOB2" or left[0] not in {"B", "I"}
