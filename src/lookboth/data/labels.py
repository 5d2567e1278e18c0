"""Renaming and dropping labels, so that differently labeled data can be used together."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lookboth.types import Example, Span


def map_labels(examples: Sequence[Example], label_map: Mapping[str, str]) -> list[Example]:
    """Rename labels; a label mapped to "" is dropped; "*" stands for every label not named.

    >>> example = Example(("Ann", "1984"), (Span(0, 1, "writer"), Span(1, 2, "book")))
    >>> map_labels([example], {"writer": "PER", "*": ""})[0].spans
    (Span(start=0, end=1, label='PER'),)
    """

    def rename(span: Span) -> Span | None:
        label = label_map.get(span.label, label_map.get("*", span.label))
        return Span(span.start, span.end, label) if label else None

    if not label_map:
        return list(examples)
    return [replace(e, spans=tuple(filter(None, map(rename, e.spans)))) for e in examples]
