"""doccano's JSONL of sequence labeling projects.

A line is `{"text": ..., "label": [[start, end, label], ...]}` (so doccano's own examples; older exports say "labels"),
or with "entities": [{"start_offset", "end_offset", "label"}] in projects with relations
(https://doccano.github.io/doccano/tutorial/). doccano counts UTF-16 units, as its editor is written in JavaScript
(https://github.com/doccano/doccano/issues/2290), but files made by scripts count code points, and the file does not say
which: its spans do, where only one counting puts their ends on the ends of words. In projects with "Count grapheme
clusters as one character" doccano counts those, which is not read here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lookboth.data import (
    COUNTINGS,
    END_KEYS,
    LABEL_KEYS,
    START_KEYS,
    ProblemLog,
    Reading,
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
    """A line with a text and a list of spans."""

    number: int
    text: str
    spans: list[Any]
    said: str | None  # how it counts, in files that lookboth wrote


def read_doccano(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read the spans of each text.

    Args:
        path: an export as JSONL, UTF-8.
        options: `offsets` and `several`.
        repair: leave out or widen what cannot be taken over instead of calling it fatal.

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

    What a span has no place for are fields of their own (doccano: metadata): scores, and what offsets count in a text
    where countings differ.
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
        reason = f"keys {sorted(record)!r:.100} are not what is read"
    elif any(spans != filled[0] for spans in filled):
        reason = (
            f"{' and '.join(key for key in _SPAN_KEYS if record.get(key))} both hold spans, and they differ"
        )
    if reason or not isinstance(text, str):
        log.add(number, "json", f"{reason}; {_ALLOWED}", "the line is left out")
        return None
    if record.get("relations"):
        log.add(number, "other-results", "relations are not taken over", fatal=False)
    said = record.get("offsets")
    known = isinstance(said, str) and said in COUNTINGS
    return _Record(number, text, filled[0] if filled else [], said if known else None)


def _is_of_whole_texts(records: Sequence[_Record], log: ProblemLog) -> bool:
    """Whether labels are names without a place, which is noted once: no text of the file has spans."""
    named = [record for record in records if any(isinstance(span, str) for span in record.spans)]
    if named:
        found = f"the labels {named[0].spans!r:.60} are of the whole text, not spans"
        advice = "such a file needs no conversion: pass --task classification to check-data or train"
        log.add(named[0].number, "json", f"{found}; {advice}")
    return bool(named)


def _offsets_of(records: Sequence[_Record], log: ProblemLog) -> str | None:
    """Return what the offsets of a file count, or None where its spans fit both countings, which is a problem."""
    said = {record.said for record in records if record.said}
    if len(said) == 1:
        return said.pop()
    telling = [(record, *told) for record in records for told in _readings(record)]
    if not telling:
        return "utf16"
    hits = {name: sum(readings[name].fits for _, _, readings in telling) for name in COUNTINGS}
    best = max(hits, key=lambda name: hits[name])
    record, span, readings = telling[0]
    if min(hits.values()) < hits[best] and best == "utf16":
        return best
    if min(hits.values()) < hits[best]:
        fits = f"{hits[best]:,} of {len(telling):,} spans behind an emoji"
        message = (
            f"the offsets count {COUNTINGS[best].unit}, by {fits}; they are read so (else pass --offsets)"
        )
        log.add(record.number, "offsets", message, fatal=False)
        return best
    both = " or ".join(f"{reading.covered!r:.40} (--offsets {name})" for name, reading in readings.items())
    why = "the borders of words do not tell which" if hits[best] else "neither is whole words"
    message = f"{span} is {both}; {why}. Pass the one that is meant"
    if not hits[best]:
        message += "; projects that count grapheme clusters are not read"
    log.add(record.number, "offsets", message)
    return None


def _readings(record: _Record) -> Iterator[tuple[str, dict[str, Reading]]]:
    """Yield the spans that differ between the countings, as messages show them, with their readings."""
    spans = [span for span in map(_read_span, record.spans) if span is not None]
    labels = {(start, end): label for start, end, label in spans}
    for place, readings in differing_readings(record.text, labels):
        yield f"{labels[place]} {place[0]}..{place[1]}", readings


def _read_span(span: Any) -> tuple[int, int, Any] | None:
    """Return start, end and label of a span, None for what has no whole numbers; text_sentence names those."""
    keys = (START_KEYS, END_KEYS, LABEL_KEYS)
    values = [first_of(span, names) for names in keys] if isinstance(span, Mapping) else span
    if not isinstance(values, list) or len(values) != 3:
        return None
    start, end, label = values
    return (start, end, label) if type(start) is int and type(end) is int else None
