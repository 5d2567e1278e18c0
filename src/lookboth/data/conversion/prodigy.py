"""Prodigy's JSONL of the interfaces for entities and spans.

A line is `{"text", "tokens": [{"text", "start", "end", "id", "ws"}], "spans": [{"start", "end", "token_start",
"token_end", "label"}], "answer"}` (https://prodi.gy/docs/api-interfaces#ner_manual). Offsets are spaCy's and count code
points, the end exclusive; `token_end` is the last token of a span itself.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lookboth.data import (
    ProblemLog,
    Sentence,
    build_dataset,
    is_rejected,
    json_line,
    open_records,
    text_sentence,
)
from lookboth.data.conversion.convert_options import Converted, ConvertOptions
from lookboth.data.conversion.marked import Marked, MarkedSpan

_ALLOWED = 'write {"text": "...", "spans": [{"start": 0, "end": 3, "label": "NAME"}], "answer": "accept"}'
_OTHER_RESULTS = ("accept", "options", "label")  # of the interfaces choice and classification
_Numbered = tuple[int, dict[str, Any]]


def read_prodigy(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read the spans of each accepted text; what was rejected or ignored is left out, and named.

    The words are the tokens of a task. That sessions labeled one text differently is a problem. A task of another
    interface (choices, labels of whole texts) is a problem, never a text without spans.

    Args:
        path: what `prodigy db-out` wrote, UTF-8.
        options: `several` and `offsets`.
        repair: leave out or widen what cannot be taken over instead of calling it fatal.

    Raises:
        DataError: if the file cannot be read at all.
    """
    log, found = open_records(path, _ALLOWED, repair=repair)
    records = [(number, record) for number, record in found if not is_rejected(record, number, log)]
    sentences = [
        sentence
        for number, record in _one_per_task(records, log)
        if (sentence := _read_record(record, options, number, log)) is not None
    ]
    return Converted(build_dataset(sentences, "IOB2", log))


def write_prodigy(texts: Iterable[Marked]) -> Iterator[str]:
    """Yield one task a line, with lookboth's words as tokens; a score goes into its span, the lowest into "meta"."""
    for marked in texts:
        spans = [_span(span) for span in marked.spans]
        task: dict[str, Any] = {"text": marked.text, "tokens": _tokens(marked), "spans": spans}
        scores = [span.score for span in marked.spans if span.score is not None]
        yield json_line(task | ({"meta": {"score": min(scores)}} if scores else {}))


def _tokens(marked: Marked) -> list[dict[str, Any]]:
    ends = [start for start, _ in marked.offsets[1:]] + [len(marked.text)]
    return [
        {"text": marked.text[start:end], "start": start, "end": end, "id": number, "ws": end < following}
        for number, ((start, end), following) in enumerate(zip(marked.offsets, ends, strict=False))
    ]


def _span(span: MarkedSpan) -> dict[str, Any]:
    record = {
        "start": span.start,
        "end": span.end,
        "token_start": span.first,
        "token_end": span.stop - 1,
        "label": span.label,
    }
    return record if span.score is None else {**record, "score": span.score}


def _one_per_task(records: Sequence[_Numbered], log: ProblemLog) -> list[_Numbered]:
    """Return the first record of each task that several sessions answered, and note where they differ."""
    first: dict[Any, _Numbered] = {}
    for number, record in records:
        key = repr(record.get("_input_hash", (record.get("text"), number)))
        before = first.setdefault(key, (number, record))
        if before[0] != number and _places(before[1]) != _places(record):
            message = f"annotated differently from {log.where(before[0])}, the same text"
            log.add(number, "annotations", message, "the first is taken")
    return list(first.values())


def _places(record: Mapping[str, Any]) -> list[str]:
    spans = record.get("spans") or []
    return sorted(repr([s.get(k) for k in ("start", "end", "label")]) for s in spans if isinstance(s, dict))


def _read_record(
    record: Mapping[str, Any], options: ConvertOptions, number: int, log: ProblemLog
) -> Sentence | None:
    text, spans = record.get("text"), record.get("spans", [])
    other = next((key for key in _OTHER_RESULTS if key in record and "spans" not in record), None)
    if other is not None:
        message = f"{other!r} is the result of another interface than that of spans"
        log.add(number, "other-results", message, "the line is left out")
        return None
    if not isinstance(text, str) or not isinstance(spans, list):
        message = f"keys {sorted(record)!r:.100} are not what is read; {_ALLOWED}"
        log.add(number, "json", message, "the line is left out")
        return None
    if record.get("relations"):
        log.add(number, "other-results", "relations are not taken over", fatal=False)
    return text_sentence(
        text,
        spans,
        number,
        log,
        tokens=record.get("tokens"),
        several=options.several,
        counting=options.counting,
    )
