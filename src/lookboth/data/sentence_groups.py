"""Division of sentences into parts that share no sentence, for cross-validation and audits."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from random import Random

from lookboth.types import Example

Group = tuple[int, ...]  # sentences that stay together


def group_sentences(examples: Sequence[Example], *, whole_documents: bool = False) -> list[Group]:
    """Return the indices of sentences that must stay together: duplicates, and the sentences of a document.

    Args:
        examples: the data; sentences without words are in no group. Case is ignored.
        whole_documents: keep the sentences of a document together, because labelers read them with each other.
    """
    indices = [index for index, example in enumerate(examples) if example.words]
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


def divide_groups(groups: Sequence[Group], num_parts: int, seed: int) -> list[list[Group]]:
    """Return `num_parts` random parts with similar numbers of sentences.

    Args:
        groups: groups of sentences; each is in one part.
        num_parts: number of parts.
        seed: seed of the division.
    """
    order = list(groups)
    Random(seed).shuffle(order)
    # The largest groups first, so that the smallest ones even out the sizes.
    order.sort(key=len, reverse=True)
    parts: list[list[Group]] = [[] for _ in range(num_parts)]
    for group in order:
        min(parts, key=lambda part: sum(map(len, part))).append(group)
    return parts
