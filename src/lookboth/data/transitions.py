"""Allowed transitions between tags, for constrained decoding."""

from functools import lru_cache
from typing import TYPE_CHECKING

from lookboth.data.schemes import parse_tag

if TYPE_CHECKING:
    import numpy as np


@lru_cache(maxsize=64)
def allowed_transitions(tags: tuple[str, ...], scheme: str) -> "np.ndarray":
    """Return the matrix of allowed transitions between tags, shape (n + 1, n + 1), True = allowed.

    Row and column n are the border of the text: row n has the tags that may come first, column n those that may
    come last.

    Args:
        tags: the n tags.
        scheme: "IOB2", "IOBES" or "plain" (everything is allowed).

    >>> allowed_transitions(("O", "B-A", "I-A"), "IOB2")[:, 2].tolist()  # before I-A; last: at the beginning
    [False, True, True, False]
    """
    import numpy as np

    states = [parse_tag(tag) for tag in tags] + [("O", "")]
    if scheme == "plain":
        return np.ones((len(states), len(states)), dtype=bool)
    return np.array([[_may_follow(left, right, scheme) for right in states] for left in states])


def _may_follow(left: tuple[str, str], right: tuple[str, str], scheme: str) -> bool:
    """Return whether tag `right` may directly follow `left`."""
    if right[0] in {"I", "E"}:
        return left[0] in {"B", "I"} and left[1] == right[1]
    # An IOB2 span may end anywhere; an open IOBES span must end with its E.
    return scheme == "IOB2" or left[0] not in {"B", "I"}
