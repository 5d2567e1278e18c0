"""Kinds of published and annotated data: how each is recognized, read and described."""

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from lookboth.data import stem_of
from lookboth.data.conversion import recognizers as looks
from lookboth.data.conversion.aste import read_aste
from lookboth.data.conversion.bioc import read_bioc
from lookboth.data.conversion.bioc_json import read_bioc_json
from lookboth.data.conversion.brat import read_brat
from lookboth.data.conversion.conll2003 import read_conll2003
from lookboth.data.conversion.conll2012 import read_conll2012
from lookboth.data.conversion.conllu import read_conllu
from lookboth.data.conversion.convert_options import Converted, ConvertOptions
from lookboth.data.conversion.docbin import read_docbin
from lookboth.data.conversion.doccano import read_doccano
from lookboth.data.conversion.events import read_events
from lookboth.data.conversion.inline import read_opennlp, read_wikiner
from lookboth.data.conversion.label_studio import read_label_studio, read_label_studio_conll
from lookboth.data.conversion.layouts import (
    read_cluener,
    read_gliner,
    read_json,
    read_massive,
    read_rasa,
    read_slots,
    read_spacy_json,
)
from lookboth.data.conversion.marked_slots import read_rasa_text
from lookboth.data.conversion.prodigy import read_prodigy
from lookboth.data.conversion.pubtator import read_pubtator
from lookboth.data.conversion.recognizers import Sample, take_sample
from lookboth.data.conversion.row_tables import read_row_table
from lookboth.data.conversion.semeval import read_semeval
from lookboth.data.conversion.slot_files import read_atis, read_seq_in, read_snips
from lookboth.data.conversion.webanno import read_webanno
from lookboth.errors import DataError


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


# Options of readers of spans over text; `offsets` where files may count in other units.
_OVER_TEXT = ("several",)
_OVER_OFFSETS = ("offsets", "several")
KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "ace05": Kind(
            read_events,
            ("label",),
            "ACE 2005 event triggers: JSON of the usual preprocessings",
            looks.is_ace05,
        ),
        "aste": Kind(
            read_aste,
            _OVER_TEXT,
            "aspect sentiment triplets or tags after ####",
            looks.is_aste,
            is_direct=True,
        ),
        "atis": Kind(read_atis, (), "ATIS: BOS words EOS<TAB>tags intent", looks.is_atis, is_direct=True),
        "bioc": Kind(
            read_bioc,
            (*_OVER_OFFSETS, "label_field", "documents"),
            "a BioC collection (XML)",
            looks.is_bioc,
            is_direct=True,
        ),
        "bioc-json": Kind(
            read_bioc_json,
            (*_OVER_OFFSETS, "label_field", "documents"),
            "a BioC collection (JSON)",
            looks.is_bioc_json,
            is_direct=True,
        ),
        "brat": Kind(
            read_brat,
            (*_OVER_TEXT, "documents"),
            "brat's standoff: a document, or a folder of them",
            looks.is_brat,
            is_direct=True,
        ),
        "cluener": Kind(read_cluener, _OVER_OFFSETS, "CLUENER: JSON lines", looks.is_cluener, is_direct=True),
        "conll2003": Kind(read_conll2003, ("column", "documents"), "the four columns of CoNLL-2003"),
        "conll2012": Kind(
            read_conll2012, ("documents",), "the columns of CoNLL-2012", looks.is_conll2012, is_direct=True
        ),
        "conllu": Kind(
            read_conllu,
            (*_OVER_TEXT, "documents"),
            "CoNLL-U with entities in MISC",
            looks.is_conllu,
            is_direct=True,
        ),
        "doccano": Kind(read_doccano, _OVER_OFFSETS, "a doccano export (JSONL)", looks.is_doccano),
        "gliner": Kind(
            read_gliner, _OVER_TEXT, "training data of GLiNER (JSON)", looks.is_gliner, is_direct=True
        ),
        "json": Kind(
            read_json,
            (*_OVER_OFFSETS, "text_field", "label_field", "scheme", "class_names", "documents"),
            "JSON with tokens and tags, or texts and spans",
        ),
        "label-studio": Kind(
            read_label_studio,
            (*_OVER_TEXT, "text_field"),
            "a Label Studio export (JSON, JSON_MIN or CSV)",
            looks.is_label_studio,
        ),
        "label-studio-conll": Kind(
            read_label_studio_conll, (), "Label Studio's CONLL", looks.is_label_studio_conll, is_direct=True
        ),
        "massive": Kind(read_massive, _OVER_TEXT, "MASSIVE (JSON lines)", looks.is_massive, is_direct=True),
        "nlupp": Kind(read_slots, (), "NLU++ slots: JSON", looks.is_nlupp, is_direct=True),
        "opennlp": Kind(
            read_opennlp, (), "OpenNLP's <START:name> marks in the text", looks.is_opennlp, is_direct=True
        ),
        "prodigy": Kind(
            read_prodigy, _OVER_OFFSETS, "a Prodigy export (JSONL)", looks.is_prodigy, is_direct=True
        ),
        "pubtator": Kind(
            read_pubtator,
            (*_OVER_OFFSETS, "documents"),
            "PubTator: ID|t|title, ID|a|abstract and annotations",
            looks.is_pubtator,
            is_direct=True,
        ),
        "rasa": Kind(read_rasa, _OVER_OFFSETS, "training data of Rasa (JSON)", looks.is_rasa, is_direct=True),
        "rasa-text": Kind(
            read_rasa_text,
            _OVER_TEXT,
            "training data of Rasa (YAML or Markdown)",
            looks.is_rasa_text,
            is_direct=True,
        ),
        "row-table": Kind(
            read_row_table,
            ("text_field", "label_field", "scheme", "class_names"),
            "a CSV or TSV with one text per row",
            looks.is_row_table,
            is_direct=True,
        ),
        "semeval-absa": Kind(
            read_semeval,
            ("polarities", *_OVER_TEXT),
            "SemEval 2014-16 aspect terms with polarity: XML",
            looks.is_semeval,
        ),
        "seq-in": Kind(read_seq_in, (), "a folder with seq.in and seq.out", looks.is_seq_in, is_direct=True),
        "snips": Kind(read_snips, (), "SNIPS: JSON of text pieces", looks.is_snips, is_direct=True),
        "spacy": Kind(
            read_docbin,
            (*_OVER_TEXT, "label_field"),
            "spaCy's binary data (DocBin)",
            looks.is_docbin,
            is_direct=True,
        ),
        "spacy-json": Kind(
            read_spacy_json,
            _OVER_OFFSETS,
            "training data of spaCy 2 or NER annotator (JSON)",
            looks.is_spacy,
            is_direct=True,
        ),
        "webanno": Kind(
            read_webanno,
            (*_OVER_TEXT, "label_field", "documents"),
            "WebAnno TSV 3",
            looks.is_webanno,
            is_direct=True,
        ),
        "wikiner": Kind(
            read_wikiner, (), "WikiNER's word|POS|tag in the text", looks.is_wikiner, is_direct=True
        ),
    }
)


def recognize(path: str | Path) -> str | None:
    """Return the name of the kind that a file or folder looks like, or None.

    Args:
        path: an existing file or folder.
    """
    sample = take_sample(Path(path))
    return next((name for name, kind in KINDS.items() if kind.fits is not None and kind.fits(sample)), None)


def advise_conversion(name: str, path: str | Path) -> str:
    """Return the message for a file that only `lookboth convert` reads.

    Args:
        name: name of the kind.
        path: the file or folder.
    """
    source = Path(path)
    out = source.with_name(f"{stem_of(source)}.jsonl")
    # The output must not replace the input.
    out = source.with_name(f"{stem_of(source)}.converted.jsonl") if out == source else out
    command = f"lookboth convert {name} {shlex.quote(str(source))} {shlex.quote(str(out))}"
    return f"{path}: this looks like {KINDS[name].describe}; type: {command}"


def is_direct_folder(path: str | Path) -> bool:
    """Return whether a folder is read as one file: documents of brat, or seq.in and seq.out."""
    name = recognize(path) if Path(path).is_dir() else None
    return name is not None and KINDS[name].is_direct


def read_direct(name: str, path: str | Path, options: ConvertOptions, *, repair: bool) -> Converted:
    """Read a file of a kind that needs no conversion.

    Args:
        name: name of the kind.
        path: the file or folder.
        options: options that apply to the kind.
        repair: as in the kind's reader.

    Raises:
        DataError: the kind needs a conversion (the message has the command), or the file cannot be read at all.
    """
    if not KINDS[name].is_direct:
        raise DataError(advise_conversion(name, path))
    return KINDS[name].read(path, options, repair=repair)
