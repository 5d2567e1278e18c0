"""Kinds of published and annotated data: how each is recognized, read and described."""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from lookboth.data import JSONL_SUFFIXES, is_text_with_entities, open_values, preview
from lookboth.data.conversion.brat import read_brat
from lookboth.data.conversion.conll2003 import read_conll2003
from lookboth.data.conversion.conll2012 import BEGIN, read_conll2012
from lookboth.data.conversion.convert_options import Converted, ConvertOptions
from lookboth.data.conversion.doccano import read_doccano
from lookboth.data.conversion.events import read_events
from lookboth.data.conversion.inline import WIKINER_LINE, read_opennlp, read_wikiner
from lookboth.data.conversion.label_studio import (
    has_sentences_as_words,
    read_label_studio,
    read_label_studio_conll,
)
from lookboth.data.conversion.layouts import (
    read_cluener,
    read_gliner,
    read_json,
    read_massive,
    read_rasa,
    read_slots,
    read_spacy_json,
)
from lookboth.data.conversion.prodigy import read_prodigy
from lookboth.data.conversion.semeval import read_semeval
from lookboth.errors import DataError

BRAT_SUFFIXES = (".ann", ".a1", ".a2")
# Records from which a kind is recognized; an export may begin with many that are not annotated.
_NUM_VALUES = 10_000
# Bytes of a file that is not JSON; enough for a header and some sentences.
_NUM_BYTES = 65536
_TABLES = (".csv", ".tsv")


class Sample(NamedTuple):
    """Beginning of a file, for the recognition of its kind.

    Args:
        path: path of the file or folder.
        values: the first values of a JSON file.
        lines: the first lines of any other file; the last one may be truncated.
    """

    path: Path
    values: tuple[Any, ...] = ()
    lines: tuple[str, ...] = ()

    def records(self) -> Iterator[Mapping[str, Any]]:
        """Yield the values that are objects."""
        return (value for value in self.values if isinstance(value, Mapping))

    def has_keys(self, *keys: str) -> bool:
        """Return whether any object has all of these keys."""
        return any(record.keys() >= set(keys) for record in self.records())


class Kind(NamedTuple):
    """A kind of data.

    Args:
        read: reads a file of this kind, given the options and whether to repair.
        options: names of the options that apply.
        describe: description of the kind, for messages.
        fits: returns whether a file looks like this kind; None if it looks like plain columns or JSON.
        is_direct: whether all commands read this kind without a conversion. Kinds in which options or several
            annotators require a choice are converted first.
    """

    read: Callable[..., Converted]
    options: tuple[str, ...]
    describe: str
    fits: Callable[[Sample], bool] | None = None
    is_direct: bool = False


def _is_ace05(sample: Sample) -> bool:
    return any(
        sample.has_keys(*keys)
        for keys in (
            ("words", "golden-event-mentions"),
            ("tokens", "event_mentions"),
            ("sentences", "events"),
        )
    )


def _is_brat(sample: Sample) -> bool:
    if sample.path.is_dir():
        return any(file.suffix in BRAT_SUFFIXES for file in islice(sample.path.rglob("*.a*"), _NUM_VALUES))
    beside = (sample.path.with_suffix(suffix) for suffix in BRAT_SUFFIXES)
    return sample.path.suffix in BRAT_SUFFIXES or (
        sample.path.suffix == ".txt" and any(path.is_file() for path in beside)
    )


def _is_conll2012(sample: Sample) -> bool:
    return any(line.startswith(BEGIN) for line in sample.lines)


def _is_doccano(sample: Sample) -> bool:
    lists = (record.get(key) for record in sample.records() for key in ("label", "labels"))
    triples = (item for value in lists if isinstance(value, list) for item in value)
    if any(isinstance(item, list) and list(map(type, item)) == [int, int, str] for item in triples):
        return any(isinstance(record.get("text", record.get("data")), str) for record in sample.records())
    return any("start_offset" in item for item in _entities(sample)) or sample.has_keys(
        "entities", "Comments"
    )


def _is_label_studio(sample: Sample) -> bool:
    if sample.path.suffix.lower() in _TABLES:
        return bool(sample.lines) and "annotation_id" in sample.lines[0] and "annotator" in sample.lines[0]
    tasks = (record for record in sample.records() if isinstance(record.get("data"), Mapping))
    results = ("annotations", "completions", "predictions")
    return any(key in task for task in tasks for key in results) or sample.has_keys(
        "annotator", "annotation_id"
    )


def _is_prodigy(sample: Sample) -> bool:
    return sample.has_keys("text", "_task_hash") or sample.has_keys("text", "answer")


def _is_semeval(sample: Sample) -> bool:
    head = "".join(sample.lines)
    return any(mark in head for mark in ("<sentences", "<Reviews")) and "<sentence" in head


def _is_spacy(sample: Sample) -> bool:
    return any(map(is_text_with_entities, sample.values))


def _is_cluener(sample: Sample) -> bool:
    labels = [record["label"] for record in sample.records() if isinstance(record.get("label"), Mapping)]
    return any(isinstance(mentions, Mapping) for label in labels for mentions in label.values())


def _is_rasa(sample: Sample) -> bool:
    return sample.has_keys("text", "intent") or any(
        item.keys() >= {"entity", "value"} for item in _entities(sample)
    )


def _is_wikiner(sample: Sample) -> bool:
    # The last line may be truncated.
    lines = [line for line in sample.lines[:-1] or sample.lines if line.strip()]
    return bool(lines) and all(map(WIKINER_LINE.fullmatch, lines))


def _is_opennlp(sample: Sample) -> bool:
    return any(re.search(r"<START(:\S+)?>.*<END>", line) for line in sample.lines)


def _entities(sample: Sample) -> Iterator[Mapping[str, Any]]:
    lists = (record.get("entities") for record in sample.records())
    return (item for value in lists if isinstance(value, list) for item in value if isinstance(item, Mapping))


_OVER_TEXT = ("several",)
_OVER_OFFSETS = ("offsets", "several")
KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "ace05": Kind(
            read_events, ("label",), "ACE 2005 event triggers: JSON of the usual preprocessings", _is_ace05
        ),
        "brat": Kind(read_brat, _OVER_TEXT, "brat's standoff: a document, or a folder of them", _is_brat),
        "cluener": Kind(read_cluener, _OVER_OFFSETS, "CLUENER: JSON lines", _is_cluener, is_direct=True),
        "conll2003": Kind(read_conll2003, ("column", "documents"), "the four columns of CoNLL-2003"),
        "conll2012": Kind(
            read_conll2012, ("documents",), "the columns of CoNLL-2012", _is_conll2012, is_direct=True
        ),
        "doccano": Kind(read_doccano, _OVER_OFFSETS, "a doccano export (JSONL)", _is_doccano),
        "gliner": Kind(
            read_gliner,
            _OVER_TEXT,
            "training data of GLiNER (JSON)",
            lambda sample: sample.has_keys("tokenized_text", "ner"),
            is_direct=True,
        ),
        "json": Kind(
            read_json,
            (*_OVER_OFFSETS, "text_field", "label_field", "scheme"),
            "JSON with tokens and tags, or texts and spans",
        ),
        "label-studio": Kind(
            read_label_studio,
            (*_OVER_TEXT, "text_field"),
            "a Label Studio export (JSON, JSON_MIN or CSV)",
            _is_label_studio,
        ),
        "label-studio-conll": Kind(
            read_label_studio_conll,
            (),
            "Label Studio's CONLL",
            lambda sample: has_sentences_as_words(sample.lines),
            is_direct=True,
        ),
        "massive": Kind(
            read_massive,
            _OVER_TEXT,
            "MASSIVE (JSON lines)",
            lambda sample: sample.has_keys("annot_utt"),
            is_direct=True,
        ),
        "nlupp": Kind(read_slots, (), "NLU++ slots: JSON", lambda sample: sample.has_keys("text", "slots")),
        "opennlp": Kind(
            read_opennlp, (), "OpenNLP's <START:name> marks in the text", _is_opennlp, is_direct=True
        ),
        "prodigy": Kind(read_prodigy, _OVER_OFFSETS, "a Prodigy export (JSONL)", _is_prodigy, is_direct=True),
        "rasa": Kind(read_rasa, _OVER_OFFSETS, "training data of Rasa (JSON)", _is_rasa, is_direct=True),
        "semeval-absa": Kind(
            read_semeval,
            ("polarities", *_OVER_TEXT),
            "SemEval 2014-16 aspect terms with polarity: XML",
            _is_semeval,
        ),
        "spacy-json": Kind(
            read_spacy_json,
            _OVER_OFFSETS,
            "training data of spaCy 2 or NER annotator (JSON)",
            _is_spacy,
            is_direct=True,
        ),
        "wikiner": Kind(read_wikiner, (), "WikiNER's word|POS|tag in the text", _is_wikiner, is_direct=True),
    }
)


def recognize(path: str | Path) -> str | None:
    """Return the name of the kind that a file or folder looks like, or None.

    Args:
        path: an existing file or folder.
    """
    sample = _take_sample(Path(path))
    return next((name for name, kind in KINDS.items() if kind.fits is not None and kind.fits(sample)), None)


def advise_conversion(name: str, path: str | Path) -> str:
    """Return the message for a file that only `lookboth convert` reads.

    Args:
        name: name of the kind.
        path: the file or folder.
    """
    source = Path(path)
    out = source.with_name(f"{source.stem}.jsonl")
    out = source.with_name(f"{source.stem}.converted.jsonl") if out == source else out
    command = f"lookboth convert {name} {shlex.quote(str(source))} {shlex.quote(str(out))}"
    return f"{path}: this looks like {KINDS[name].describe}; type: {command}"


def read_direct(name: str, path: str | Path, *, repair: bool) -> Converted:
    """Read a file of a kind that needs no conversion.

    Args:
        name: name of the kind.
        path: the file.
        repair: as in the kind's reader.

    Raises:
        DataError: the kind needs a conversion (the message has the command), or the file cannot be read at all.
    """
    if not KINDS[name].is_direct:
        raise DataError(advise_conversion(name, path))
    return KINDS[name].read(path, ConvertOptions(), repair=repair)


def _take_sample(path: Path) -> Sample:
    if path.is_dir():
        return Sample(path)
    if path.suffix.lower() in JSONL_SUFFIXES:
        try:
            values = [value for _, value in islice(open_values(path, "", repair=True)[1], _NUM_VALUES)]
        # Only recognition happens here; the reader of the file reports the error.
        except DataError:
            values = []
        return Sample(path, tuple(values))
    try:
        with path.open("rb") as file:
            head = file.read(_NUM_BYTES)
    except (OSError, ValueError):
        return Sample(path)
    return Sample(path, lines=tuple(preview(head).splitlines()))
