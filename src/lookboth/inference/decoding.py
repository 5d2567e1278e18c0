"""Decoding: the best well-formed tag sequence of word scores, labels of texts, and thresholds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lookboth.data import allowed_transitions, encode_spans
from lookboth.types import Prediction, Span, TextLabel

if TYPE_CHECKING:
    import numpy as np

FORBIDDEN = -1e9


def decode_tags_constrained(
    scores: "np.ndarray", tags: tuple[str, ...], scheme: str, transitions: "np.ndarray | None" = None
) -> list[int]:
    """Return the tag ids of the best well-formed sequence (Viterbi over allowed transitions).

    Without learned transitions the best tag of each word alone is returned if these tags are well-formed.

    Args:
        scores: score of each tag for each word, shape (w, n). A constant added to all tags of a word has no effect.
        tags, scheme: as in `allowed_transitions`.
        transitions: learned transition scores, shape (n + 1, n + 1), as in `Likelihood.transitions`.
    """

    allowed = allowed_transitions(tags, scheme)
    # For most texts the best tag of each word is already well-formed, and Viterbi is not needed.
    best = scores.argmax(axis=1)
    if len(best) == 0 or (transitions is None and _is_allowed(best, allowed)):
        return [int(tag) for tag in best]
    return _viterbi(scores, transition_scores(tags, scheme, transitions))


def transition_scores(
    tags: tuple[str, ...], scheme: str, transitions: "np.ndarray | None" = None
) -> "np.ndarray":
    """Return the score of each transition in fp64, (n + 1, n + 1); those the scheme forbids are very low.

    Args:
        tags, scheme, transitions: as in `decode_tags_constrained`.
    """
    import numpy as np

    allowed = allowed_transitions(tags, scheme)
    # fp64, because a path sums the scores of a whole text.
    return np.where(allowed, 0.0 if transitions is None else transitions.astype(float), FORBIDDEN)


def span_scores(log_probs: "np.ndarray", tag_ids: Sequence[int], spans: Sequence[Span]) -> list[float]:
    """Return the geometric mean of the probabilities of each span's tags, in [0, 1].

    Args:
        log_probs: log probability of each tag for each word, shape (w, num_tags).
        tag_ids: the predicted tag of each word, shape (w,).
        spans: all spans of a text; one call takes time linear in the length of the text.
    """
    import numpy as np

    if not spans:
        return []
    chosen = log_probs[np.arange(len(log_probs)), np.asarray(tag_ids)]
    return [float(np.exp(chosen[span.start : span.end].mean())) for span in spans]


def tag_sets(
    log_probs: "np.ndarray", tags: Sequence[str], quantiles: Mapping[str, float | None], chosen: Sequence[int]
) -> tuple[tuple[str, ...], ...]:
    """Return the prediction set of each word: its sufficiently probable tags, most probable first.

    Args:
        log_probs: log probability of each tag for each word, shape (w, num_tags).
        tags: names of the tags.
        quantiles: one minus the minimum probability of each tag; None: the tag is in every set.
        chosen: the predicted tag id of each word, shape (w,), which is always in its set.
    """
    import numpy as np

    most = np.array([1.0 if (bound := quantiles.get(tag)) is None else bound for tag in tags])
    inside = 1 - np.exp(log_probs.astype(float)) <= most
    # Without this, a set could lack the tag that the prediction shows.
    inside[np.arange(len(log_probs)), np.asarray(chosen, dtype=int)] = True
    order = np.argsort(-log_probs, axis=1, kind="stable")
    return tuple(tuple(tags[i] for i in row if held[i]) for row, held in zip(order, inside, strict=True))


def choose_labels(
    log_probs: "np.ndarray", labels: Sequence[str], *, threshold: float | None = None
) -> tuple[TextLabel, ...]:
    """Return the labels of a text, best first: the best label, or all labels that reach the threshold.

    Args:
        log_probs: log probability of each label, shape (num_labels,).
        labels: names of the labels.
        threshold: minimum probability in multi-label tasks, in (0, 1); None if a text has one label.

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
    """Return the prediction without spans and labels that score below `score`, and with matching tags.

    Args:
        prediction: a prediction for words or for a whole text.
        score: minimum score, as in `Prediction.above`.
        scheme: tag scheme of the prediction.
    """
    kept = prediction.above(score)
    # Tags are encoded again only if spans were removed, so that others keep the tags of the labeler. Predictions with
    # overlapping spans have no tags.
    if kept.spans == prediction.spans or not prediction.tags:
        return kept
    spans = [Span(span.start, span.end, span.label) for span in kept.spans]
    return replace(kept, tags=encode_spans(spans, len(kept.words), scheme))


def _is_allowed(ids: "np.ndarray", allowed: "np.ndarray") -> bool:
    import numpy as np

    border = len(allowed) - 1
    # The border before and after the text counts as a tag, because a scheme restricts the first and last tag.
    path = np.concatenate(([border], ids, [border]))
    return bool(allowed[path[:-1], path[1:]].all())


def _viterbi(scores: "np.ndarray", steps: "np.ndarray") -> list[int]:
    """Return the path with the largest sum of scores (w, n) and steps (n + 1, n + 1), index n being the border."""
    inner = steps[:-1, :-1]
    score = scores[0] + steps[-1, :-1]
    back = []
    # Row i of `total`: previous tag, column j: current tag.
    for row in scores[1:]:
        total = score[:, None] + inner
        back.append(total.argmax(axis=0))
        score = total.max(axis=0) + row
    path = [int((score + steps[:-1, -1]).argmax())]
    for pointers in reversed(back):
        path.append(int(pointers[path[-1]]))
    return path[::-1]
