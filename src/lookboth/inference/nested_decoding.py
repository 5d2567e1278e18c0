"""Decoding of a nested head: the spans of the best well-formed sequence of each label and depth."""

from typing import TYPE_CHECKING, NamedTuple

from lookboth.data import SEQUENCE_TAGS, decode_tags
from lookboth.inference.decoding import decode_tags_constrained
from lookboth.types import Span

if TYPE_CHECKING:
    import numpy as np


class NestedSpan(NamedTuple):
    """A decoded span with the number of the tag of each of its words, (end - start,)."""

    span: Span
    tag_ids: tuple[int, ...]

    def score(self, log_probs: "np.ndarray") -> float:
        """Return the geometric mean of the probabilities of the span's tags, in [0, 1].

        Args:
            log_probs: log probability of each tag for each word, shape (w, num_tags).
        """
        import numpy as np

        words = np.arange(self.span.start, self.span.end)
        return float(np.exp(log_probs[words, list(self.tag_ids)].mean()))


def decode_nested(scores: "np.ndarray", tags: tuple[str, ...]) -> list[NestedSpan]:
    """Return the spans of all sequences, in text order, longer ones first; they may overlap.

    Args:
        scores: score of each tag for each word, shape (w, num_tags).
        tags: the output of `nested_tags`.
    """
    width = len(SEQUENCE_TAGS)
    best = scores.reshape(len(scores), len(tags) // width, width).argmax(axis=2)
    found: dict[Span, NestedSpan] = {}
    # In most sequences every tag is O.
    for sequence in best.any(axis=0).nonzero()[0]:
        first = int(sequence) * width
        for item in _decode_sequence(scores[:, first : first + width], tags, first):
            # A span that is found at two depths is one span, with the score of the lower depth.
            found.setdefault(item.span, item)
    return sorted(found.values(), key=lambda item: (item.span.start, -item.span.end, item.span.label))


def _decode_sequence(scores: "np.ndarray", tags: tuple[str, ...], first: int) -> list[NestedSpan]:
    """Return the spans of the sequence whose outputs begin at `first`, from its scores, (w, 3)."""
    label = tags[first].partition("-")[2]
    own = (SEQUENCE_TAGS[0], *(f"{tag}-{label}" for tag in SEQUENCE_TAGS[1:]))
    ids = decode_tags_constrained(scores, own, "IOB2")
    spans = decode_tags([own[i] for i in ids], "IOB2")
    return [
        NestedSpan(span, tuple(first + ids[word] for word in range(span.start, span.end))) for span in spans
    ]
