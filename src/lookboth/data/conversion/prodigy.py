"""Prodigy's JSONL of the interfaces for entities and spans.

A line is `{"text", "tokens": [{"text", "start", "end", "id", "ws"}], "spans": [{"start", "end", "token_start",
"token_end", "label"}], "answer"}` (https://prodi.gy/docs/api-interfaces#ner_manual). Offsets are spaCy's and count code
points, the end exclusive; `token_end` is the last token of a span itself.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lookboth.data.conversion.marked import Marked, MarkedSpan
from lookboth.data.conversion.options import Converted, ConvertOptions
from lookboth.data.conversion.records import open_records, text_sentence
from lookboth.data.lines import json_line
from lookboth.data.problems import ProblemLog
from lookboth.data.sentences import Sentence, build_dataset

_ALLOWED = 'write {"text": "...", "spans": [{"start": 0, "end": 3, "label": "NAME"}], "answer": "accept"}'
_NOT_TAKEN = ("reject", "ignore")


def read_prodigy(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read the spans of each accepted text; what was rejected or ignored is left out, and named.

    Args:
        path: what `prodigy db-out` wrote, UTF-8.
        options: none mean anything here.
        repair: leave out or widen what cannot be taken over instead of calling it fatal.

    Raises:
        DataError: if the file cannot be read at all.
    """
    log, records = open_records(path, _ALLOWED, repair=repair)
    sentences = [
        sentence for number, record in records if (sentence := _read_record(record, number, log)) is not None
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


def _read_record(record: Mapping[str, Any], number: int, log: ProblemLog) -> Sentence | None:
    answer, text, spans = record.get("answer", "accept"), record.get("text"), record.get("spans", [])
    if answer in _NOT_TAKEN:
        log.add(number, "answer", f"the answer is {answer!r}; the text is left out", fatal=False)
        return None
    if not isinstance(text, str) or not isinstance(spans, list):
        message = f"keys {sorted(record)!r:.100} are not what is read; {_ALLOWED}"
        log.add(number, "json", message, "the line is left out")
        return None
    if record.get("relations"):
        log.add(number, "other-results", "relations are not taken over", fatal=False)
    return text_sentence(text, spans, number, log)
