"""Reader and writer of doccano's JSONL for sequence labeling projects.

A line is `{"text": ..., "label": [[start, end, label], ...]}` (older exports: "labels"). Projects with relations have
"entities": [{"start_offset", "end_offset", "label"}] (https://doccano.github.io/doccano/tutorial/). doccano counts
UTF-16 units, because its editor is written in JavaScript (https://github.com/doccano/doccano/issues/2290); files made
by scripts often count code points. The file does not state which, so it is detected: in the right unit, spans begin
and end with words. Projects with "Count grapheme clusters as one character" count those; they are not supported.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lookboth.data import (
    COUNTINGS,
    END_KEYS,
    LABEL_KEYS,
    START_KEYS,
    OffsetReading,
    ProblemLog,
    Ruler,
    build_dataset,
    differing_readings,
    first_of,
    json_line,
    open_records,
    text_sentence,
)
from lookboth.data.conversion.convert_options import Converted, ConvertOptions
from lookboth.data.conversion.marked import Marked
from lookboth.types import Dataset

_ALLOWED = 'write {"text": "...", "label": [[start, end, "NAME"]]}'
_SPAN_KEYS = ("label", "labels", "entities")


class _Record(NamedTuple):
    """A line with a text and a list of spans; `said` is the offset unit that the line states (if lookboth wrote it)."""

    number: int
    text: str
    spans: list[Any]
    said: str | None


def read_doccano(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read the spans of each text.

    Args:
        path: a JSONL export, UTF-8.
        options: `offsets` and `several`.
        repair: leave out or widen spans that cannot be converted instead of reporting them as fatal.

    Raises:
        DataError: if the file cannot be read at all.
    """
    log, found = open_records(path, _ALLOWED, repair=repair)
    records = [
        record for number, values in found if (record := _read_record(values, number, log)) is not None
    ]
    name = None if _is_of_whole_texts(records, log) else options.offsets or _offsets_of(records, log)
    if name is None:
        return Converted(Dataset((), problems=log.problems(), name=log.name))
    sentences = [
        text_sentence(
            record.text, record.spans, record.number, log, several=options.several, counting=COUNTINGS[name]
        )
        for record in records
    ]
    return Converted(build_dataset(sentences, "IOB2", log))


def write_doccano(texts: Iterable[Marked]) -> Iterator[str]:
    """Yield one line per text.

    Scores are written as a field of their own (doccano: metadata), because spans cannot hold them. So is the offset
    unit if the text has characters for which the units differ.
    """
    for marked in texts:
        ruler = Ruler(marked.text, COUNTINGS["utf16"])
        places = [
            [ruler.from_code_points(s.start), ruler.from_code_points(s.end), s.label] for s in marked.spans
        ]
        scores = {"scores": [span.score for span in marked.spans]} if marked.predicted else {}
        said = {"offsets": "utf16"} if max(marked.text, default="") > "\uffff" else {}
        yield json_line({"text": marked.text, "label": places, **scores, **said})


def _read_record(record: Mapping[str, Any], number: int, log: ProblemLog) -> _Record | None:
    text = record.get("text", record.get("data"))
    lists = [record[key] for key in _SPAN_KEYS if isinstance(record.get(key), list)]
    filled = [spans for spans in lists if spans]
    reason = ""
    if not isinstance(text, str) or not lists:
        reason = f"keys {sorted(record)!r:.100} are not supported"
    elif any(spans != filled[0] for spans in filled):
        reason = (
            f"{' and '.join(key for key in _SPAN_KEYS if record.get(key))} both hold spans, and they differ"
        )
    if reason or not isinstance(text, str):
        log.add(number, "json", f"{reason}; {_ALLOWED}", "the line is left out")
        return None
    if record.get("relations"):
        log.add(number, "other-results", "relations are not converted", fatal=False)
    said = record.get("offsets")
    known = isinstance(said, str) and said in COUNTINGS
    return _Record(number, text, filled[0] if filled else [], said if known else None)


def _is_of_whole_texts(records: Sequence[_Record], log: ProblemLog) -> bool:
    """Return whether labels are names without offsets (labels of whole texts), and log it once."""
    named = [record for record in records if any(isinstance(span, str) for span in record.spans)]
    if named:
        found = f"the labels {named[0].spans!r:.60} belong to the whole text, not to spans"
        advice = "such a file needs no conversion: pass --task classification to check-data or train"
        log.add(named[0].number, "json", f"{found}; {advice}")
    return bool(named)


def _offsets_of(records: Sequence[_Record], log: ProblemLog) -> str | None:
    """Return the offset unit of a file; log a problem and return None if the spans do not decide it."""
    said = {record.said for record in records if record.said}
    if len(said) == 1:
        return said.pop()
    # Only spans that differ between the offset units are evidence.
    telling = [(record, *reading) for record in records for reading in _readings(record)]
    if not telling:
        # No span differs between the units, so either is right.
        return "utf16"
    hits = {name: sum(readings[name].fits for _, _, readings in telling) for name in COUNTINGS}
    best = max(hits, key=lambda name: hits[name])
    record, span, readings = telling[0]
    # UTF-16 units are what doccano itself writes, so they are read without a warning.
    if min(hits.values()) < hits[best] and best == "utf16":
        return best
    if min(hits.values()) < hits[best]:
        fits = f"{hits[best]:,} of {len(telling):,} spans after an emoji"
        message = f"by {fits}, the offsets count {COUNTINGS[best].unit}; they are read as such (else pass --offsets)"
        log.add(record.number, "offsets", message, fatal=False)
        return best
    both = " or ".join(f"{reading.covered!r:.40} (--offsets {name})" for name, reading in readings.items())
    why = "both fit the borders of words" if hits[best] else "neither covers whole words"
    message = f"{span} is {both}; {why}. Pass the right one"
    if not hits[best]:
        message += "; projects that count grapheme clusters are not supported"
    log.add(record.number, "offsets", message)
    return None


def _readings(record: _Record) -> Iterator[tuple[str, dict[str, OffsetReading]]]:
    """Yield a description and the readings of each span that differs between the offset units."""
    spans = [span for span in map(_read_span, record.spans) if span is not None]
    labels = {(start, end): label for start, end, label in spans}
    for place, readings in differing_readings(record.text, labels):
        yield f"{labels[place]} {place[0]}..{place[1]}", readings


def _read_span(span: Any) -> tuple[int, int, Any] | None:
    """Return start, end and label of a span, or None for invalid offsets, which `text_sentence` reports."""
    keys = (START_KEYS, END_KEYS, LABEL_KEYS)
    values = [first_of(span, names) for names in keys] if isinstance(span, Mapping) else span
    if not isinstance(values, list) or len(values) != 3:
        return None
    start, end, label = values
    return (start, end, label) if type(start) is int and type(end) is int else None
