"""Division of sentences into folds, so that no sentence is judged by a model that was trained on its words."""

from collections.abc import Sequence
from itertools import chain
from random import Random
from typing import NamedTuple

from lookboth.data import divide_groups, group_sentences, without_duplicates
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


def make_folds(
    examples: Sequence[Example], num_folds: int, seed: int, *, whole_documents: bool = False
) -> list[Fold]:
    """Return `num_folds` folds of similar size; each sentence with words is held out once.

    No sentence is trained on in the fold that judges its words, ignoring case.

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
    groups = group_sentences(examples, whole_documents=whole_documents)
    parts = divide_groups(groups, num_folds, seed)
    # The part outside a fold is divided again, so it needs two groups.
    if len(groups) <= num_folds or len(groups) - max(map(len, parts)) < 2:
        what = "different documents" if whole_documents else "different sentences"
        advice = "Add data" + (" or name fewer --folds." if num_folds > 2 else ".")
        raise DataError(
            f"{len(groups)} {what} are too few for {num_folds} folds, which need at least {max(num_folds + 1, 4)}. "
            f"{advice}"
        )
    folds = []
    for number, held in enumerate(parts):
        others = sorted(chain.from_iterable(parts[:number] + parts[number + 1 :]))
        dev, *train = divide_groups(others, min(_DEV_PARTS, len(others)), seed)
        fold = Fold(*(tuple(sorted(chain(*part))) for part in (chain(*train), dev, held)))
        fold = fold._replace(train=tuple(without_duplicates(fold.train, fold.held, examples)))
        if not fold.train:
            raise DataError(
                f"fold {number + 1} of {num_folds} has no sentence to train on that is not also judged. Add data."
            )
        folds.append(fold)
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
