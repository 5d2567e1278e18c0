"""HTML page of all mistakes of a run: gold and predicted spans side by side, with filters by label and kind."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import Literal, NamedTuple

from lookboth.evaluation import ErrorKind, ScoredSentence, SpanPair, pair_spans
from lookboth.html_pages import label_hue, load_template
from lookboth.types import Span

Hues = Mapping[str, int]


class Piece(NamedTuple):
    """A piece of a sentence: "text", the start of a mark ("right" or "wrong", with its hue), or its "end" (a label)."""

    kind: Literal["text", "right", "wrong", "end"]
    text: str
    hue: int = 0


class _Error(NamedTuple):
    """One mistake: its kind, its labels as JSON for the script, and (side, text, label) of each span."""

    kind: str
    labels: str
    spans: Sequence[tuple[str, str, str]]


class _Article(NamedTuple):
    """One sentence: its number, text in lower case, source, both sides in pieces, and mistakes."""

    number: int
    text: str
    source: str
    gold: Sequence[Piece]
    predicted: Sequence[Piece]
    errors: Sequence[_Error]


def render_errors_page(title: str, facts: Mapping[str, str], sentences: Sequence[ScoredSentence]) -> str:
    """Return a self-contained HTML page of all sentences with a mistake.

    The page works with keyboard and screen reader, and in light and dark mode. Without JavaScript it shows everything.

    Args:
        title: title of the page.
        facts: facts about the run, by name.
        sentences: sentences with gold and predicted spans; those without a mistake are only counted.
    """
    pairs = [pair_spans(sentence.gold, sentence.predicted) for sentence in sentences]
    wrong = [[pair for pair in of_sentence if pair.kind is not None] for of_sentence in pairs]
    errors = [pair for of_sentence in wrong for pair in of_sentence]
    kinds = Counter(pair.kind for pair in errors)
    labels = Counter(label for pair in errors for label in _labels(pair))
    hues = {label: label_hue(number) for number, label in enumerate(sorted(labels | _all_labels(sentences)))}
    counted = f"{len(errors)} mistakes in {sum(map(bool, wrong))} of {len(sentences)} sentences"
    articles = (
        _article(number, sentence, own, hues)
        for number, (sentence, own) in enumerate(zip(sentences, wrong, strict=True), start=1)
        if own
    )
    return load_template("lookboth.reporting", "errors.html").render(
        title=title,
        facts={**facts, "mistakes": counted},
        kinds={str(kind): kinds[kind] for kind in ErrorKind},
        labels=dict(sorted(labels.items())),
        counted=counted,
        articles=articles,
    )


def _article(number: int, sentence: ScoredSentence, errors: Sequence[SpanPair], hues: Hues) -> _Article:
    wrong_gold, wrong_predicted = {pair.gold for pair in errors}, {pair.predicted for pair in errors}
    return _Article(
        number,
        " ".join(sentence.words).lower(),
        sentence.source,
        mark_words(sentence.words, sentence.gold, wrong_gold, hues),
        mark_words(sentence.words, sentence.predicted, wrong_predicted, hues),
        [_error(pair, sentence.words) for pair in errors],
    )


def _error(pair: SpanPair, words: Sequence[str]) -> _Error:
    sides = (("gold", pair.gold), ("predicted", pair.predicted))
    spans = [
        (name, " ".join(words[span.start : span.end]), span.label) for name, span in sides if span is not None
    ]
    return _Error(str(pair.kind), json.dumps(_labels(pair), ensure_ascii=False), spans)


def mark_words(
    words: Sequence[str], spans: Sequence[Span], wrong: Set[Span | None], hues: Hues
) -> list[Piece]:
    """Return the words with the start and end of each span; nested spans become nested marks."""
    ends: list[Span] = []
    starts = sorted(set(spans), key=lambda span: (span.start, -span.end, span.label))
    pieces: list[Piece] = []
    for place, word in enumerate(words):
        pieces.append(Piece("text", " " if place else ""))
        while starts and starts[0].start == place:
            span = starts.pop(0)
            # HTML elements cannot overlap, so a span is cut at the end of the span around it.
            end = min([span.end, *(outer.end for outer in ends)])
            ends.append(span._replace(end=end))
            pieces.append(Piece("wrong" if span in wrong else "right", "", hues[span.label]))
        pieces.append(Piece("text", word))
        while ends and ends[-1].end == place + 1:
            pieces.append(Piece("end", ends.pop().label))
    return pieces


def _labels(pair: SpanPair) -> list[str]:
    """Return the distinct labels of a mistake, gold before predicted."""
    return list(dict.fromkeys(span.label for span in pair if span is not None))


def _all_labels(sentences: Sequence[ScoredSentence]) -> Counter[str]:
    return Counter(span.label for s in sentences for spans in (s.gold, s.predicted) for span in spans)
