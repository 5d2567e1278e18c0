"""Reader of BioC XML: documents of passages, whose annotations have offsets into the document."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from lookboth.data import ProblemLog, Sentence, build_dataset, parse_char_spans
from lookboth.data.conversion.convert_options import Converted, ConvertOptions
from lookboth.data.conversion.line_units import line_sentences
from lookboth.data.conversion.xml_parsing import parse_xml
from lookboth.errors import DataError

_READ = ("document", "passage", "sentence", "annotation", "location")
_LEFT_OUT = "the annotation is left out"


def read_bioc(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read the annotations of each passage or sentence; relations are not converted, and their number is logged.

    The label is the infon "type" of an annotation. Annotations in several places are discontinuous and a problem.

    Args:
        path: the file.
        options: `several`, `offsets`, and `label_field`: the key of another infon.
        repair: leave out or widen spans that cannot be converted instead of reporting them as fatal.

    Raises:
        DataError: if the file cannot be read, is not BioC, or declares entities.
    """
    log = ProblemLog(str(path), repair=repair)
    root, lines = parse_xml(path, "document", _READ, "BioC", doctype=True)
    documents = list(root.iter("document"))
    if not documents:
        raise DataError(f"{path}: no <document> in <{root.tag}>; BioC has <collection><document><passage>.")
    relations = sum(1 for _ in root.iter("relation"))
    return convert_documents(zip(documents, lines, strict=True), log, options, relations)


def convert_documents(
    documents: Iterable[tuple[ElementTree.Element, int]],
    log: ProblemLog,
    options: ConvertOptions,
    relations: int,
) -> Converted:
    """Return the sentences of BioC documents with their spans.

    Args:
        documents: elements <document>, each with its number for messages.
        log: receives the problems.
        options: as in `read_bioc`.
        relations: number of relations, which are not converted.
    """
    sentences: list[Sentence] = []
    for name, (document, number) in enumerate(documents):
        for unit, annotations in _units(document):
            found = _sentences(unit, annotations, number, options, log)
            sentences += [replace(sentence, document=name) for sentence in found]
    if relations:
        log.add(1, "other-results", f"not spans, and not converted: {relations} relations", fatal=False)
    return Converted(build_dataset(sentences, "IOB2", log))


def _units(
    document: ElementTree.Element,
) -> Iterator[tuple[ElementTree.Element, Sequence[ElementTree.Element]]]:
    """Yield each element with a text and its annotations; a passage has a text, or sentences that have texts."""
    for passage in document.iter("passage"):
        inner = passage.findall("sentence")
        if passage.find("text") is not None or not inner:
            yield passage, [*passage.iter("annotation")]
            continue
        own = passage.findall("annotation")
        for number, sentence in enumerate(inner):
            begin, end = _offset(sentence), None if number + 1 == len(inner) else _offset(inner[number + 1])
            # The first sentence takes what begins before it, the last one what follows, so that nothing is lost.
            shared = [
                a for a in own if (number == 0 or _start(a) >= begin) and (end is None or _start(a) < end)
            ]
            yield sentence, [*sentence.findall("annotation"), *shared]


def _sentences(
    unit: ElementTree.Element,
    annotations: Sequence[ElementTree.Element],
    line: int,
    options: ConvertOptions,
    log: ProblemLog,
) -> list[Sentence]:
    text = unit.findtext("text") or ""
    key = options.label_field or "type"
    records = [_record(each, key, _offset(unit), line, log) for each in annotations]
    found = parse_char_spans([r for r in records if r is not None], text, line, log, options.counting)
    return line_sentences(text, found, log, several=options.several, number=line)


def _record(
    annotation: ElementTree.Element, key: str, offset: int, line: int, log: ProblemLog
) -> dict[str, Any] | None:
    said = annotation.findtext("text")
    infons = {infon.get("key", ""): infon.text or "" for infon in annotation.iter("infon")}
    locations = annotation.findall("location")
    shown = f"annotation {annotation.get('id', '')!r:.20} {said or ''!r:.40}"
    if len(locations) > 1:
        places = f"is discontinuous, in {len(locations)} places"
        log.add(line, "discontinuous", f"{shown} {places}; a span has no gaps", _LEFT_OUT)
        return None
    if not locations or key not in infons:
        missing = "location" if not locations else f"infon {key!r}, only {', '.join(infons) or 'none'}"
        log.add(line, "span", f"{shown} has no {missing}; name another infon: --label-field", _LEFT_OUT)
        return None
    start, length = _start(annotation), _number(locations[0].get("length"))
    record: dict[str, Any] = {"start": start - offset, "end": start - offset + length, "label": infons[key]}
    return record if said is None else {**record, "text": said}


def _start(annotation: ElementTree.Element) -> int:
    location = annotation.find("location")
    return -1 if location is None else _number(location.get("offset"))


def _offset(unit: ElementTree.Element) -> int:
    return _number(unit.findtext("offset") or "0")


def _number(value: str | None) -> int:
    """Return a number of the file; -1 for anything else, so that the check of spans reports it."""
    value = (value or "").strip()
    return int(value) if value.isdecimal() and len(value) < 19 else -1
