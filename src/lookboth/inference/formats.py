"""Output formats: predictions as text, JSON lines, CoNLL columns, HTML or pre-annotations, written as a stream."""

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

# JSON input may contain lone surrogates, which UTF-8 cannot encode.
_SURROGATES = re.compile("[\ud800-\udfff]")
# Control characters are shown as symbols (U+2400 block), so that a labeled text cannot control the reader's terminal.
_CONTROL_PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n\r"}
_CONTROL_PICTURES |= {0x7F: 0x2421} | dict.fromkeys(range(0x80, 0xA0), 0xFFFD)
_ANSI_COLORS = (36, 33, 35, 32, 34, 31)


def render(predictions: Iterable[Prediction], format: str = "text", *, color: bool = False) -> Iterator[str]:
    """Render predictions in a format, as an iterator over strings to write in order.

    Args:
        predictions: predictions of a labeler, in order.
        format: "text" (spans marked in the text; labels of a whole text before it, followed by a tab), "jsonl"
            (character offsets), "conll" (one word with its tag per line), "html" (a page without further files), or
            the format of an annotation tool: "label-studio", "doccano", "prodigy".
        color: color the spans with ANSI codes; "text" only.

    Raises:
        ConfigError: the format does not exist.
        DataError: while iterating, if spans overlap, or a word or a label of a whole text cannot be written in
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
    # brat is a valid format, but not as one stream, so it gets its own message.
    require_place(format, None)
    raise ConfigError(f"unknown output format {format!r}; allowed are: {', '.join(FORMATS)}.")


def require_place(format: str, out: Path | None) -> None:
    """Refuse a format that consists of several files if no output folder is named.

    Raises:
        ConfigError: the format is brat and `out` is None.
    """
    if format == "brat" and out is None:
        raise ConfigError("brat keeps texts and annotations in separate files. Type: --out FOLDER")


def write_predictions(predictions: Iterable[Prediction], format: str, out: Path) -> None:
    """Write predictions to a file, or for brat to a folder.

    Args:
        predictions, format: as in `render`.
        out: the file or folder, created if missing.

    Raises:
        ConfigError: the format does not exist.
        DataError: the file cannot be written, or a prediction cannot be rendered (see `render`).
    """
    if format in TOOLS:
        write_marked(map(mark_prediction, predictions), format, out)
        return
    write_pieces(render(predictions, format), out)


def write_pieces(pieces: Iterable[str], out: Path) -> None:
    """Write the output of `render` to a file; an existing file is replaced once the new one is complete.

    Raises:
        DataError: the file cannot be written.
    """
    try:
        write_whole(out, pieces)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror}. Name another file.") from error


def render_json_line(prediction: Prediction) -> str:
    """Return a prediction as one line of JSON with unescaped Unicode, except for lone surrogates.

    Args:
        prediction: a prediction; its offsets count characters of its text.
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
                # Colors are assigned in the order of first occurrence, because labels are not known in advance.
                code = colors.setdefault(span.label, _ANSI_COLORS[len(colors) % len(_ANSI_COLORS)])
                shown = f"\x1b[{code}m{shown}\x1b[0m"
            pieces.append(shown)
        yield "".join(pieces) + "\n"


def _labels_before(prediction: Prediction) -> str:
    """Return the labels of a whole text as "label score, label score" and a tab; "" if words are labeled."""
    if prediction.labels is None:
        return ""
    shown = ", ".join(f"{label} {score:.2f}" for label, score in prediction.labels)
    return _storable(shown or "-").translate(_CONTROL_PICTURES) + "\t"


def _render_conll(prediction: Prediction) -> str:
    if prediction.labels is not None:
        raise DataError(
            "a CoNLL line contains a word and its tag, not a label of the whole text. Use 'jsonl'."
        )
    for index, word in enumerate(prediction.words):
        # Readers of CoNLL files may split lines or columns at each of these characters.
        if re.search("[\t\n\r\v\f\x1c-\x1e\x85\u2028\u2029]", word) or not word.strip():
            raise DataError(
                f"word {index} is {word!r}; a CoNLL line cannot contain a blank word, a tab or a line break. "
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
    """Yield the head of a page, one paragraph per prediction, and a list of the labels.

    The style sheet displays a label from an attribute. The text of the page is therefore exactly the labeled text,
    also when a reader copies it.
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
        # The language of a text is unknown, and its direction may differ from that of the page.
        yield f'<p class="text" lang="" dir="auto">{"".join(pieces)}</p>\n'
    items = (
        f'<li><mark style="--hue:{hues[label]}">{escape_html(label)}</mark> {count}</li>\n'
        for label, count in sorted(counts.items())
    )
    legend = f'<footer>\n<ul aria-label="Number by label">\n{"".join(items)}</ul>\n</footer>\n'
    yield f"</main>\n{legend if counts else ''}</body>\n</html>\n"


def label_hue(index: int) -> int:
    """Return the hue of a label in degrees; steps of the golden angle separate any number of labels."""
    return round(210 + index * 137.508) % 360


def escape_html(text: str) -> str:
    """Escape text so that HTML displays every character of it."""
    # A parser reads a bare carriage return as a line feed and drops a null character.
    return html.escape(_storable(text)).replace("\r", "&#13;").replace("\0", "\ufffd")


def _storable(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot encode, with the replacement character."""
    return _SURROGATES.sub("\ufffd", text)


def _split_at_spans(prediction: Prediction) -> Iterator[tuple[str, PredictedSpan | None]]:
    """Yield the text in parts, cut where spans start and end, each with its span or None."""
    text, position = prediction.text, 0
    for span in sorted(prediction.spans, key=lambda span: span.start_char):
        if not position <= span.start_char <= span.end_char <= len(text):
            raise DataError(
                f"span {span.label} at characters {span.start_char}-{span.end_char} overlaps another span or "
                f"exceeds the text of {len(text)} characters. Use the format 'jsonl'."
            )
        if span.start_char > position:
            yield text[position : span.start_char], None
        yield text[span.start_char : span.end_char], span
        position = span.end_char
    if position < len(text):
        yield text[position:], None
