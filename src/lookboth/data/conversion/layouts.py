"""Readers of JSON with one sentence per record: spaCy 2, GLiNER, CLUENER, Rasa, MASSIVE, NLU++ and plain records."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lookboth.data import (
    ProblemLog,
    Sentence,
    build_dataset,
    is_text_with_entities,
    open_values,
    read_jsonl,
    text_sentence,
)
from lookboth.data.conversion.convert_options import Converted, ConvertOptions
from lookboth.data.conversion.marked_slots import unmark
from lookboth.data.conversion.wordspans import WordSpan, string_list, word_spans

_SPACY = 'write ["text", {"entities": [[start, end, "NAME"]]}]'
_GLINER = 'write {"tokenized_text": [...], "ner": [[first word, last word, "NAME"]]}'
_CLUENER = 'write {"text": "...", "label": {"NAME": {"mention": [[first, last character]]}}}'
_RASA = 'write {"text": "...", "entities": [{"start": 0, "end": 3, "value": "...", "entity": "NAME"}]}'
_MASSIVE = 'write {"utt": "wake me at five", "annot_utt": "wake me at [time : five]"}'
_NLUPP = 'write {"text": "...", "slots": {"NAME": {"text": "...", "span": [start, end]}}}'
_SLOT = re.compile(r"\[\s*(?P<label>[^\[\]:]+?)\s*:\s*(?P<text>[^\[\]]*?)\s*\]")


def read_spacy_json(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read training data of spaCy 2 and NER annotator, `[text, {"entities": [[start, end, label]]}]`.

    Args:
        path: the file, UTF-8: one JSON list, one value per line, or an object with one list of values.
        options: `several` and `offsets`.
        repair: leave out or widen spans that cannot be converted instead of reporting them as fatal.

    Raises:
        DataError: if the file cannot be read at all.
    """
    return _read(path, options, _SPACY, _spacy, repair=repair)


def read_gliner(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read training data of GLiNER: words, and spans whose last word is inclusive.

    Args:
        path, options, repair: as in `read_spacy_json`.

    Raises:
        DataError: if the file cannot be read at all.
    """
    return _read(path, options, _GLINER, _gliner, repair=repair)


def read_cluener(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read CLUENER 2020: labels with mentions and their offsets, whose last character is inclusive.

    Args:
        path, options, repair: as in `read_spacy_json`.

    Raises:
        DataError: if the file cannot be read at all.
    """
    return _read(path, options, _CLUENER, _cluener, repair=repair)


def read_rasa(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read the entities of Rasa's JSON training data; a text may lack "entities".

    Args:
        path, options, repair: as in `read_spacy_json`.

    Raises:
        DataError: if the file cannot be read at all.
    """
    return _read(path, options, _RASA, _rasa, repair=repair)


def read_massive(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read the slots of MASSIVE, `wake me at [time : five am]`.

    Args:
        path, options, repair: as in `read_spacy_json`.

    Raises:
        DataError: if the file cannot be read at all.
    """
    return _read(path, options, _MASSIVE, _massive, repair=repair)


def read_slots(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read the slots of an NLU++ fold as spans; a text may lack "slots".

    Args:
        path: the file, UTF-8: one JSON list, or one object per line.
        options: none apply.
        repair: leave out or widen spans that do not cover whole words instead of reporting them as fatal.

    Raises:
        DataError: if the file cannot be read at all.
    """
    return _read(path, options, _NLUPP, _nlupp, repair=repair)


def read_json(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read JSON records with `read_jsonl`.

    Args:
        path: the file, UTF-8.
        options: `several`, `offsets`, `text_field`, `label_field`, `scheme` and `labels`.
        repair: as in `read_jsonl`.

    Raises:
        DataError: if the file cannot be read at all.
    """
    dataset = read_jsonl(
        path,
        scheme=options.scheme,
        text_field=options.text_field,
        label_field=options.label_field,
        labels=options.class_names,
        several=options.several,
        counting=options.counting,
        repair=repair,
    )
    return Converted(dataset)


_Parse = Callable[[Any, ConvertOptions, int, ProblemLog], Sentence | str | None]


def _read(
    path: str | Path, options: ConvertOptions, allowed: str, parse: _Parse, *, repair: bool
) -> Converted:
    log, values = open_values(path, allowed, repair=repair)
    sentences = []
    for number, value in values:
        sentence = parse(value, options, number, log)
        if isinstance(sentence, str):
            log.add(number, "json", f"{sentence}; {allowed}", "the record is left out")
        elif sentence is not None:
            sentences.append(sentence)
    return Converted(build_dataset(sentences, "IOB2", log))


def _spacy(value: Any, options: ConvertOptions, number: int, log: ProblemLog) -> Sentence | str | None:
    if value is None:
        log.add(number, "not-annotated", "the text is not annotated; it is left out", fatal=False)
        return None
    if not is_text_with_entities(value) or "entities" not in value[1]:
        return f"{value!r:.80} is not a text with 'entities'"
    return text_sentence(
        value[0], value[1]["entities"], number, log, several=options.several, counting=options.counting
    )


def _gliner(value: Any, options: ConvertOptions, number: int, log: ProblemLog) -> Sentence | str | None:
    words = string_list(value.get("tokenized_text")) if isinstance(value, Mapping) else None
    if words is None or not isinstance(value.get("ner"), list):
        return f"{value!r:.80} needs a list 'tokenized_text' of words and a list 'ner'"
    spans = [span for item in value["ner"] if (span := _word_span(item, number, log)) is not None]
    return Sentence(words, (number,), None, word_spans(spans, words, number, log, several=options.several))


def _word_span(item: Any, number: int, log: ProblemLog) -> WordSpan | None:
    match item:
        case [int(start), int(last), str(label)] if label.strip():
            return WordSpan(start, last + 1, label)
        case _:
            message = f"{item!r:.80} is not a span; write [first word, last word, label]"
            log.add(number, "span", message, "the span is left out")
            return None


def _cluener(value: Any, options: ConvertOptions, number: int, log: ProblemLog) -> Sentence | str | None:
    text = value.get("text") if isinstance(value, Mapping) else None
    if not isinstance(text, str) or not isinstance(value.get("label"), Mapping):
        return f"{value!r:.80} needs a 'text' and an object 'label'"
    spans = list(_mentions(value["label"], number, log))
    return text_sentence(text, spans, number, log, several=options.several, counting=options.counting)


def _mentions(labels: Mapping[str, Any], number: int, log: ProblemLog) -> Iterator[dict[str, Any]]:
    for label, mentions in labels.items():
        # An invalid value goes through as well, so that it is reported below.
        for mention, places in mentions.items() if isinstance(mentions, Mapping) else [("", mentions)]:
            for place in places if isinstance(places, list) else [places]:
                match place:
                    case [int(start), int(last)] if mention:
                        yield {"start": start, "end": last + 1, "label": label, "text": mention}
                    case _:
                        message = f"{label} {mention!r:.40}: {place!r:.40} is not [first, last character]"
                        log.add(number, "span", message, "the span is left out")


def _rasa(value: Any, options: ConvertOptions, number: int, log: ProblemLog) -> Sentence | str | None:
    if not isinstance(value, Mapping) or not isinstance(value.get("text"), str):
        return f"{value!r:.80} has no 'text'"
    entities = value.get("entities") or []
    listed = entities if isinstance(entities, list) else []
    if any(isinstance(entity, Mapping) and ("role" in entity or "group" in entity) for entity in listed):
        log.add(number, "other-results", "roles and groups of entities are not converted", fatal=False)
    return text_sentence(
        value["text"], entities, number, log, several=options.several, counting=options.counting
    )


def _massive(value: Any, options: ConvertOptions, number: int, log: ProblemLog) -> Sentence | str | None:
    marked = value.get("annot_utt") if isinstance(value, Mapping) else None
    if not isinstance(marked, str):
        return f"{value!r:.80} has no 'annot_utt'"
    text, spans = unmark(marked, _SLOT, lambda match: [match["label"]])
    said = value.get("utt", text)
    # White space is ignored: the two fields differ in it around slots.
    if not isinstance(said, str) or "".join(said.split()) != "".join(text.split()):
        return f"'annot_utt' without slots, {marked!r:.60}, is not the 'utt' {said!r:.60}"
    return text_sentence(text, spans, number, log, several=options.several, counting=options.counting)


def _nlupp(value: Any, options: ConvertOptions, number: int, log: ProblemLog) -> Sentence | str | None:
    if not isinstance(value, Mapping):
        return "not a JSON object"
    if not isinstance(value.get("text"), str):
        return f"keys {sorted(value)!r:.100}: no 'text'"
    return text_sentence(value["text"], list(_slots(value.get("slots") or {}, number, log)), number, log)


def _slots(slots: Any, number: int, log: ProblemLog) -> Iterator[dict[str, Any]]:
    for name, values in slots.items() if isinstance(slots, Mapping) else [("slots", slots)]:
        for value in values if isinstance(values, list) else [values]:
            try:
                start, end = value["span"]
                said = {"text": value["text"]} if "text" in value else {}
            except (TypeError, KeyError, ValueError):
                message = f"slot {name!r} is {value!r:.80}; it needs a 'span' of two numbers"
                log.add(number, "span", message, "the slot is left out")
            else:
                yield {"start": start, "end": end, "label": name, **said}
