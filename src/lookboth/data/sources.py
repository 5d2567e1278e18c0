"""Data by the names recipes and commands use: "wnut17", "wnut17:dev", a file, a folder, a hub id."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from lookboth.data.problems import require_clean
from lookboth.data.readers import BUILTIN, BUILTIN_FOLDER, ReadOptions, read_split
from lookboth.memory import without_collection
from lookboth.types import Dataset, Example

_SOURCE = re.compile(r"(?P<name>.+):(?P<split>[^\W\d]\w*(\[(\d+%?)?:(\d+%?)?\])?)")
_PART = re.compile(r"\[(.*):(.*)\]")
_LICENCE = re.compile(r"^- Licence: (.*?)(?: \(|\.\s)", re.MULTILINE)
_T = TypeVar("_T")


def split_name(source: str, default: str = "test") -> tuple[str, str]:
    """Cut "name:split" in two; a name without a split gets the default one.

    >>> split_name("wnut17"), split_name("wnut17:dev"), split_name("wnut17:train[90%:]")
    (('wnut17', 'test'), ('wnut17', 'dev'), ('wnut17', 'train[90%:]'))
    """
    match = _SOURCE.fullmatch(source)
    return (match["name"], match["split"]) if match else (source, default)


def whole_split(split: str) -> str:
    """Return the split of which "split[start:stop]" is a part."""
    return split.partition("[")[0]


def take_part(items: Sequence[_T], split: str) -> Sequence[_T]:
    """Return the part of a split's items that "split[start:stop]" names, counted or in percent.

    >>> take_part("abcdefghij", "train[80%:]"), take_part("abcdefghij", "train[:3]"), take_part("ab", "train")
    ('ij', 'abc', 'ab')
    """
    match = _PART.search(split)
    if match is None:
        return items
    start, stop = (_place(bound, len(items)) for bound in match.groups())
    return items[start:stop]


@without_collection()
def read_source(
    source: str,
    default_split: str = "test",
    options: ReadOptions | None = None,
) -> Dataset:
    """Read "name", "name:split" or "name:split[90%:]" and refuse data with errors.

    Args:
        source: a file, folder, built-in name or hub id, with or without ":split" or a part of it.
        default_split: the split to read where none is named.
        options: the task, and how files are read.

    Raises:
        DataError: there is no such data, or it has errors that were not repaired.
    """
    name, split = split_name(source, default_split)
    dataset = read_part(name, split, options or ReadOptions())
    require_clean(dataset)
    return dataset


def read_part(name: str, split: str, options: ReadOptions) -> Dataset:
    """Read a split, or the examples of the part that "split[start:stop]" names, with the problems of the split.

    Args:
        name, options: as in `read_split`.
        split: "dev", "train[90%:]".

    Raises:
        DataError: if there is no such source or split.
    """
    dataset = read_split(name, whole_split(split), options)
    return replace(dataset, examples=take_part(dataset.examples, split))


def licence_of(source: str) -> str:
    """Return the licence of a built-in source, "" of any other.

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
    return int(bound[:-1]) * count // 100 if bound.endswith("%") else int(bound)


def map_labels(examples: Sequence[Example], label_map: Mapping[str, str]) -> list[Example]:
    """Rename labels; a label mapped to "" is dropped; "*" stands for every label not named.

    A text that loses the last of its own labels is left out: it is no example of any class that remains.

    >>> from lookboth.types import Span
    >>> example = Example(("Ann", "1984"), (Span(0, 1, "writer"), Span(1, 2, "book")))
    >>> map_labels([example], {"writer": "PER", "*": ""})[0].spans
    (Span(start=0, end=1, label='PER'),)
    """

    def rename(label: str) -> str:
        return label_map.get(label, label_map.get("*", label))

    def relabel(example: Example) -> Example:
        spans = tuple(span._replace(label=rename(span.label)) for span in example.spans if rename(span.label))
        texts = dict.fromkeys(rename(label) for label in example.text_labels if rename(label))
        return replace(example, spans=spans, text_labels=tuple(texts))

    if not label_map:
        return list(examples)
    pairs = ((example, relabel(example)) for example in examples)
    return [after for before, after in pairs if after.text_labels or not before.text_labels]
