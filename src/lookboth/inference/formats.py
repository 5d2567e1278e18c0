"""Predictions as text, JSON lines, CoNLL columns, a web page or pre-annotations, one prediction at a time."""

import html
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from lookboth.data import json_line
from lookboth.data.conversion import STREAMS, TOOLS, mark_prediction, write_marked
from lookboth.errors import ConfigError, DataError
from lookboth.files import write_whole
from lookboth.types import PredictedSpan, Prediction

FORMATS = ("text", "jsonl", "conll", "html", *STREAMS)

_SURROGATES = re.compile("[\ud800-\udfff]")
# Control characters as pictures (U+2400 block), so that a labeled text cannot steer the reader's terminal.
_CONTROL_PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n\r"}
_CONTROL_PICTURES |= {0x7F: 0x2421} | dict.fromkeys(range(0x80, 0xA0), 0xFFFD)
_ANSI_COLORS = (36, 33, 35, 32, 34, 31)


def render(predictions: Iterable[Prediction], format: str = "text", *, color: bool = False) -> Iterator[str]:
    """Return an iterator over pieces to write one after the other, each made when it is asked for.

    Args:
        predictions: what a labeler found, in order.
        format: "text" (spans marked in the text, labels of a whole text and a tab before it), "jsonl"
            (character offsets), "conll" (a word and its tag a line), "html" (a page that needs no other file), or
            what an annotation tool reads: "label-studio", "doccano", "prodigy".
        color: colour the spans with ANSI codes; "text" only.

    Raises:
        ConfigError: when there is no such format.
        DataError: while iterating, when spans overlap or a word or a label of a whole text does not fit into
            a CoNLL line.

    >>> ada = PredictedSpan(0, 1, "PER", "Ada", 0, 3, 0.98)
    >>> prediction = Prediction("Ada slept", ("Ada", "slept"), ((0, 3), (4, 9)), ("B-PER", "O"), (ada,))
    >>> print(*render([prediction], "text"), end="")
    [Ada PER 0.98] slept
    >>> print(*render([prediction], "jsonl"), end="")
    {"text": "Ada slept", "spans": [{"start": 0, "end": 3, "label": "PER", "text": "Ada", "score": 0.98}]}
    """
    if format == "text":
        return _render_text(predictions, color)
    if format == "jsonl":
        return map(render_json_line, predictions)
    if format == "conll":
        return map(_render_conll, predictions)
    if format == "html":
        return _render_html(predictions)
    if format in STREAMS:
        return STREAMS[format](map(mark_prediction, predictions))
    require_place(format, None)
    raise ConfigError(f"unknown output format {format!r}; formats are: {', '.join(FORMATS)}.")


def require_place(format: str, out: Path | None) -> None:
    """Refuse a format that has no form as one stream where no place to write to is named.

    Raises:
        ConfigError: for brat without a folder.
    """
    if format == "brat" and out is None:
        raise ConfigError("brat keeps texts and annotations in files of their own. Type: --out FOLDER")


def write_predictions(predictions: Iterable[Prediction], format: str, out: Path) -> None:
    """Write predictions to a file, or for brat to a folder.

    Args:
        predictions, format: as of `render`.
        out: created where missing.

    Raises:
        ConfigError: when there is no such format.
        DataError: when it cannot be written, or as `render` does.
    """
    if format in TOOLS:
        write_marked(map(mark_prediction, predictions), format, out)
        return
    write_pieces(render(predictions, format), out)


def write_pieces(pieces: Iterable[str], out: Path) -> None:
    """Write what `render` gives to a file that takes the place of an older one once it is whole.

    Raises:
        DataError: when it cannot be written.
    """
    try:
        write_whole(out, pieces)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror}. Name another file.") from error


def render_json_line(prediction: Prediction) -> str:
    """Return a prediction as one line of JSON, readable as it stands; lone surrogates are escaped.

    Args:
        prediction: its offsets count characters of its text.
    """
    return json_line(prediction.to_dict())


def _render_text(predictions: Iterable[Prediction], color: bool) -> Iterator[str]:
    colors: dict[str, int] = {}
    for prediction in predictions:
        pieces = [_labels_before(prediction)]
        for text, span in _split_at_spans(prediction):
            shown = _storable(text).translate(_CONTROL_PICTURES)
            if span is not None:
                shown = f"[{shown} {span.label} {span.score:.2f}]"
            if span is not None and color:
                code = colors.setdefault(span.label, _ANSI_COLORS[len(colors) % len(_ANSI_COLORS)])
                shown = f"\x1b[{code}m{shown}\x1b[0m"
            pieces.append(shown)
        yield "".join(pieces) + "\n"


def _labels_before(prediction: Prediction) -> str:
    """Return "label score, label score" and a tab; nothing where words are labeled."""
    if prediction.labels is None:
        return ""
    shown = ", ".join(f"{label} {score:.2f}" for label, score in prediction.labels)
    return _storable(shown or "-").translate(_CONTROL_PICTURES) + "\t"


def _render_conll(prediction: Prediction) -> str:
    if prediction.labels is not None:
        raise DataError("a CoNLL line holds a word and its tag, not a label of the whole text. Use 'jsonl'.")
    for index, word in enumerate(prediction.words):
        if re.search("[\t\n\r\v\f\x1c-\x1e\x85\u2028\u2029]", word) or not word.strip():
            raise DataError(
                f"word {index} is {word!r}; a CoNLL line cannot hold a blank word, a tab or a line break. "
                "Use the format 'jsonl'."
            )
    pairs = zip(prediction.words, prediction.tags, strict=True)
    return "".join(f"{_storable(word)}\t{tag}\n" for word, tag in pairs) + "\n"


_HTML_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>lookboth predictions</title>
<style>
:root { color-scheme: light dark; }
body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem; font: 1.05rem/1.9 system-ui, sans-serif;
  color: #1a1a1a; background: #fff; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; padding: .7rem 0;
  border-bottom: 1px solid #8884; }
mark { unicode-bidi: isolate; }
mark::after { unicode-bidi: plaintext; }
mark { color: #111; background: hsl(var(--hue) 85% 86%); border-radius: .25rem; padding: .1rem .3rem;
  -webkit-box-decoration-break: clone; box-decoration-break: clone; }
mark[data-label]::after { content: attr(data-label); margin-inline-start: .4em; font-size: .68em;
  font-weight: 700; letter-spacing: .03em; }
footer { padding: 1rem 0; font-size: .9rem; }
footer ul { display: flex; flex-wrap: wrap; gap: .4rem 1rem; margin: 0; padding: 0; list-style: none; }
@media (prefers-color-scheme: dark) {
  body { color: #e8e8e8; background: #16181c; }
  mark { color: #f5f5f5; background: hsl(var(--hue) 45% 27%); }
}
</style>
</head>
<body>
<main>
"""


def _render_html(predictions: Iterable[Prediction]) -> Iterator[str]:
    """Yield the head of a page, one paragraph a prediction, and a list of the labels.

    A label is drawn from an attribute by the style sheet, not written into the text: what a reader copies,
    and what is left without the tags, is exactly the text.
    """
    counts: Counter[str] = Counter()
    hues: dict[str, int] = {}
    yield _HTML_HEAD

    def mark(label: str, score: float, text: str) -> str:
        counts[label] += 1
        hue = hues.setdefault(label, label_hue(len(hues)))
        shown = escape_html(label)
        return f'<mark style="--hue:{hue}" data-label="{shown}" title="{shown} {score:.2f}">{escape_html(text)}</mark>'

    for prediction in predictions:
        pieces = [mark(label, score, "") + " " for label, score in prediction.labels or ()]
        pieces += (
            escape_html(text) if span is None else mark(span.label, span.score, text)
            for text, span in _split_at_spans(prediction)
        )
        yield f'<p class="text" lang="" dir="auto">{"".join(pieces)}</p>\n'
    items = (
        f'<li><mark style="--hue:{hues[label]}">{escape_html(label)}</mark> {count}</li>\n'
        for label, count in sorted(counts.items())
    )
    legend = f'<footer>\n<ul aria-label="Number by label">\n{"".join(items)}</ul>\n</footer>\n'
    yield f"</main>\n{legend if counts else ''}</body>\n</html>\n"


def label_hue(index: int) -> int:
    """Return a hue in degrees; steps of the golden angle keep any number of labels apart."""
    return round(210 + index * 137.508) % 360


def escape_html(text: str) -> str:
    """Return text as HTML shows it, whatever characters it holds."""
    # A parser reads a bare carriage return as a line feed and drops a null character.
    return html.escape(_storable(text)).replace("\r", "&#13;").replace("\0", "\ufffd")


def _storable(text: str) -> str:
    """Return the text with the replacement character for each lone surrogate, which no file can hold."""
    return _SURROGATES.sub("\ufffd", text)


def _split_at_spans(prediction: Prediction) -> Iterator[tuple[str, PredictedSpan | None]]:
    """Yield the whole text in order, cut where spans start and end, each cut with its span or None."""
    text, position = prediction.text, 0
    for span in sorted(prediction.spans, key=lambda span: span.start_char):
        if not position <= span.start_char <= span.end_char <= len(text):
            raise DataError(
                f"span {span.label} at characters {span.start_char}-{span.end_char} overlaps another or "
                f"leaves the text of {len(text)} characters. Use the format 'jsonl'."
            )
        if span.start_char > position:
            yield text[position : span.start_char], None
        yield text[span.start_char : span.end_char], span
        position = span.end_char
    if position < len(text):
        yield text[position:], None
