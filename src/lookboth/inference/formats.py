"""Output formats: predictions as text, JSON lines, CoNLL columns, HTML or pre-annotations, written as a stream."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from lookboth.data import json_line
from lookboth.data.conversion import STREAMS, TOOLS, mark_prediction, write_marked
from lookboth.errors import ConfigError, DataError
from lookboth.files import write_whole
from lookboth.html_pages import label_hue, load_macros, storable
from lookboth.types import PredictedSpan, Prediction

FORMATS = ("text", "jsonl", "conll", "html", *STREAMS)

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
            shown = storable(text).translate(_CONTROL_PICTURES)
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
    return storable(shown or "-").translate(_CONTROL_PICTURES) + "\t"


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
    return "".join(f"{storable(word)}\t{tag}\n" for word, tag in pairs) + "\n"


def _render_html(predictions: Iterable[Prediction]) -> Iterator[str]:
    """Yield the pieces of a page: head, one paragraph per prediction, and a list of the labels.

    The style sheet displays a label from an attribute. The text of the page is therefore exactly the labeled text,
    also when a reader copies it.
    """
    counts: Counter[str] = Counter()

    def hue(label: str) -> int:
        # Hues are assigned in the order of first occurrence, because labels are not known in advance.
        return label_hue(list(counts).index(label))

    page = load_macros("lookboth.inference", "predictions.html", hue=hue)
    yield str(page["head"]())
    for prediction in predictions:
        labels, parts = prediction.labels or (), list(_split_at_spans(prediction))
        counts.update(label for label, _ in labels)
        counts.update(span.label for _, span in parts if span is not None)
        yield str(page["paragraph"](labels, parts))
    yield str(page["foot"](counts))


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
