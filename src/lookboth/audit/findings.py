"""Findings: places whose labels are probably wrong, with a suggestion, ranked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

from lookboth.audit.confident import suggest_spans, tag_ids, tag_thresholds
from lookboth.audit.occurrences import Elsewhere, Occurrences
from lookboth.audit.out_of_fold import TagProbs
from lookboth.types import Example, Span

_NO_PLACES = Elsewhere()
# Nats; weight of the other places with the same words, chosen on errors planted in WikiGold (docs/audit.md).
_WEIGHT_OF_OCCURRENCES = 2.0


class FindingKind(StrEnum):
    """What is probably wrong; every finding has exactly one kind."""

    missing = "missing span"
    border = "wrong border"
    label = "wrong label"
    border_and_label = "wrong border and label"
    extra = "span that should not be there"


@dataclass(frozen=True, slots=True)
class Finding:
    """A place whose labels are probably wrong.

    Args:
        sentence: index of the sentence in the data.
        where: "file:line" of the sentence.
        words: the words of the sentence.
        given: the spans as annotated, without those of other findings.
        suggested: the spans that would replace them; no words are in two findings.
        score: higher is more probably wrong, in nats; may be negative.
        elsewhere: how the same words are labeled at other places.
    """

    sentence: int
    where: str
    words: tuple[str, ...]
    given: tuple[Span, ...]
    suggested: tuple[Span, ...]
    score: float
    elsewhere: Elsewhere = _NO_PLACES

    @property
    def kind(self) -> FindingKind:
        """What is probably wrong."""
        if not self.given:
            return FindingKind.missing
        if not self.suggested:
            return FindingKind.extra
        same_words = [span[:2] for span in self.given] == [span[:2] for span in self.suggested]
        if same_words:
            return FindingKind.label
        same_labels = {span.label for span in self.given} == {span.label for span in self.suggested}
        return FindingKind.border if same_labels else FindingKind.border_and_label

    @property
    def words_range(self) -> tuple[int, int]:
        """The range of words of all its spans, end exclusive."""
        spans = (*self.given, *self.suggested)
        return min(span.start for span in spans), max(span.end for span in spans)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; the offsets of spans count words."""
        return {
            "sentence": self.sentence,
            "where": self.where,
            "kind": str(self.kind),
            "score": round(self.score, 4),
            "words": list(self.words),
            "given": [_span_to_dict(span, self.words) for span in self.given],
            "suggested": [_span_to_dict(span, self.words) for span in self.suggested],
            "elsewhere": self.elsewhere._asdict(),
        }


def find_errors(examples: Sequence[Example], probs: TagProbs) -> list[Finding]:
    """Return the probable errors of the annotated spans, the most probable first.

    The suggestion for a sentence is its best tagging relative to the thresholds of confident learning. Given and
    suggested spans that overlap form one finding. Its score is the log probability of the suggested tags minus that of
    the given tags, each relative to its threshold, averaged over the words where they differ, plus the balance of the
    other places with the same words.

    Args:
        examples: the data with its spans.
        probs: probabilities from models that were not trained on the sentence.
    """
    thresholds = tag_thresholds(examples, probs)
    found: list[Finding] = []
    for number, (example, rows) in enumerate(zip(examples, probs.log_probs, strict=True)):
        if not example.words:
            continue
        relative = rows - np.log(thresholds)
        suggested = suggest_spans(relative, probs)
        for given, other in _differences(example.spans, suggested):
            score = _log_ratio(given, other, relative, probs)
            found.append(Finding(number, example.source, example.words, given, other, score))
    places = Occurrences(examples, (words for finding in found for words in _texts(finding)))
    ranked = (_with_elsewhere(finding, places) for finding in found)
    return sorted(ranked, key=lambda finding: (-finding.score, finding.sentence, finding.words_range))


def _differences(
    given: Sequence[Span], suggested: Sequence[Span]
) -> Iterator[tuple[tuple[Span, ...], tuple[Span, ...]]]:
    """Yield groups of overlapping given and suggested spans that differ; groups share no words."""
    group: set[tuple[Span, bool]] = set()
    end = 0
    spans = sorted([*((span, False) for span in given), *((span, True) for span in suggested)])
    for span, is_new in [*spans, (Span(1 << 60, 1 << 60, ""), False)]:
        if group and span.start >= end:
            old, new = (tuple(sorted(s for s, side in group if side is which)) for which in (False, True))
            if old != new:
                yield old, new
            group = set()
        group.add((span, is_new))
        end = max(end, span.end) if len(group) > 1 else span.end


def _log_ratio(
    given: Sequence[Span], suggested: Sequence[Span], relative: np.ndarray, probs: TagProbs
) -> float:
    """Return the mean log ratio of the suggested to the given tags, where they differ.

    Args:
        given, suggested: the spans of a finding.
        relative: log probabilities relative to the thresholds, (w, num_tags).
        probs: the tags and their scheme.
    """
    old, new = (tag_ids(spans, len(relative), probs) for spans in (given, suggested))
    changed = np.flatnonzero(old != new)
    return float((relative[changed, new[changed]] - relative[changed, old[changed]]).mean())


def _with_elsewhere(finding: Finding, places: Occurrences) -> Finding:
    elsewhere = places.elsewhere(finding.words, finding.given, finding.suggested)
    score = finding.score + _WEIGHT_OF_OCCURRENCES * elsewhere.balance
    return replace(finding, score=score, elsewhere=elsewhere)


def _texts(finding: Finding) -> Iterator[tuple[str, ...]]:
    for span in (*finding.given, *finding.suggested):
        yield finding.words[span.start : span.end]


def _span_to_dict(span: Span, words: Sequence[str]) -> dict[str, Any]:
    return {**span._asdict(), "text": " ".join(words[span.start : span.end])}
