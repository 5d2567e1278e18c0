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
from lookboth.inference.span_marks import Mark, mark_spans
from lookboth.types import Prediction

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
        DataError: while iterating, if a word, a label of a whole text or spans that may overlap cannot be written in
            a CoNLL line.

    >>> from lookboth.types import PredictedSpan
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
        around: list[str] = []
        for piece in mark_spans(prediction):
            if isinstance(piece, str):
                pieces.append(storable(piece).translate(_CONTROL_PICTURES))
            elif piece.kind == "start":
                # Colors are assigned in the order of first occurrence, because labels are not known in advance.
                code = colors.setdefault(piece.span.label, _ANSI_COLORS[len(colors) % len(_ANSI_COLORS)])
                around.append(f"\x1b[{code}m")
                pieces.append(around[-1] * color + _bracket(piece))
            else:
                around.pop()
                # After the end, the color is that of the span around this one.
                pieces.append(_bracket(piece) + ["\x1b[0m", *around][-1] * color)
        yield "".join(pieces) + "\n"


def _bracket(mark: Mark) -> str:
    """Return the bracket of a mark; dots show where a span that crosses another one is cut."""
    cut = "…" * mark.is_cut
    return f"[{cut}" if mark.kind == "start" else f"{cut} {mark.span.label} {mark.span.score:.2f}]"


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
    if len(prediction.tags) < len(prediction.words):
        raise DataError(
            "a CoNLL line contains one tag, and spans of this labeler may overlap. Use 'jsonl', 'html' or the format "
            "of an annotation tool."
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
        labels, pieces = prediction.labels or (), list(mark_spans(prediction))
        counts.update(label for label, _ in labels)
        counts.update(span.label for span in prediction.spans)
        yield str(page["paragraph"](labels, pieces))
    yield str(page["foot"](counts))
