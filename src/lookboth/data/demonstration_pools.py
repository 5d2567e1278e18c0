"""Demonstrations that are named in prediction: labeled examples, with the labels of their data."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from lookboth.data.label_texts import describe_labels
from lookboth.data.readers import ReadOptions
from lookboth.data.sources import read_source
from lookboth.errors import DataError
from lookboth.types import Example

# A source of labeled data, or labeled examples.
DemonstrationPool: TypeAlias = str | Path | Sequence[Example]


def read_demonstrations(pool: DemonstrationPool, options: ReadOptions) -> list[Example]:
    """Return labeled examples; those of a source have its labels, with their descriptions, as label set.

    Args:
        pool: a file, folder, built-in name or hub id, of which the train split is read unless "name:split" names
            another; or examples.
        options: how files are read.

    Raises:
        DataError: the source cannot be read, it has no labeled spans, or an example is not valid.
    """
    if not isinstance(pool, str | Path):
        valid = [_in_order(example, number) for number, example in enumerate(pool)]
        return _require_spans(valid, "demonstrations")
    source = str(pool)
    examples = _require_spans(read_source(source, "train", options).examples, source)
    label_set = describe_labels(source, sorted({label for example in examples for label in example.labels()}))
    return [replace(example, label_set=label_set) for example in examples]


def _require_spans(examples: Sequence[Example], source: str) -> list[Example]:
    if not any(example.spans for example in examples):
        raise DataError(
            f"{source}: {len(examples)} sentences without a labeled span, so they show no label. Name labeled data."
        )
    return list(examples)


def _in_order(example: Any, number: int) -> Example:
    """Return an example of a caller with sorted spans, or refuse one whose spans cannot be written into an answer."""
    if not isinstance(example, Example):
        raise DataError(
            f"demonstrations[{number}] is a {type(example).__name__}. Type: Example(words, (Span(start, end, label),))"
        )
    end, spans = 0, tuple(sorted(example.spans))
    for span in spans:
        if not end <= span.start < span.end <= len(example.words):
            raise DataError(
                f"demonstrations[{number}]: the span {tuple(span)} overlaps another one, is empty, or is outside the "
                f"{len(example.words)} words. Spans have words and no overlap: Span(start, end, label), end exclusive."
            )
        end = span.end
    return replace(example, spans=spans)
