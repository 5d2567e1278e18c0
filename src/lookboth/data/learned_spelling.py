"""The spelling of tags in a file, learned from its own tags."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from lookboth.data.schemes import encode_spans
from lookboth.errors import DataError
from lookboth.types import Dataset

# Spelling of the tag of each word: (tag of the scheme, label) to what the file writes.
Spell = Callable[[str], Any]


def learn_spelling(dataset: Dataset, written: Sequence[Sequence[Any]]) -> Spell:
    """Return how the file spells a tag of its scheme, learned from its own tags.

    Args:
        dataset: the data with its scheme.
        written: the tag of each word as written in the file, of the sentences that have tags.
    """
    seen: dict[str, Counter[Any]] = defaultdict(Counter)
    for example, tags in zip(dataset.examples, written, strict=True):
        for tag, own in zip(
            encode_spans(example.spans, len(example.words), dataset.scheme), tags, strict=False
        ):
            seen[tag][own] += 1
    usual = {tag: counts.most_common(1)[0][0] for tag, counts in seen.items()}

    def spell(tag: str) -> Any:
        if tag in usual:
            return usual[tag]
        prefix, label = _parts(tag)
        # A tag that the file lacks is spelled like the tag of another label at the same position in a span.
        for other, own in usual.items():
            start, name = _parts(other)
            if start == prefix and name and isinstance(own, str) and name in own:
                return own.replace(name, label)
        if all(own == other for other, own in usual.items()):
            return tag
        raise DataError(f"{dataset.name}: it is not known how the file spells the tag {tag}")

    return spell


def _parts(tag: str) -> tuple[str, str]:
    match = re.fullmatch(r"([A-Z])-(.+)", tag)
    return (match[1], match[2]) if match else ("", tag if tag != "O" else "")
