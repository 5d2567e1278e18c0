"""Division of sentences into parts that share no sentence, for cross-validation and audits."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from random import Random

from lookboth.types import Example

Group = tuple[int, ...]  # sentences that stay together


def group_sentences(examples: Sequence[Example], *, whole_documents: bool = False) -> list[Group]:
    """Return the indices of sentences that must stay together: duplicates, or the sentences of a document.

    A sentence that occurs in several documents does not join them: short ones occur in most. See `without_duplicates`.

    Args:
        examples: the data; sentences without words are in no group. Case is ignored.
        whole_documents: keep the sentences of a document together, because labelers read them with each other.
            Documents with the same words are in one group.
    """
    numbers: dict[Hashable, int] = {}
    # By identity, because all sentences of a document have the same object, and its words are many.
    documents: dict[int, int] = {}
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        if not example.words:
            continue
        key: Hashable = _folded(example)
        if whole_documents and example.document:
            place = id(example.document)
            if place not in documents:
                documents[place] = numbers.setdefault(example.document, len(numbers))
            key = documents[place]
        groups[key].append(index)
    return [tuple(group) for group in groups.values()]


def without_duplicates(indices: Iterable[int], held: Iterable[int], examples: Sequence[Example]) -> list[int]:
    """Return the indices of sentences that do not have the words of a held-out sentence, ignoring case.

    Args:
        indices: the sentences to choose from.
        held: the held-out sentences.
        examples: the data.
    """
    known = {_folded(examples[index]) for index in held}
    return [index for index in indices if _folded(examples[index]) not in known]


def _folded(example: Example) -> tuple[str, ...]:
    return tuple(word.casefold() for word in example.words)


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
