"""Data sources as named in recipes and commands: "wnut17", "wnut17:dev", a file, a folder, a hub id."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from lookboth.data.documents import within_part
from lookboth.data.problems import require_clean
from lookboth.data.readers import ReadOptions, read_split
from lookboth.data.schemes import OUTSIDE
from lookboth.data.split_finding import BUILTIN, BUILTIN_FOLDER
from lookboth.errors import ConfigError
from lookboth.memory import without_collection
from lookboth.types import Dataset, Example, Span

_SOURCE = re.compile(r"(?P<name>.+):(?P<split>[^\W\d]\w*(\[(\d+%?)?:(\d+%?)?\])?)")
_PART = re.compile(r"\[(.*):(.*)\]")
_LICENCE = re.compile(r"^- Licence: (.*?)(?: \(|\.\s)", re.MULTILINE)
_T = TypeVar("_T")


def split_name(source: str, default: str = "test") -> tuple[str, str]:
    """Split "name:split" into its two parts; a name without a split gets the default.

    >>> split_name("wnut17"), split_name("wnut17:dev"), split_name("wnut17:train[90%:]")
    (('wnut17', 'test'), ('wnut17', 'dev'), ('wnut17', 'train[90%:]'))
    """
    match = _SOURCE.fullmatch(source)
    return (match["name"], match["split"]) if match else (source, default)


def whole_split(split: str) -> str:
    """Return the name of the whole split of "split[start:stop]"."""
    return split.partition("[")[0]


def take_part(items: Sequence[_T], split: str) -> Sequence[_T]:
    """Return the items that "split[start:stop]" selects; bounds are counts or percentages.

    >>> take_part("abcdefghij", "train[80%:]"), take_part("abcdefghij", "train[:3]"), take_part("ab", "train")
    ('ij', 'abc', 'ab')
    """
    match = _PART.search(split)
    if match is None:
        return items
    start, stop = (_place(bound, len(items)) for bound in match.groups())
    return items[start:stop]


# Every example stays alive, so collecting garbage while reading only costs time.
@without_collection()
def read_source(
    source: str,
    default_split: str = "test",
    options: ReadOptions | None = None,
) -> Dataset:
    """Read "name", "name:split" or "name:split[90%:]"; data with errors are refused.

    Args:
        source: a file, folder, built-in name or hub id, with or without ":split" or a part of it.
        default_split: the split to read if the source names none.
        options: the task, and how files are read.

    Raises:
        DataError: the data do not exist, or have errors that were not repaired.
    """
    name, split = split_name(source, default_split)
    dataset = read_part(name, split, options or ReadOptions())
    require_clean(dataset)
    return dataset


def read_part(name: str, split: str, options: ReadOptions) -> Dataset:
    """Read a split or a part of it; the result has the problems of the whole split, and documents end at the part.

    Args:
        name, options: as in `read_split`.
        split: for example "dev" or "train[90%:]".

    Raises:
        DataError: if the source or the split does not exist.
    """
    dataset = read_split(name, whole_split(split), options)
    if split == whole_split(split):
        return dataset
    return replace(dataset, examples=within_part(take_part(dataset.examples, split)))


def licence_of(source: str) -> str:
    """Return the licence of a built-in source, "" for any other source.

    >>> licence_of("wnut17:train"), licence_of("my_data/")
    ('CC BY 4.0', '')
    """
    name = split_name(source)[0]
    if name not in BUILTIN:
        return ""
    found = _LICENCE.search((BUILTIN_FOLDER / name / "README.md").read_text(encoding="utf-8"))
    return found[1] if found else ""


def _place(bound: str, count: int) -> int | None:
    if not bound:
        return None
    # Rounded down in both bounds, so that [:90%] and [90%:] share no item and lose none.
    return int(bound[:-1]) * count // 100 if bound.endswith("%") else int(bound)


def _require_labels(before: Sequence[Span], after: Sequence[Span]) -> None:
    """Refuse spans that were renamed to the tag of words without label."""
    if any(span.label == OUTSIDE for span in after) and all(span.label != OUTSIDE for span in before):
        raise ConfigError(
            f"a label is renamed to {OUTSIDE!r}, which is the tag of words without label. To drop it, rename it to the "
            'empty name: data.label_map = { LABEL = "" }, or --map LABEL='
        )


def map_labels(examples: Sequence[Example], label_map: Mapping[str, str]) -> list[Example]:
    """Rename labels; a label mapped to "" is removed; "*" matches every label not listed.

    A text whose text labels are all removed is left out: it is not an example of any remaining class.

    Raises:
        ConfigError: spans are renamed to the tag of words without label.

    >>> from lookboth.types import Span
    >>> example = Example(("Ann", "1984"), (Span(0, 1, "writer"), Span(1, 2, "book")))
    >>> map_labels([example], {"writer": "PER", "*": ""})[0].spans
    (Span(start=0, end=1, label='PER'),)
    """

    def rename(label: str) -> str:
        return label_map.get(label, label_map.get("*", label))

    def relabel(example: Example) -> Example:
        spans = tuple(span._replace(label=rename(span.label)) for span in example.spans if rename(span.label))
        _require_labels(example.spans, spans)
        texts = dict.fromkeys(rename(label) for label in example.text_labels if rename(label))
        return replace(example, spans=spans, text_labels=tuple(texts))

    if not label_map:
        return list(examples)
    pairs = ((example, relabel(example)) for example in examples)
    return [after for before, after in pairs if after.text_labels or not before.text_labels]
