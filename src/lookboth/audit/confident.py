"""Confident learning on words: thresholds of each tag, and the tagging that they suggest.

Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels" (JAIR 70), section 3.1;
applied to words as in Wang and Mueller 2022, "Detecting Label Errors in Token Classification Data" (arXiv 2210.03920).
"""

from collections.abc import Sequence

import numpy as np

from lookboth.audit.out_of_fold import TagProbs
from lookboth.data import decode_tags, encode_spans
from lookboth.inference import decode_tags_constrained
from lookboth.types import Example, Span

# Words that pull the threshold of a rare tag towards the mean of all tags.
_PRIOR_WORDS = 5


def tag_ids(spans: Sequence[Span], num_words: int, probs: TagProbs) -> np.ndarray:
    """Return the tag id of each word, (w,), for the spans of a sentence."""
    places = {tag: number for number, tag in enumerate(probs.tags)}
    return np.array([places[tag] for tag in encode_spans(spans, num_words, probs.scheme)], dtype=int)


def tag_thresholds(examples: Sequence[Example], probs: TagProbs) -> np.ndarray:
    """Return the threshold of each tag, (num_tags,): its mean probability over the words annotated with it.

    A word is confidently of a tag if it reaches the tag's threshold, so tags that the model is less sure of need less.
    The threshold of a rare tag is drawn towards the mean over all tags.
    """
    total, count = np.zeros(len(probs.tags)), np.zeros(len(probs.tags))
    for example, rows in zip(examples, probs.log_probs, strict=True):
        ids = tag_ids(example.spans, len(example.words), probs)
        np.add.at(total, ids, np.exp(rows[np.arange(len(ids)), ids]))
        np.add.at(count, ids, 1)
    seen = count > 0
    usual = float((total[seen] / count[seen]).mean()) if seen.any() else 1.0
    thresholds: np.ndarray = (total + _PRIOR_WORDS * usual) / (count + _PRIOR_WORDS)
    return thresholds


def suggest_spans(relative: np.ndarray, probs: TagProbs) -> tuple[Span, ...]:
    """Return the spans of the well-formed tagging with the largest probabilities relative to the thresholds.

    Args:
        relative: log probability of each tag minus the log of its threshold, for each word, (w, num_tags).
        probs: the tags and their scheme.
    """
    ids = decode_tags_constrained(relative, probs.tags, probs.scheme)
    return decode_tags([probs.tags[i] for i in ids], probs.scheme)
