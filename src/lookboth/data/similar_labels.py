"""Labels whose names differ only in letter case, blanks, "-" or "_": one of them is probably a slip."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping

DIFFERENCE = "differ only in letter case, blanks, '-' or '_'"
# Between letters and digits only, so that "A-" and "A" stay different.
_JOINTS = re.compile(r"(?<=\w)[\s_-]+(?=\w)")


def similar_labels(labels: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the groups of labels whose names differ only in letter case, blanks, "-" or "_", sorted.

    >>> similar_labels(["LOC", "creative work", "loc", "Creative_Work", "PER"])
    [('Creative_Work', 'creative work'), ('LOC', 'loc')]
    """
    groups: dict[str, set[str]] = defaultdict(set)
    for label in labels:
        groups[_key(label)].add(label)
    return sorted(tuple(sorted(group)) for group in groups.values() if len(group) > 1)


def similar_to(label: str, others: Iterable[str]) -> str | None:
    """Return the first of other labels whose name differs from this one only in case, blanks, "-" or "_".

    >>> similar_to("loc", ["PER", "LOC", "loc"])
    'LOC'
    """
    return next((other for other in others if other != label and _key(other) == _key(label)), None)


def similarity_messages(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return a warning for each group of similar labels, with the label in it that occurs least.

    Args:
        counts: number of occurrences of each label.
    """
    found = []
    for group in similar_labels(counts):
        ranked = sorted(group, key=lambda label: (-counts[label], label))
        named = " and ".join(f"{label!r} ({counts[label]:,})" for label in ranked)
        advice = f"data.label_map = {{ {_quoted(ranked[-1])} = {_quoted(ranked[0])} }}"
        found.append(
            (
                ranked[-1],
                f"labels {named} {DIFFERENCE}; they are separate labels. To join them, rename one in the recipe: "
                f"{advice}",
            )
        )
    return found


def _quoted(label: str) -> str:
    return f'"{label}"' if '"' not in label else f"'{label}'"


def _key(label: str) -> str:
    text = unicodedata.normalize("NFKC", label).casefold()
    # Marks without width, such as a soft hyphen or a zero-width space.
    shown = "".join(char for char in text if unicodedata.category(char) != "Cf")
    return _JOINTS.sub("", shown.strip())
