"""Renaming and dropping labels, so that differently labeled data can be used together."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lookboth.types import Example


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
