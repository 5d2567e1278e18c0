"""Reader of the slots of NLU++: JSON with the character span of each slot."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lookboth.data import ProblemLog, build_dataset, open_records, text_sentence
from lookboth.data.conversion.convert_options import Converted, ConvertOptions

_ALLOWED = 'write {"text": "...", "slots": {"NAME": {"text": "...", "span": [start, end]}}}'


def read_slots(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read the slots of an NLU++ fold as spans; a text may lack "slots".

    Args:
        path: the file, UTF-8: one JSON list, or one object per line.
        options: none apply.
        repair: leave out or widen spans that do not cover whole words instead of reporting them as fatal.

    Raises:
        DataError: if the file cannot be read at all.
    """
    log, records = open_records(path, _ALLOWED, repair=repair)
    sentences = [
        text_sentence(record["text"], list(_slots(record.get("slots") or {}, number, log)), number, log)
        for number, record in records
        if _has_text(record, number, log)
    ]
    return Converted(build_dataset(sentences, "IOB2", log))


def _has_text(record: dict[str, Any], number: int, log: ProblemLog) -> bool:
    if isinstance(record.get("text"), str):
        return True
    log.add(number, "json", f"keys {sorted(record)!r:.100}: no 'text'; {_ALLOWED}", "the record is left out")
    return False


def _slots(slots: Any, number: int, log: ProblemLog) -> Iterator[dict[str, Any]]:
    for name, values in slots.items() if isinstance(slots, dict) else [("slots", slots)]:
        for value in values if isinstance(values, list) else [values]:
            try:
                start, end = value["span"]
                said = {"text": value["text"]} if "text" in value else {}
            except (TypeError, KeyError, ValueError):
                message = f"slot {name!r} is {value!r:.80}; it needs a 'span' of two numbers"
                log.add(number, "span", message, "the slot is left out")
            else:
                yield {"start": start, "end": end, "label": name, **said}
