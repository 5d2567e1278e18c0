"""Reader of ACE 2005 event triggers from the JSON of common preprocessing scripts."""

from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

from lookboth.data import ProblemLog, Sentence, build_dataset, open_records
from lookboth.data.conversion.convert_options import Converted, ConvertOptions
from lookboth.data.conversion.wordspans import WordSpan, string_list, word_spans

_ALLOWED = (
    'write {"words", "golden-event-mentions"}, {"tokens", "event_mentions"} (OneIE) '
    'or {"sentences", "events"} (DyGIE)'
)


def read_events(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read event triggers as spans labeled with the event type.

    Three forms are recognized by their keys: one JSON list of sentences with "words" and "golden-event-mentions",
    OneIE's lines with "tokens" and "event_mentions", and DyGIE's lines with "sentences" and "events". Overlapping
    triggers are problems; the repair keeps the longer one (ties: the first).

    Args:
        path: the file, UTF-8.
        options: `label`.
        repair: leave out invalid and overlapping triggers instead of reporting them as fatal.

    Raises:
        DataError: if the file cannot be read at all.
    """
    log, records = open_records(path, _ALLOWED, repair=repair)
    sentences = []
    for number, record in records:
        for words, events in _sentences(record, number, log):
            triggers = [_relabel(event, options.label or "full", number, log) for event in events]
            spans = word_spans([trigger for trigger in triggers if trigger], words, number, log)
            sentences.append(Sentence(words, (number,), None, spans))
    return Converted(build_dataset(sentences, "IOB2", log))


def _sentences(
    record: dict[str, Any], number: int, log: ProblemLog
) -> Iterator[tuple[tuple[str, ...], list[WordSpan]]]:
    """Yield the words and triggers of each sentence of a record; log an invalid record."""
    if "sentences" in record and "events" in record:
        yield from _dygie(record["sentences"], record["events"], number, log)
        return
    for words_key, events_key in (("words", "golden-event-mentions"), ("tokens", "event_mentions")):
        if words_key in record and events_key in record:
            words = string_list(record[words_key])
            if words is None:
                log.add(number, "json", f"{words_key!r} is not a list of words", "the record is left out")
                return
            yield words, _triggers(record[events_key], number, log)
            return
    message = f"keys {sorted(record)!r:.120} are not supported; {_ALLOWED}"
    log.add(number, "json", message, "the record is left out")


def _triggers(events: Any, number: int, log: ProblemLog) -> list[WordSpan]:
    found = []
    for event in events if isinstance(events, list) else [events]:
        try:
            trigger = event["trigger"]
            found.append(
                WordSpan(trigger["start"], trigger["end"], str(event["event_type"]), trigger.get("text"))
            )
        except (KeyError, TypeError, AttributeError):
            message = f"event {event!r:.80} needs 'event_type' and a 'trigger' with 'start' and 'end'"
            log.add(number, "event", message, "the event is left out")
    return found


def _dygie(
    sentences: Any, events: Any, number: int, log: ProblemLog
) -> Iterator[tuple[tuple[str, ...], list[WordSpan]]]:
    """Yield the sentences of DyGIE's format, whose word numbers count through the document with inclusive ends."""
    texts = [string_list(words) for words in sentences] if isinstance(sentences, list) else []
    listed = isinstance(events, list) and all(isinstance(found, list) for found in events)
    if not listed or len(events) != len(texts) or None in texts:
        message = (
            "'sentences' must be a list of lists of words, and 'events' a list with one list per sentence"
        )
        log.add(number, "json", message, "the record is left out")
        return
    words = [text for text in texts if text is not None]
    starts = accumulate((len(text) for text in words), initial=0)
    # Not strict: `starts` has one item more, the end of the document.
    for text, start, found in zip(words, starts, events, strict=False):
        triggers = []
        for event in found:
            try:
                *place, label = event[0]
                triggers.append(WordSpan(place[0] - start, place[-1] - start + 1, str(label)))
            except (TypeError, IndexError, KeyError, ValueError):
                message = f"event {event!r:.80} does not begin with [word number, event type]"
                log.add(number, "event", message, "the event is left out")
        yield text, triggers


def _relabel(event: WordSpan, label: str, number: int, log: ProblemLog) -> WordSpan | None:
    """Return the event labeled with the requested part of its type (Conflict:Attack is type and subtype)."""
    # DyGIE writes Conflict.Attack, the other forms Conflict:Attack.
    parts = event.label.replace(".", ":", 1).split(":", 1)
    if label == "full":
        return event._replace(label=":".join(parts))
    if len(parts) == 2:
        return event._replace(label=parts[label == "subtype"])
    message = f"the event type {event.label!r} has no subtype; write Type:Subtype"
    log.add(number, "event", message, "the event is left out")
    return None
