"""Cut of a document with character spans into lines, joined where a span crosses a line end."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise

from lookboth.data import CharSpan, ProblemLog, Sentence, sentence_over


def line_sentences(
    text: str, spans: Sequence[CharSpan], log: ProblemLog, *, several: str | None, number: int | None = None
) -> list[Sentence]:
    """Return one sentence per line of a document; lines that a span connects are one sentence.

    Args:
        text: the document.
        spans: offsets in code points of the document.
        log: receives the problems.
        several: how ranges with several labels are resolved, as in `sentence_over`.
        number: line of the document in its file; None: the document is a file of its own and counts its lines.
    """
    return [
        sentence_over(
            text[start:end],
            [span._replace(start=span.start - start, end=span.end - start) for span in inside],
            line if number is None else number,
            log,
            several=several,
        )
        for line, start, end, inside in _units(text, spans)
    ]


def _units(text: str, spans: Sequence[CharSpan]) -> Iterator[tuple[int, int, int, list[CharSpan]]]:
    """Yield (line number, start, end, spans) of each line with text; lines that a span connects are one unit."""
    ends = [match.start() for match in re.finditer("\n", text)]
    joined = {
        number
        for span in spans
        for number in range(bisect_left(ends, span.start), bisect_left(ends, span.end))
    }
    # Cut at the line ends that no span crosses.
    cuts = [-1, *(end for number, end in enumerate(ends) if number not in joined), len(text)]
    inside: list[list[CharSpan]] = [[] for _ in cuts]
    for span in spans:
        inside[bisect_left(cuts, span.start) - 1].append(span)
    for number, (before, cut) in enumerate(pairwise(cuts)):
        if text[before + 1 : cut].strip() or inside[number]:
            yield bisect_left(ends, before + 1) + 1, before + 1, cut, inside[number]
