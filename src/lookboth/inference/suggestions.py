"""Active learning: selects uncertain and diverse unlabeled texts to annotate first."""

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count as count_up
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lookboth.data import SEQUENCE_TAGS, json_line
from lookboth.errors import ConfigError
from lookboth.inference.pipeline import chunks, label_with_probs
from lookboth.types import Example, Prediction

if TYPE_CHECKING:
    from lookboth.inference.labeling_config import LabelingConfig
    from lookboth.inference.text_labeler import HeadLabeler


class Suggestion(NamedTuple):
    """A text to annotate, with the labeler's prediction and its uncertainty (higher: less certain)."""

    prediction: Prediction
    uncertainty: float


def entropy(log_probs: np.ndarray) -> float:
    """Return the entropy of a word's tags in nats, averaged over words.

    Settles and Craven 2008, "An Analysis of Active Learning Strategies for Sequence Labeling Tasks", section 3.1,
    token entropy (with 1/T).

    Args:
        log_probs: log probability of each tag, shape (w, num_tags), w > 0.

    >>> float(round(entropy(np.log([[0.5, 0.5], [1 - 1e-12, 1e-12]])), 4))
    0.3466
    """
    # The limit of p log p at p = 0 is 0, but numpy computes 0 * -inf = NaN.
    terms = np.where(np.isneginf(log_probs), 0.0, np.exp(log_probs) * log_probs)
    return float(-terms.sum(axis=1).mean())


def least_confidence(log_probs: np.ndarray) -> float:
    """Return one minus the geometric mean of the probabilities of the best tags.

    Culotta and McCallum 2005, "Reducing Labeling Effort for Structured Prediction Tasks", normalized by length as in
    Shen et al. 2018, "Deep Active Learning for Named Entity Recognition" (arXiv 1707.05928), section 4 (MNLP).

    Args:
        log_probs: log probability of each tag, shape (w, num_tags), w > 0.

    >>> round(least_confidence(np.log([[0.5, 0.5], [0.125, 0.875]])), 4)
    0.3386
    """
    return float(1 - np.exp(log_probs.max(axis=1).mean()))


def margin(log_probs: np.ndarray) -> float:
    """Return one minus the difference between the probabilities of the two best tags, averaged over words.

    Scheffer, Decomain, Wrobel 2001, "Active Hidden Markov Models for Information Extraction".

    Args:
        log_probs: log probability of each tag, shape (w, num_tags), w > 0.

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
    """Select the texts to annotate first, in this order.

    The `pool` x `num_texts` most uncertain texts are kept in memory while the examples are read. `spread_out` then
    picks diverse texts from them.

    Args:
        labeler: a labeler with a head, of words or of whole texts.
        examples: unlabeled examples; those without words and repetitions of a text are skipped.
        num_texts: number of texts to return.
        measure: one of `MEASURES`.
        pool: size of the pool, as a multiple of `num_texts`; 1 sorts by uncertainty only.
        batch_tokens: tokens per batch; None: a default for the device.

    Raises:
        ConfigError: the measure does not exist, or a number is below 1.
    """
    if measure not in MEASURES or num_texts < 1 or pool < 1:
        raise ConfigError(
            f"measure {measure!r}, {num_texts} texts, pool {pool}: allowed are the measures {', '.join(MEASURES)}, "
            "and numbers from 1."
        )
    # The running number breaks ties in the order of the input, and suggestions are never compared.
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
    """Return the indices of diverse texts, beginning with the first text.

    Each next text is the one farthest from all selected texts; the first one wins ties. This is the greedy k-center
    algorithm of Sener and Savarese 2018, "Active Learning for Convolutional Neural Networks: A Core-Set Approach"
    (arXiv 1708.00489), algorithm 1, with the Jaccard distance of lowercased words instead of the distance of states.

    Args:
        texts: words of each text, the most uncertain text first.
        num_texts: number of texts to select.

    >>> spread_out([["in", "Rome"], ["in", "Rome", "!"], ["so", "what"]], 2)
    [0, 2]
    """
    bags = [frozenset(word.lower() for word in words) for words in texts]
    sizes = np.array([len(bag) for bag in bags])
    holders = _texts_by_word(bags)
    # Distance of each text to the nearest selected text; each step updates it with the newest text only.
    distance = np.ones(len(bags))
    chosen: list[int] = []
    while len(chosen) < min(num_texts, len(bags)):
        newest = int(distance.argmax())
        chosen.append(newest)
        sharing = [holders[word] for word in bags[newest]]
        if sharing:
            shared = np.bincount(np.concatenate(sharing), minlength=len(bags))
            distance = np.minimum(distance, 1 - shared / (sizes[newest] + sizes - shared))
        # A selected text is never selected again.
        distance[newest] = -1
    return chosen


def _texts_by_word(bags: Sequence[frozenset[str]]) -> dict[str, np.ndarray]:
    """Return the indices of the texts that contain each word."""
    found: dict[str, list[int]] = defaultdict(list)
    for index, bag in enumerate(bags):
        for word in bag:
            found[word].append(index)
    return {word: np.array(indices) for word, indices in found.items()}


def render_suggestions(suggestions: Iterable[Suggestion]) -> Iterator[str]:
    """Yield one line of JSON per suggestion: text, spans with scores (or labels), and the uncertainty."""
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
            # Hashes instead of words keep the memory small for large inputs.
            key = hash(example.words)
            if example.words and key not in seen:
                fresh.append(example)
            seen.add(key)
        for prediction, log_probs in label_with_probs(labeler, fresh, batch_tokens=batch_tokens):
            yield Suggestion(prediction, measure(_decisions(log_probs, labeler.config)))


def _decisions(log_probs: np.ndarray, config: "LabelingConfig") -> np.ndarray:
    """Return the log probabilities of the values of each decision, one decision per row."""
    if config.multi_label:
        return _as_choices(log_probs)
    # The sequences of a nested head decide independently.
    return log_probs.reshape(-1, len(SEQUENCE_TAGS)) if config.is_nested else log_probs


def _as_choices(log_probs: np.ndarray) -> np.ndarray:
    """Return the log probabilities of independent labels, (1, n), as n binary decisions, (n, 2)."""
    yes = log_probs[0]
    # The minimum keeps log(1 - p) finite at p = 1.
    return np.stack([yes, np.log1p(-np.exp(np.minimum(yes, -1e-12)))], axis=1)
