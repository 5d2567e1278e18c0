"""HTML page on which a person decides about the findings of an audit."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lookboth.audit import Audit, Finding, decision_header, replace_spans
from lookboth.files import write_whole
from lookboth.html_pages import label_hue, load_template
from lookboth.reporting.errors_page import Piece, mark_words


class _Article(NamedTuple):
    """One finding: its rank, kind, source, score, other places, itself as JSON, and both sides in pieces."""

    rank: int
    kind: str
    source: str
    score: str
    elsewhere: str
    finding: str
    given: Sequence[Piece]
    suggested: Sequence[Piece]


def write_review_page(result: Audit, path: Path) -> None:
    """Write a self-contained page with all findings, which downloads the decisions for `audit.apply_decisions`.

    Raises:
        OSError: the file cannot be written.
    """
    write_whole(path, [render_review_page(result)])


def render_review_page(result: Audit) -> str:
    """Return the page as HTML; values from the data are escaped."""
    kinds = Counter(str(finding.kind) for finding in result.findings)
    suggested = {span.label for finding in result.findings for span in finding.suggested}
    labels = sorted({*result.dataset.labels(), *suggested})
    hues = {label: label_hue(number) for number, label in enumerate(labels)}
    return load_template("lookboth.reporting", "review.html").render(
        title=f"Audit of {result.dataset.name}",
        summary=result.describe(),
        header=json.dumps(decision_header(result)),
        kinds=dict(kinds),
        articles=[_article(rank, finding, result, hues) for rank, finding in enumerate(result.findings, 1)],
    )


def _article(rank: int, finding: Finding, result: Audit, hues: Mapping[str, int]) -> _Article:
    words, spans = finding.words, result.dataset.examples[finding.sentence].spans
    new = replace_spans(spans, [finding])
    changed = set(finding.given) ^ set(finding.suggested)
    others = finding.elsewhere
    decision = {key: value for key, value in finding.to_dict().items() if key not in ("words", "elsewhere")}
    return _Article(
        rank,
        str(finding.kind),
        finding.where,
        f"{finding.score:.2f}",
        f"at {others.as_suggested} of {others.places} other places as suggested" if others.places else "",
        json.dumps(decision),
        mark_words(words, spans, changed, hues),
        mark_words(words, new, changed, hues),
    )
