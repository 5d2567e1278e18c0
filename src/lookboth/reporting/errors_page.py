"""HTML page of all mistakes of a run: gold and predicted spans side by side, with filters by label and kind."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files

from lookboth.evaluation import ErrorKind, ScoredSentence, SpanPair, pair_spans
from lookboth.inference import escape_html, label_hue
from lookboth.types import Span

Hues = Mapping[str, int]


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
    return "".join(
        [
            _head(title),
            f"<h1>{escape_html(title)}</h1>\n",
            _facts({**facts, "mistakes": counted}),
            _form({str(kind): kinds[kind] for kind in ErrorKind}, dict(sorted(labels.items()))),
            f'<p id="status" role="status">{counted}.</p>\n{_pager("top")}<main id="sentences">\n',
            *articles,
            f"</main>\n{_pager('bottom')}<script>\n{_asset('errors.js')}</script>\n</body>\n</html>\n",
        ]
    )


def _head(title: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape_html(title)}</title>\n<style>\n{_asset('errors.css')}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#sentences">Skip to the sentences</a>\n'
    )


def _facts(facts: Mapping[str, str]) -> str:
    rows = "".join(
        f"<dt>{escape_html(name)}</dt><dd>{escape_html(value)}</dd>\n" for name, value in facts.items()
    )
    return f"<dl>\n{rows}</dl>\n"


def _form(kinds: Mapping[str, int], labels: Mapping[str, int]) -> str:
    """Return the filters; hidden until the script runs, as they need it."""
    return (
        '<form id="filters" aria-label="Filters" hidden>\n'
        + _boxes("kind", "Kind of mistake", kinds)
        + _boxes("label", "Label, gold or predicted", labels)
        + '<label>Words in the sentence: <input type="search" name="words" autocomplete="off"></label>\n</form>\n'
    )


def _pager(place: str) -> str:
    """Return the page buttons; hidden until the script divides the sentences into pages."""
    buttons = " ".join(
        f'<button type="button" data-step="{step}">{text}</button>'
        for step, text in ((-1, "Previous page"), (1, "Next page"))
    )
    return f'<nav class="pages" id="pages-{place}" aria-label="Pages, {place}" hidden>{buttons}</nav>\n'


def _boxes(name: str, legend: str, counts: Mapping[str, int]) -> str:
    boxes = "\n".join(
        f'<label><input type="checkbox" name="{name}" value="{escape_html(value)}" checked> {escape_html(value)} '
        f'<span class="count">{count}</span></label>'
        for value, count in counts.items()
    )
    buttons = "".join(
        f'<button type="button" data-name="{name}" data-tick="{tick}">{tick}'
        f'<span class="hidden-visually"> of: {legend}</span></button> '
        for tick in ("all", "none")
    )
    return f"<fieldset>\n<legend>{legend}</legend>\n{boxes}\n{buttons}\n</fieldset>\n"


def _article(number: int, sentence: ScoredSentence, errors: Sequence[SpanPair], hues: Hues) -> str:
    sides = (
        ("Gold", sentence.gold, {pair.gold for pair in errors}),
        ("Predicted", sentence.predicted, {pair.predicted for pair in errors}),
    )
    text = escape_html(" ".join(sentence.words).lower())
    source = f' <span class="source">{escape_html(sentence.source)}</span>' if sentence.source else ""
    shown = "".join(
        f'<section class="side"><h3>{name}</h3><p lang="" dir="auto">{_marked(sentence.words, spans, wrong, hues)}</p>'
        "</section>\n"
        for name, spans, wrong in sides
    )
    items = "".join(_error(pair, sentence.words) for pair in errors)
    return (
        f'<article data-text="{text}">\n<h2>Sentence {number}{source}</h2>\n<div class="sides">\n{shown}</div>\n'
        f'<ul class="errors">\n{items}</ul>\n</article>\n'
    )


def _error(pair: SpanPair, words: Sequence[str]) -> str:
    sides = [("gold", pair.gold), ("predicted", pair.predicted)]
    spans = "; ".join(f"{name} {_span_text(span, words)}" for name, span in sides if span is not None)
    labels = escape_html(json.dumps(_labels(pair), ensure_ascii=False))
    return f'<li data-kind="{pair.kind}" data-labels="{labels}"><span class="kind">{pair.kind}</span>: {spans}</li>\n'


def _span_text(span: Span, words: Sequence[str]) -> str:
    text = " ".join(words[span.start : span.end])
    return f'<q lang="" dir="auto">{escape_html(text)}</q> <b>{escape_html(span.label)}</b>'


def _marked(words: Sequence[str], spans: Sequence[Span], wrong: set[Span | None], hues: Hues) -> str:
    """Return the words with each span marked; nested spans become nested marks."""
    ends: list[Span] = []
    starts = sorted(set(spans), key=lambda span: (span.start, -span.end, span.label))
    pieces: list[str] = []
    for place, word in enumerate(words):
        pieces.append(" " if place else "")
        while starts and starts[0].start == place:
            span = starts.pop(0)
            # HTML elements cannot overlap, so a span is cut at the end of the span around it.
            end = min([span.end, *(outer.end for outer in ends)])
            ends.append(span._replace(end=end))
            pieces.append(_open(span, hues, wrong=span in wrong))
        pieces.append(escape_html(word))
        while ends and ends[-1].end == place + 1:
            pieces.append(f' <span class="label">{escape_html(ends.pop().label)}</span></mark>')
    return "".join(pieces)


def _open(span: Span, hues: Hues, *, wrong: bool) -> str:
    note = '<span class="hidden-visually">wrong: </span>' if wrong else ""
    return f'<mark{" class=wrong" if wrong else ""} style="--hue:{hues[span.label]}">{note}'


def _labels(pair: SpanPair) -> list[str]:
    """Return the distinct labels of a mistake, gold before predicted."""
    return list(dict.fromkeys(span.label for span in pair if span is not None))


def _all_labels(sentences: Sequence[ScoredSentence]) -> Counter[str]:
    return Counter(span.label for s in sentences for spans in (s.gold, s.predicted) for span in spans)


def _asset(name: str) -> str:
    return (files("lookboth.reporting") / "assets" / name).read_text(encoding="utf-8")
