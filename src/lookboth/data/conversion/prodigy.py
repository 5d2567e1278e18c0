"""Reader and writer of Prodigy's JSONL for the entity and span interfaces.

A line is `{"text", "tokens": [{"text", "start", "end", "id", "ws"}], "spans": [{"start", "end", "token_start",
"token_end", "label"}], "answer"}` (https://prodi.gy/docs/api-interfaces#ner_manual). Offsets are spaCy's: code points,
end exclusive. `token_end` is inclusive.
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
# Keys of the interfaces for choices and classification.
_OTHER_RESULTS = ("accept", "options", "label")
_Numbered = tuple[int, dict[str, Any]]


def read_prodigy(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read the spans of each accepted text; rejected and ignored texts are left out and logged.

    The words are the tokens of a task. It is a problem if sessions labeled one text differently. A task of another
    interface (choices, labels of whole texts) is a problem, not a text without spans.

    Args:
        path: the output of `prodigy db-out`, UTF-8.
        options: `several` and `offsets`.
        repair: leave out or widen spans that cannot be converted instead of reporting them as fatal.

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
    """Yield one task per line, with lookboth's words as tokens; spans have scores, "meta" has the lowest score."""
    for marked in texts:
        spans = [_span(span) for span in marked.spans]
        task: dict[str, Any] = {"text": marked.text, "tokens": _tokens(marked), "spans": spans}
        scores = [span.score for span in marked.spans if span.score is not None]
        yield json_line(task | ({"meta": {"score": min(scores)}} if scores else {}))


def _tokens(marked: Marked) -> list[dict[str, Any]]:
    # "ws" is whether white space follows the token, so the start of the next one is needed.
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
    """Return the first record of each task; log tasks that several sessions annotated differently."""
    first: dict[Any, _Numbered] = {}
    for number, record in records:
        # An input has one hash in all sessions; without hashes every line is a task of its own.
        key = repr(record.get("_input_hash", (record.get("text"), number)))
        before = first.setdefault(key, (number, record))
        if before[0] != number and _places(before[1]) != _places(record):
            message = f"annotated differently from {log.where(before[0])}, the same text"
            log.add(number, "annotations", message, "the first is used")
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
        message = f"{other!r} belongs to an interface without spans; only entity and span interfaces are read"
        log.add(number, "other-results", message, "the line is left out")
        return None
    if not isinstance(text, str) or not isinstance(spans, list):
        message = f"keys {sorted(record)!r:.100} are not supported; {_ALLOWED}"
        log.add(number, "json", message, "the line is left out")
        return None
    if record.get("relations"):
        log.add(number, "other-results", "relations are not converted", fatal=False)
    return text_sentence(
        text,
        spans,
        number,
        log,
        tokens=record.get("tokens"),
        several=options.several,
        counting=options.counting,
    )
