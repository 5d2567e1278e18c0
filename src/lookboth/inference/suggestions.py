"""Which unlabeled texts to annotate first: those the labeler is unsure of, and of these ones unlike each other."""

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count as count_up
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lookboth.data import json_line
from lookboth.errors import ConfigError
from lookboth.inference.pipeline import chunks, label_with_probs
from lookboth.types import Example, Prediction

if TYPE_CHECKING:
    from lookboth.inference.text_labeler import HeadLabeler


class Suggestion(NamedTuple):
    """A text to annotate: what the labeler found in it, and how unsure it is, larger is less sure."""

    prediction: Prediction
    uncertainty: float


def entropy(log_probs: np.ndarray) -> float:
    """Return the entropy of a word's tags in nats, averaged over words.

    Settles and Craven 2008, "An Analysis of Active Learning Strategies for Sequence Labeling Tasks", section 3.1,
    token entropy (with 1/T).

    Args:
        log_probs: of each tag, shape (w, num_tags), w > 0.

    >>> float(round(entropy(np.log([[0.5, 0.5], [1 - 1e-12, 1e-12]])), 4))
    0.3466
    """
    terms = np.where(np.isneginf(log_probs), 0.0, np.exp(log_probs) * log_probs)
    return float(-terms.sum(axis=1).mean())


def least_confidence(log_probs: np.ndarray) -> float:
    """Return one minus the geometric mean of the probabilities of the best tags.

    Culotta and McCallum 2005, "Reducing Labeling Effort for Structured Prediction Tasks", normalized by length as in
    Shen et al. 2018, "Deep Active Learning for Named Entity Recognition" (arXiv 1707.05928), section 4 (MNLP).

    Args:
        log_probs: of each tag, shape (w, num_tags), w > 0.

    >>> round(least_confidence(np.log([[0.5, 0.5], [0.125, 0.875]])), 4)
    0.3386
    """
    return float(1 - np.exp(log_probs.max(axis=1).mean()))


def margin(log_probs: np.ndarray) -> float:
    """Return one minus the distance between the probabilities of the two best tags, averaged over words.

    Scheffer, Decomain, Wrobel 2001, "Active Hidden Markov Models for Information Extraction".

    Args:
        log_probs: of each tag, shape (w, num_tags), w > 0.

    >>> round(margin(np.log([[0.5, 0.5], [0.125, 0.875]])), 4)
    0.625
    """
    if log_probs.shape[1] < 2:
        return 0.0
    best = np.sort(np.exp(log_probs), axis=1)
    return float(1 - (best[:, -1] - best[:, -2]).mean())


MEASURES: Mapping[str, Callable[[np.ndarray], float]] = MappingProxyType(
    {"entropy": entropy, "least-confidence": least_confidence, "margin": margin}
)


def suggest(
    labeler: "HeadLabeler",
    examples: Iterable[Example],
    *,
    num_texts: int,
    measure: str = "entropy",
    pool: int = 5,
    batch_tokens: int | None = None,
) -> list[Suggestion]:
    """Return the texts to annotate first, in that order.

    The most uncertain texts, `pool` times as many as are wanted, are kept while the others stream by; of these
    `spread_out` picks ones with different words.

    Args:
        labeler: with a head; of words or of whole texts.
        examples: unlabeled; those without words are passed over, and of equal texts one is kept.
        num_texts: how many are wanted.
        measure: one of `MEASURES`.
        pool: 1 to order by uncertainty alone.
        batch_tokens: tokens computed at once; as many as suit the device when None.

    Raises:
        ConfigError: there is no such measure, or a number is below 1.
    """
    if measure not in MEASURES or num_texts < 1 or pool < 1:
        raise ConfigError(
            f"measure {measure!r}, {num_texts} texts, pool {pool}: measures are {', '.join(MEASURES)}, "
            "the numbers at least 1."
        )
    numbers = count_up()
    scored = (
        (suggestion.uncertainty, -next(numbers), suggestion)
        for suggestion in _score(labeler, examples, MEASURES[measure], batch_tokens)
    )
    kept = [suggestion for _, _, suggestion in heapq.nlargest(num_texts * pool, scored)]
    if pool == 1:
        return kept
    return [kept[i] for i in spread_out([s.prediction.words for s in kept], num_texts)]


def spread_out(texts: Sequence[Sequence[str]], num_texts: int) -> list[int]:
    """Return the indices of texts that are unlike each other, the first text first.

    Each next one is the farthest from all before it; of equally far ones the first. The greedy k-center of Sener and
    Savarese 2018, "Active Learning for Convolutional Neural Networks: A Core-Set Approach" (arXiv 1708.00489),
    algorithm 1, with the Jaccard distance of the texts' words, upper and lower case alike, in place of states.

    Args:
        texts: words of each text, the most wanted first.
        num_texts: how many are wanted.

    >>> spread_out([["in", "Rome"], ["in", "Rome", "!"], ["so", "what"]], 2)
    [0, 2]
    """
    bags = [frozenset(word.lower() for word in words) for words in texts]
    sizes = np.array([len(bag) for bag in bags])
    holders = _texts_by_word(bags)
    distance = np.ones(len(bags))
    chosen: list[int] = []
    while len(chosen) < min(num_texts, len(bags)):
        newest = int(distance.argmax())
        chosen.append(newest)
        sharing = [holders[word] for word in bags[newest]]
        if sharing:
            shared = np.bincount(np.concatenate(sharing), minlength=len(bags))
            distance = np.minimum(distance, 1 - shared / (sizes[newest] + sizes - shared))
        distance[newest] = -1
    return chosen


def _texts_by_word(bags: Sequence[frozenset[str]]) -> dict[str, np.ndarray]:
    """Return for each word the indices of the texts that hold it."""
    found: dict[str, list[int]] = defaultdict(list)
    for index, bag in enumerate(bags):
        for word in bag:
            found[word].append(index)
    return {word: np.array(indices) for word, indices in found.items()}


def render_suggestions(suggestions: Iterable[Suggestion]) -> Iterator[str]:
    """Yield a line of JSON for each: text, spans with scores (or labels), and the uncertainty."""
    for prediction, uncertainty in suggestions:
        yield json_line({**prediction.to_dict(), "uncertainty": round(uncertainty, 4)})


def _score(
    labeler: "HeadLabeler",
    examples: Iterable[Example],
    measure: Callable[[np.ndarray], float],
    batch_tokens: int | None,
) -> Iterator[Suggestion]:
    seen: set[int] = set()
    for chunk in chunks(examples):
        fresh = []
        for example in chunk:
            key = hash(example.words)
            if example.words and key not in seen:
                fresh.append(example)
            seen.add(key)
        for prediction, log_probs in label_with_probs(labeler, fresh, batch_tokens=batch_tokens):
            rows = _as_choices(log_probs) if labeler.config.multi_label else log_probs
            yield Suggestion(prediction, measure(rows))


def _as_choices(log_probs: np.ndarray) -> np.ndarray:
    """Return labels that are decided one by one, (1, n), as n choices between yes and no, (n, 2)."""
    yes = log_probs[0]
    return np.stack([yes, np.log1p(-np.exp(np.minimum(yes, -1e-12)))], axis=1)
