"""Synthetic probabilities: a judge that knows the true labels."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lookboth.audit.out_of_fold import TagProbs
from lookboth.data.schemes import encode_spans, tags_for_labels
from lookboth.types import Example, Span

SENTENCES = (
    ("Ann Lee lives in New York .", (Span(0, 2, "PER"), Span(4, 6, "LOC"))),
    ("Bob lives in Rome now .", (Span(0, 1, "PER"), Span(3, 4, "LOC"))),
    ("The bank in Oslo paid Eve Ray .", (Span(3, 4, "LOC"), Span(5, 7, "PER"))),
    ("Nothing happens in Rome or in Bonn .", (Span(3, 4, "LOC"), Span(6, 7, "LOC"))),
    ("Ann saw Bob and Eve there .", (Span(0, 1, "PER"), Span(2, 3, "PER"), Span(4, 5, "PER"))),
    ("Nobody came .", ()),
)


def true_examples(times: int = 4) -> list[Example]:
    """Return correctly labeled sentences; each repetition has a word of its own."""
    return [
        Example((*text.split(), str(number)), spans, source=f"data.conll:{number}")
        for number, (text, spans) in enumerate(SENTENCES * times)
    ]


def oracle(true: Sequence[Example], *, sure: float = 0.9, scheme: str = "IOB2") -> TagProbs:
    """Return probabilities that give each true tag `sure` and share the rest among the other tags."""
    tags = tags_for_labels(sorted({label for e in true for label in e.labels()}), scheme)
    rows = []
    for example in true:
        ids = [tags.index(tag) for tag in encode_spans(example.spans, len(example.words), scheme)]
        probs = np.full((len(ids), len(tags)), (1 - sure) / (len(tags) - 1))
        probs[np.arange(len(ids)), ids] = sure
        rows.append(np.log(probs))
    return TagProbs(tags, scheme, rows)


def with_spans(examples: Sequence[Example], number: int, *spans: Span) -> list[Example]:
    """Return the examples with other spans in one of them."""
    return [replace(e, spans=spans) if i == number else e for i, e in enumerate(examples)]
