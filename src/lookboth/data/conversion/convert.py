"""The kinds of data that are converted, of papers and of annotation tools, and the one way from there to ours."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from lookboth.data.checks import DataReport, count_split
from lookboth.data.conversion.brat import read_brat
from lookboth.data.conversion.conll2003 import read_conll2003
from lookboth.data.conversion.doccano import read_doccano
from lookboth.data.conversion.events import read_events
from lookboth.data.conversion.label_studio import read_label_studio
from lookboth.data.conversion.options import Converted, ConvertOptions
from lookboth.data.conversion.prodigy import read_prodigy
from lookboth.data.conversion.semeval import read_semeval
from lookboth.data.conversion.slots import read_slots
from lookboth.data.conversion.writing import write_data
from lookboth.data.problems import require_clean
from lookboth.errors import ConfigError
from lookboth.files import require_other_file


class Kind(NamedTuple):
    """A kind of data.

    Args:
        read: reads a file of it, with the options and whether to repair.
        options: names of the options that mean something for it.
        describe: what it is.
    """

    read: Callable[..., Converted]
    options: tuple[str, ...]
    describe: str


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "ace05": Kind(read_events, ("label",), "ACE 2005 event triggers: JSON of the usual preprocessings"),
        "brat": Kind(read_brat, ("several",), "brat's standoff: a document, or a folder of them"),
        "conll2003": Kind(read_conll2003, ("column", "documents"), "the four columns of CoNLL-2003"),
        "doccano": Kind(read_doccano, ("offsets", "several"), "doccano's JSONL"),
        "label-studio": Kind(read_label_studio, ("several", "text_field"), "Label Studio's JSON and CSV"),
        "nlupp": Kind(read_slots, (), "NLU++ slots: JSON"),
        "prodigy": Kind(read_prodigy, ("several",), "Prodigy's JSONL"),
        "semeval-absa": Kind(
            read_semeval, ("polarities",), "SemEval 2014-16 aspect terms with polarity: XML"
        ),
    }
)


def convert(
    kind: str,
    source: str | Path,
    out: str | Path,
    options: ConvertOptions | None = None,
    *,
    repair: bool = False,
) -> DataReport:
    """Convert a file of published or annotated data, and read it back to see that nothing changed on the way.

    Args:
        kind: one of `KINDS`.
        source: the file as published, or as the tool exports it; for brat also a folder.
        out: the file to write: `.conll`, or `.jsonl` (raw text is kept there).
        options: what is taken over; None for the defaults of the kind.
        repair: leave out or repair what cannot be taken over, instead of stopping; the report names it all.

    Raises:
        ConfigError: if there is no such kind, an option means nothing for it, or the file to write is the source.
        DataError: if the file cannot be read, or holds what cannot be taken over and `repair` is not set.
    """
    found = KINDS.get(kind)
    if found is None:
        raise ConfigError(f"unknown kind of data {kind!r}; there are {', '.join(KINDS)}.")
    options = options or ConvertOptions()
    given = [name for name, value in asdict(options).items() if value is not None]
    wrong = next((name for name in given if name not in found.options), None)
    if wrong:
        allowed = ", ".join(map(_option, found.options)) or "none"
        raise ConfigError(f"{_option(wrong)} means nothing for {kind}; its options: {allowed}. Leave it out.")
    require_other_file(source, out)
    converted = found.read(source, options, repair=repair)
    dataset = converted.dataset
    require_clean(dataset)
    write_data(converted, out)
    return DataReport((count_split(kind, dataset),), tuple(dataset.problems))


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
