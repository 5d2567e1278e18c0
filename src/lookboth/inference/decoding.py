"""Word scores to tags: the best tag sequence that is well-formed, and what of it scores high enough."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lookboth.data import allowed_transitions, encode_spans
from lookboth.types import Prediction, Span, TextLabel

if TYPE_CHECKING:
    import numpy as np

_FORBIDDEN = -1e9


def decode_tags_constrained(
    scores: "np.ndarray", tags: tuple[str, ...], scheme: str, transitions: "np.ndarray | None" = None
) -> list[int]:
    """Return the tag ids of the best well-formed sequence (Viterbi over allowed transitions).

    Where no transitions are learned and the best tag of each word alone already forms a well-formed sequence, that
    is the answer.

    Args:
        scores: of each tag for each word, shape (w, n); what is added to all tags of a word changes nothing.
        tags, scheme: as in `allowed_transitions`.
        transitions: learned score of each tag after each other, shape (n + 1, n + 1), as `Head.transitions` gives it.
    """
    import numpy as np

    allowed = allowed_transitions(tags, scheme)
    best = scores.argmax(axis=1)
    if len(best) == 0 or (transitions is None and _is_allowed(best, allowed)):
        return [int(tag) for tag in best]
    return _viterbi(scores, np.where(allowed, 0.0 if transitions is None else transitions, _FORBIDDEN))


def span_scores(log_probs: "np.ndarray", tag_ids: Sequence[int], spans: Sequence[Span]) -> list[float]:
    """Return the geometric mean of the probabilities of each span's tags, in [0, 1].

    Args:
        log_probs: of each tag for each word, shape (w, num_tags).
        tag_ids: the chosen tag of each word, (w,).
        spans: over the words; all spans of a text in one call, which takes time linear in its length.
    """
    import numpy as np

    if not spans:
        return []
    chosen = log_probs[np.arange(len(log_probs)), np.asarray(tag_ids)]
    return [float(np.exp(chosen[span.start : span.end].mean())) for span in spans]


def tag_sets(
    log_probs: "np.ndarray", tags: Sequence[str], quantiles: Mapping[str, float | None], chosen: Sequence[int]
) -> tuple[tuple[str, ...], ...]:
    """Return for each word the tags that are not too improbable, most probable first.

    Args:
        log_probs: of each tag for each word, shape (w, num_tags).
        tags: their names.
        quantiles: one minus the least probability of each tag; None: it is in every set.
        chosen: the tag id of each word, (w,), which is in its set in any case.
    """
    import numpy as np

    most = np.array([1.0 if (bound := quantiles.get(tag)) is None else bound for tag in tags])
    inside = 1 - np.exp(log_probs.astype(float)) <= most
    inside[np.arange(len(log_probs)), np.asarray(chosen, dtype=int)] = True
    order = np.argsort(-log_probs, axis=1, kind="stable")
    return tuple(tuple(tags[i] for i in row if held[i]) for row, held in zip(order, inside, strict=True))


def choose_labels(
    log_probs: "np.ndarray", labels: Sequence[str], *, threshold: float | None = None
) -> tuple[TextLabel, ...]:
    """Return the labels of a text, best first: the best one, or all that reach the threshold.

    Args:
        log_probs: of each label, shape (num_labels,).
        labels: their names.
        threshold: for multi-label tasks, in (0, 1); None where a text has one label.

    >>> import numpy as np
    >>> choose_labels(np.log([0.25, 0.75]), ["bad", "good"])
    (TextLabel(label='good', score=0.75),)
    """
    import numpy as np

    scores = np.exp(log_probs)
    order = np.argsort(-scores, kind="stable")
    chosen = order[:1] if threshold is None else [i for i in order if scores[i] >= threshold]
    return tuple(TextLabel(labels[i], float(scores[i])) for i in chosen)


def keep_above(prediction: Prediction, score: float | Mapping[str, float | None], scheme: str) -> Prediction:
    """Return the prediction without what scores below `score`, its tags included.

    Args:
        prediction: of words or of a whole text.
        score: as of `Prediction.above`.
        scheme: of its tags.
    """
    kept = prediction.above(score)
    if kept.spans == prediction.spans:
        return kept
    spans = [Span(span.start, span.end, span.label) for span in kept.spans]
    return replace(kept, tags=encode_spans(spans, len(kept.words), scheme))


def _is_allowed(ids: "np.ndarray", allowed: "np.ndarray") -> bool:
    import numpy as np

    border = len(allowed) - 1
    path = np.concatenate(([border], ids, [border]))
    return bool(allowed[path[:-1], path[1:]].all())


def _viterbi(scores: "np.ndarray", steps: "np.ndarray") -> list[int]:
    """Return the path with the largest sum of scores (w, n) and steps (n + 1, n + 1; the last are the border's)."""
    inner = steps[:-1, :-1]
    score = scores[0] + steps[-1, :-1]
    back = []
    for row in scores[1:]:
        total = score[:, None] + inner
        back.append(total.argmax(axis=0))
        score = total.max(axis=0) + row
    path = [int((score + steps[:-1, -1]).argmax())]
    for pointers in reversed(back):
        path.append(int(pointers[path[-1]]))
    return path[::-1]
