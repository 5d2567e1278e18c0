"""Division of sentences into folds, so that no sentence is judged by a model that was trained on its words."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from random import Random
from typing import NamedTuple

from lookboth.errors import ConfigError, DataError
from lookboth.types import Example

# One part in ten of the sentences outside a fold chooses the best epoch.
_DEV_PARTS = 10


class Fold(NamedTuple):
    """The sentences of one training, as indices.

    Args:
        train: sentences to train on.
        dev: sentences that choose the best epoch.
        held: sentences that the model judges afterwards.
    """

    train: tuple[int, ...]
    dev: tuple[int, ...]
    held: tuple[int, ...]


def make_folds(examples: Sequence[Example], num_folds: int, seed: int) -> list[Fold]:
    """Return `num_folds` folds of similar size; each sentence with words is held out once.

    Sentences with the same words, ignoring case, are always in the same part.

    Args:
        examples: the data; sentences without words are in no fold.
        num_folds: number of folds, at least 2.
        seed: seed of the division.

    Raises:
        ConfigError: fewer than 2 folds.
        DataError: fewer different sentences than folds need.
    """
    if num_folds < 2:
        raise ConfigError(
            f"--folds {num_folds}: a model may not judge its own training data. Type 2 or more."
        )
    indices = [index for index, example in enumerate(examples) if example.words]
    parts = _divide(examples, indices, num_folds, seed)
    # The training part of a fold is divided again, so it needs two different sentences.
    if min(map(len, parts)) == 0 or len({_key(examples[i]) for i in indices}) < num_folds + 1:
        raise DataError(
            f"{len(indices)} sentences, duplicates included, are too few for {num_folds} folds. Add data or name "
            "fewer --folds."
        )
    folds = []
    for held in parts:
        others = sorted(set(indices) - set(held))
        dev, *train = _divide(examples, others, _DEV_PARTS, seed)
        if not any(train):
            dev, *train = _divide(examples, others, 2, seed)
        folds.append(Fold(tuple(sorted(chain.from_iterable(train))), tuple(dev), tuple(held)))
    return folds


def take_share(indices: Sequence[int], denominator: int, seed: int) -> tuple[int, ...]:
    """Return one part in `denominator` of some sentences; larger parts with the same seed contain smaller ones.

    Args:
        indices: the sentences to choose from.
        denominator: 1 for all, 2 for a half, ...
        seed: seed of the order.
    """
    order = list(indices)
    Random(seed).shuffle(order)
    return tuple(sorted(order[: max(1, len(order) // denominator)]))


def _divide(
    examples: Sequence[Example], indices: Sequence[int], num_parts: int, seed: int
) -> list[list[int]]:
    """Return parts with similar numbers of sentences; equal sentences are in one part."""
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index in indices:
        groups[_key(examples[index])].append(index)
    order = list(groups.values())
    Random(seed).shuffle(order)
    # The largest groups first, so that the smallest ones even out the sizes.
    order.sort(key=len, reverse=True)
    parts: list[list[int]] = [[] for _ in range(num_parts)]
    for group in order:
        min(parts, key=len).extend(group)
    return [sorted(part) for part in parts]


def _key(example: Example) -> tuple[str, ...]:
    return tuple(word.casefold() for word in example.words)
