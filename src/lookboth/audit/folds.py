"""Division of sentences into folds, so that no sentence is judged by a model that was trained on its words."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from itertools import chain
from random import Random
from typing import NamedTuple

from lookboth.errors import ConfigError, DataError
from lookboth.types import Example

Group = tuple[int, ...]  # sentences that stay together
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


def make_folds(
    examples: Sequence[Example], num_folds: int, seed: int, *, whole_documents: bool = False
) -> list[Fold]:
    """Return `num_folds` folds of similar size; each sentence with words is held out once.

    Sentences with the same words, ignoring case, are always in the same part.

    Args:
        examples: the data; sentences without words are in no fold.
        num_folds: number of folds, at least 2.
        seed: seed of the division.
        whole_documents: keep the sentences of a document together, because labelers read them with each other.

    Raises:
        ConfigError: fewer than 2 folds.
        DataError: fewer different sentences than folds need.
    """
    if num_folds < 2:
        raise ConfigError(
            f"--folds {num_folds}: a model may not judge its own training data. Type 2 or more."
        )
    indices = [index for index, example in enumerate(examples) if example.words]
    groups = _group(examples, indices, whole_documents=whole_documents)
    # The part outside a fold is divided again, so it needs two groups.
    if len(groups) < num_folds + 1:
        what = "different documents" if whole_documents else "different sentences"
        raise DataError(
            f"{len(groups)} {what} are too few for {num_folds} folds. Add data or name fewer --folds."
        )
    parts = _divide(groups, num_folds, seed)
    folds = []
    for number, held in enumerate(parts):
        others = sorted(chain.from_iterable(parts[:number] + parts[number + 1 :]))
        dev, *train = _divide(others, min(_DEV_PARTS, len(others)), seed)
        folds.append(Fold(*(tuple(sorted(chain(*part))) for part in (chain(*train), dev, held))))
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


def _divide(groups: Sequence[Group], num_parts: int, seed: int) -> list[list[Group]]:
    """Return parts with similar numbers of sentences."""
    order = list(groups)
    Random(seed).shuffle(order)
    # The largest groups first, so that the smallest ones even out the sizes.
    order.sort(key=len, reverse=True)
    parts: list[list[Group]] = [[] for _ in range(num_parts)]
    for group in order:
        min(parts, key=lambda part: sum(map(len, part))).append(group)
    return parts


def _group(examples: Sequence[Example], indices: Sequence[int], *, whole_documents: bool) -> list[Group]:
    """Return groups of sentences that must stay together: duplicates, and the sentences of a document."""
    above = {index: index for index in indices}
    first: dict[Hashable, int] = {}

    def root(index: int) -> int:
        while above[index] != index:
            index = above[index]
        return index

    for index in indices:
        example = examples[index]
        keys: list[Hashable] = [tuple(word.casefold() for word in example.words)]
        # All sentences of a document have the same object.
        keys += [id(example.document)] if whole_documents and example.document else []
        for key in keys:
            above[root(index)] = root(first.setdefault(key, index))
    groups: dict[int, list[int]] = defaultdict(list)
    for index in indices:
        groups[root(index)].append(index)
    return [tuple(group) for group in groups.values()]
