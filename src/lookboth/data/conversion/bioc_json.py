"""Reader of BioC JSON, the same documents as in BioC XML: collections, lists or lines of documents, PubTator 3."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from lookboth.data import ProblemLog, open_values
from lookboth.data.conversion.bioc import convert_documents
from lookboth.data.conversion.convert_options import Converted, ConvertOptions
from lookboth.errors import DataError

_FORM = 'write {"documents": [{"passages": [{"offset": 0, "text": "...", "annotations": [...]}]}]}'


def read_bioc_json(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read the annotations of each passage or sentence; relations are not converted, and their number is logged.

    Args:
        path, options, repair: as in `read_bioc`.

    Raises:
        DataError: if the file cannot be read or has no document.
    """
    log, values = open_values(path, _FORM, repair=repair)
    found = list(find_documents([value for _, value in values]))
    if not found:
        raise DataError(f"{path}: no document with passages. {_FORM}.")
    log.unit = "document "
    relations = sum(map(_num_relations, found))
    documents = ((_element(document, number, log), number) for number, document in enumerate(found, 1))
    return convert_documents(documents, log, options, relations)


def find_documents(value: Any, *, depth: int = 4) -> Iterator[Mapping[str, Any]]:
    """Yield each document inside a JSON value, at most `depth` lists and objects deep."""
    if _is_document(value):
        yield value
    elif isinstance(value, Mapping | list) and depth:
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from find_documents(inner, depth=depth - 1)


def _is_document(value: Any) -> bool:
    passages = value.get("passages") if isinstance(value, Mapping) else None
    return isinstance(passages, list) and all(isinstance(p, Mapping) and "offset" in p for p in passages)


def _num_relations(document: Mapping[str, Any]) -> int:
    sentences = [inner for passage in document["passages"] for inner in passage.get("sentences") or ()]
    units = [unit for unit in (document, *document["passages"], *sentences) if isinstance(unit, Mapping)]
    return sum(len(unit.get("relations") or ()) for unit in units)


def _element(document: Mapping[str, Any], number: int, log: ProblemLog) -> Element:
    """Return a document as the element of BioC XML."""
    root = Element("document")
    for passage in document["passages"]:
        _add_unit(root, "passage", passage, number, log)
    return root


def _add_unit(parent: Element, kind: str, unit: Mapping[str, Any], number: int, log: ProblemLog) -> None:
    if not isinstance(unit.get("text", ""), str | None):
        message = f"the text {unit['text']!r:.40} is not a string; {_FORM}"
        log.add(number, "json", message, f"the {kind} is left out")
        return
    own = SubElement(parent, kind)
    _add_texts(own, unit, ("offset", "text"))
    for annotation in _objects(unit, "annotations", number, log):
        _add_annotation(own, annotation, number, log)
    for sentence in _objects(unit, "sentences", number, log):
        _add_unit(own, "sentence", sentence, number, log)


def _add_annotation(parent: Element, annotation: Mapping[str, Any], number: int, log: ProblemLog) -> None:
    own = SubElement(parent, "annotation", {"id": str(annotation.get("id", ""))})
    infons = annotation.get("infons")
    for key, value in infons.items() if isinstance(infons, Mapping) else ():
        if value is not None:
            SubElement(own, "infon", {"key": key}).text = str(value)
    for location in _objects(annotation, "locations", number, log):
        SubElement(own, "location", {key: str(location.get(key)) for key in ("offset", "length")})
    _add_texts(own, annotation, ("text",))


def _add_texts(parent: Element, unit: Mapping[str, Any], keys: Iterable[str]) -> None:
    for key in keys:
        if unit.get(key) is not None:
            SubElement(parent, key).text = str(unit[key])


def _objects(unit: Mapping[str, Any], key: str, number: int, log: ProblemLog) -> list[Mapping[str, Any]]:
    """Return the list of objects under a key; anything else is a problem."""
    found = unit.get(key)
    items = found if isinstance(found, list) else [] if found is None else [found]
    objects = [item for item in items if isinstance(item, Mapping)]
    if len(objects) < len(items):
        log.add(number, "json", f"{key} is not a list of objects; {_FORM}", "the rest is left out")
    return objects
