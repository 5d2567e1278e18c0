"""Findings as text, as JSON lines, and as predictions for annotation tools."""

import json
from collections.abc import Iterable, Iterator, Sequence
from math import exp

from lookboth.audit.auditing import Audit
from lookboth.audit.findings import Finding
from lookboth.data import json_line, text_and_offsets
from lookboth.html_pages import storable
from lookboth.types import Example, PredictedSpan, Prediction, Span

# Words of context on each side of a finding in the table.
_CONTEXT = 6


def render_table(findings: Iterable[Finding]) -> Iterator[str]:
    """Yield the findings as text, two lines each: what is probably wrong and where, then given -> suggested."""
    for rank, finding in enumerate(findings, 1):
        others = finding.elsewhere
        known = f"; elsewhere {others.as_suggested} of {others.places} as suggested" if others.places else ""
        yield f"{rank:4d}. {finding.score:.2f}  {finding.kind}  ({finding.where}{known})\n"
        given, suggested = (_in_context(finding, spans) for spans in (finding.given, finding.suggested))
        yield f"      given:     {given}\n      suggested: {suggested}\n"


def render_lines(findings: Iterable[Finding]) -> Iterator[str]:
    """Yield one line of JSON per finding, with its rank."""
    for rank, finding in enumerate(findings, 1):
        yield json_line({"rank": rank, **finding.to_dict()})


def suggested_predictions(audit: Audit) -> Iterator[Prediction]:
    """Yield each sentence with findings once, the most probable error first, with all suggestions applied.

    The spans are pre-annotations for an annotation tool. The score of an unchanged span is 1, that of a suggested one
    the logistic function of the score of its finding.
    """
    found: dict[int, list[Finding]] = {}
    for finding in audit.findings:
        found.setdefault(finding.sentence, []).append(finding)
    for sentence, findings in found.items():
        yield _prediction(audit.dataset.examples[sentence], findings)


def replace_spans(spans: Sequence[Span], findings: Iterable[Finding]) -> tuple[Span, ...]:
    """Return the spans of a sentence with the suggestions of its findings in place of the given spans."""
    kept = set(spans)
    for finding in findings:
        kept = (kept - set(finding.given)) | set(finding.suggested)
    return tuple(sorted(kept))


def _prediction(example: Example, findings: Sequence[Finding]) -> Prediction:
    text, words, offsets = text_and_offsets(example)
    scores = {span: 1 / (1 + exp(-finding.score)) for finding in findings for span in finding.suggested}
    spans = []
    for span in replace_spans(example.spans, findings):
        start, end = offsets[span.start][0], offsets[span.end - 1][1]
        spans.append(PredictedSpan(*span, text[start:end], start, end, scores.get(span, 1.0)))
    return Prediction(text, words, offsets, (), tuple(spans))


def _in_context(finding: Finding, spans: Sequence[Span]) -> str:
    """Return the words around a finding with some spans in brackets: Ada [London LOC] slept."""
    first, last = finding.words_range
    start, end = max(0, first - _CONTEXT), min(len(finding.words), last + _CONTEXT)
    shown = []
    for place in range(start, end):
        before = "".join("[" for span in spans if span.start == place)
        after = "".join(f" {span.label}]" for span in spans if span.end == place + 1)
        shown.append(before + _printable(finding.words[place]) + after)
    line = " ".join(shown)
    return f"{'… ' if start else ''}{line}{' …' if end < len(finding.words) else ''}"


def _printable(word: str) -> str:
    """Return a word without characters that control a terminal."""
    return word if word.isprintable() else json.dumps(storable(word), ensure_ascii=True)[1:-1]
