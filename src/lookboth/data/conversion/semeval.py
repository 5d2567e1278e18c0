"""Reader of SemEval 2014, 2015 and 2016 aspect-based sentiment analysis: XML with character spans of terms."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from lookboth.data import ProblemLog, build_dataset, text_sentence
from lookboth.data.conversion.convert_options import Converted, ConvertOptions
from lookboth.data.conversion.xml_parsing import parse_xml
from lookboth.errors import DataError

POLARITIES = ("positive", "negative", "neutral", "conflict")
_NO_TARGET = "NULL"
# Label of terms whose polarity is missing or not requested.
_ANY = "aspect"
_READ = ("sentence", "text", "aspectTerm", "Opinion")


def read_semeval(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read aspect terms as spans labeled with their polarity; out-of-scope sentences are left out and logged.

    Args:
        path: XML of SemEval-2014 task 4 (`sentences/sentence/aspectTerms`) or of SemEval-2015 task 12 and 2016
            task 5 (`Reviews/Review/sentences/sentence/Opinions`; targets that are not in the text have no span).
        options: `polarities` and `several`. Terms of a file without polarities are labeled "aspect".
        repair: leave out or widen spans that do not cover whole words instead of reporting them as fatal.

    Raises:
        DataError: if the file cannot be read, is not such XML, has a DOCTYPE, or has its sentences in a namespace.
    """
    log = ProblemLog(str(path), repair=repair)
    root, lines = parse_xml(path, "sentence", _READ, "SemEval 2014-16")
    kept = _kept_polarities(root, options, log)
    elements = list(zip(root.iter("sentence"), lines, strict=True))
    sentences = [
        text_sentence(text, list(_terms(element, text, line, kept, log)), line, log, several=options.several)
        for element, line in elements
        for text in [element.findtext("text") or ""]
        if not _is_out_of_scope(element, line, log)
    ]
    # Other XML parses as well, but has no sentences.
    if not elements:
        raise DataError(f"{path}: no <sentence> in <{root.tag}>; SemEval 2014-16 has <sentence><text>.")
    return Converted(build_dataset(sentences, "IOB2", log))


def _kept_polarities(root: ElementTree.Element, options: ConvertOptions, log: ProblemLog) -> tuple[str, ...]:
    """Return the polarities that become labels; none if all terms have one label."""
    if options.polarities is not None:
        return POLARITIES[: options.polarities]
    terms = [term for name in ("aspectTerm", "Opinion") for term in root.iter(name)]
    if any("polarity" in term.attrib for term in terms) or not terms:
        return POLARITIES[:3]
    message = f"no term has a polarity; all are labeled {_ANY!r}"
    log.add(1, "polarity", message, fatal=False)
    return ()


def _is_out_of_scope(element: ElementTree.Element, line: int, log: ProblemLog) -> bool:
    """Return whether the annotators marked a sentence as out of scope, and log it."""
    out = element.get("OutOfScope", "").lower() == "true"
    if out:
        log.add(
            line, "out-of-scope", "the sentence is out of scope, not annotated; it is left out", fatal=False
        )
    return out


def _terms(
    element: ElementTree.Element, text: str, line: int, kept: tuple[str, ...], log: ProblemLog
) -> Iterator[dict[str, Any]]:
    terms = [(term, term.get("term")) for term in element.iter("aspectTerm")]
    opinions = [(term, term.get("target")) for term in element.iter("Opinion")]
    terms += [(term, said) for term, said in opinions if said not in (None, _NO_TARGET)]
    for term, said in terms:
        polarity = term.get("polarity", "") if kept else _ANY
        if kept and polarity not in POLARITIES:
            message = f"{said!r:.40} has the polarity {polarity!r}; allowed are {', '.join(POLARITIES)}"
            message += f"; --polarities 0 labels all terms {_ANY!r}"
            log.add(line, "polarity", message, "the term is left out")
        elif kept and polarity not in kept:
            message = f"{said!r:.40} has the polarity {polarity!r}, which only --polarities 4 keeps"
            log.add(line, "polarity", f"{message}; it is left out", fatal=False)
        else:
            yield _record(term, said, polarity, text)


def _record(term: ElementTree.Element, said: str | None, polarity: str, text: str) -> dict[str, Any]:
    """Return the span of a term; invalid numbers are kept, so that the check of spans reports them."""
    start, end = map(_number, (term.get("from"), term.get("to")))
    record = {"start": start, "end": end, "label": polarity}
    covered = text[start:end] if isinstance(start, int) and isinstance(end, int) else ""
    # XML parsers normalize white space in attributes, so runs of it may differ.
    same = said is not None and covered.split() == said.split()
    return record if said is None or same else {**record, "text": said}


def _number(value: str | None) -> int | str | None:
    return int(value) if value is not None and value.isdecimal() and len(value) < 20 else value
