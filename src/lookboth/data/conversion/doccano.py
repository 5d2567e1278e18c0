"""doccano's JSONL of sequence labeling projects.

A line is `{"text": ..., "label": [[start, end, label], ...]}` (so doccano's own examples; older exports say "labels"),
or with "entities": [{"start_offset", "end_offset", "label"}] in projects with relations
(https://doccano.github.io/doccano/tutorial/). doccano counts UTF-16 units, as its editor is written in JavaScript
(https://github.com/doccano/doccano/issues/2290); in projects with "Count grapheme clusters as one character" it
counts those, which is not read here. The file does not say which, and texts without emoji look alike.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lookboth.data.conversion.marked import Marked
from lookboth.data.conversion.options import Converted, ConvertOptions
from lookboth.data.conversion.records import open_records, text_sentence
from lookboth.data.conversion.utf16 import Utf16Offsets
from lookboth.data.lines import json_line
from lookboth.data.problems import ProblemLog
from lookboth.data.sentences import Sentence, build_dataset

_ALLOWED = 'write {"text": "...", "label": [[start, end, "NAME"]]}'


def read_doccano(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read the spans of each text.

    Args:
        path: an export as JSONL, UTF-8.
        options: `offsets`.
        repair: leave out or widen what cannot be taken over instead of calling it fatal.

    Raises:
        DataError: if the file cannot be read at all.
    """
    log, records = open_records(path, _ALLOWED, repair=repair)
    utf16 = options.offsets != "codepoints"
    sentences = [
        sentence
        for number, record in records
        if (sentence := _read_record(record, utf16, number, log)) is not None
    ]
    return Converted(build_dataset(sentences, "IOB2", log))


def write_doccano(texts: Iterable[Marked]) -> Iterator[str]:
    """Yield one line a text; scores, which a span has no place for, are a field of their own (doccano: metadata)."""
    for marked in texts:
        offsets = Utf16Offsets(marked.text)
        places = [
            [offsets.from_code_points(s.start), offsets.from_code_points(s.end), s.label]
            for s in marked.spans
        ]
        scores = {"scores": [span.score for span in marked.spans]} if marked.predicted else {}
        yield json_line({"text": marked.text, "label": places, **scores})


def _read_record(record: Mapping[str, Any], utf16: bool, number: int, log: ProblemLog) -> Sentence | None:
    text = record.get("text", record.get("data"))
    spans = next((record[key] for key in ("label", "labels", "entities") if key in record), None)
    if not isinstance(text, str) or not isinstance(spans, list):
        message = f"keys {sorted(record)!r:.100} are not what is read; {_ALLOWED}"
        log.add(number, "json", message, "the line is left out")
        return None
    if record.get("relations"):
        log.add(number, "other-results", "relations are not taken over", fatal=False)
    offsets = Utf16Offsets(text) if utf16 else None
    read = [_span(span, offsets, number, log) for span in spans]
    return text_sentence(text, [span for span in read if span is not None], number, log)


def _span(span: Any, offsets: Utf16Offsets | None, number: int, log: ProblemLog) -> dict[str, Any] | None:
    """Return a span with "start", "end" and "label" as far as it has them; text_sentence names what is wrong."""
    if isinstance(span, list) and len(span) == 3:
        start, end, label = span
    elif isinstance(span, dict):
        start, end, label = (span.get(key) for key in ("start_offset", "end_offset", "label"))
    else:
        return {"not a span": span}
    if offsets is not None and type(start) is int and type(end) is int:
        places = offsets.to_code_points(start), offsets.to_code_points(end)
        if None in places:
            message = (
                f"{label} {start}..{end} is outside the text, or cuts an emoji; offsets count UTF-16 units"
            )
            log.add(number, "span", f"{message} (else pass --offsets codepoints)", "it is left out")
            return None
        start, end = places
    return {"start": start, "end": end, "label": label}
