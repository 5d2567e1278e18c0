"""Recognition of kinds of data by the beginning of a file."""

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from lookboth.data import (
    JSONL_SUFFIXES,
    PARQUET_SUFFIXES,
    UNPACKING_ERRORS,
    is_text_with_entities,
    open_unpacked,
    open_values,
    preview,
    suffix_of,
)
from lookboth.data.conversion.aste import MARK
from lookboth.data.conversion.bioc_json import find_documents
from lookboth.data.conversion.conll2012 import BEGIN
from lookboth.data.conversion.conllu import ENTITY, NUM_COLUMNS, TAG
from lookboth.data.conversion.docbin import SUFFIX as DOCBIN_SUFFIX
from lookboth.data.conversion.inline import WIKINER_LINE
from lookboth.data.conversion.label_studio import has_sentences_as_words
from lookboth.data.conversion.marked_slots import MARKDOWN_HEAD, YAML_HEAD, YAML_SUFFIXES
from lookboth.data.conversion.pubtator import PUBTATOR_LINE
from lookboth.data.conversion.row_tables import SUFFIXES as TABLE_SUFFIXES, has_texts_in_rows
from lookboth.data.conversion.slot_files import TAGS_FILE, WORDS_FILE, find_utterances
from lookboth.data.conversion.webanno import FORMAT
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


def take_sample(path: Path) -> Sample:
    """Return the beginning of a file or folder; a file that cannot be read has none."""
    if path.is_dir() or suffix_of(path) in PARQUET_SUFFIXES:
        return Sample(path)
    if suffix_of(path) in JSONL_SUFFIXES:
        try:
            values = [value for _, value in islice(open_values(path, "", repair=True)[1], _NUM_VALUES)]
        # Only recognition happens here; the reader of the file reports the error.
        except DataError:
            values = []
        return Sample(path, tuple(values))
    try:
        with open_unpacked(path) as file:
            head = file.read(_NUM_BYTES)
    except (OSError, ValueError, *UNPACKING_ERRORS):
        return Sample(path)
    return Sample(path, lines=tuple(preview(head).splitlines()))


def is_ace05(sample: Sample) -> bool:
    """Return whether records have the keys of a preprocessing of ACE 2005."""
    return any(
        sample.has_keys(*keys)
        for keys in (
            ("words", "golden-event-mentions"),
            ("tokens", "event_mentions"),
            ("sentences", "events"),
        )
    )


def is_brat(sample: Sample) -> bool:
    """Return whether the file or folder has annotation files of brat."""
    if sample.path.is_dir():
        return any(file.suffix in BRAT_SUFFIXES for file in islice(sample.path.rglob("*.a*"), _NUM_VALUES))
    beside = (sample.path.with_suffix(suffix) for suffix in BRAT_SUFFIXES)
    return sample.path.suffix in BRAT_SUFFIXES or (
        sample.path.suffix == ".txt" and any(path.is_file() for path in beside)
    )


def is_conll2012(sample: Sample) -> bool:
    """Return whether a line begins a document of CoNLL-2012."""
    return any(line.startswith(BEGIN) for line in sample.lines)


def is_doccano(sample: Sample) -> bool:
    """Return whether records have spans as doccano writes them."""
    lists = (record.get(key) for record in sample.records() for key in ("label", "labels"))
    triples = (item for value in lists if isinstance(value, list) for item in value)
    if any(isinstance(item, list) and list(map(type, item)) == [int, int, str] for item in triples):
        return any(isinstance(record.get("text", record.get("data")), str) for record in sample.records())
    return any("start_offset" in item for item in _entities(sample)) or sample.has_keys(
        "entities", "Comments"
    )


def is_label_studio(sample: Sample) -> bool:
    """Return whether records are tasks of Label Studio."""
    if suffix_of(sample.path) in _TABLES:
        return bool(sample.lines) and "annotation_id" in sample.lines[0] and "annotator" in sample.lines[0]
    tasks = (record for record in sample.records() if isinstance(record.get("data"), Mapping))
    results = ("annotations", "completions", "predictions")
    return any(key in task for task in tasks for key in results) or sample.has_keys(
        "annotator", "annotation_id"
    )


def is_prodigy(sample: Sample) -> bool:
    """Return whether records have the keys of Prodigy."""
    return sample.has_keys("text", "_task_hash") or sample.has_keys("text", "answer")


def is_semeval(sample: Sample) -> bool:
    """Return whether the file has the elements of SemEval."""
    head = "".join(sample.lines)
    return any(mark in head for mark in ("<sentences", "<Reviews")) and "<sentence" in head


def is_spacy(sample: Sample) -> bool:
    """Return whether values are training examples of spaCy 2."""
    return any(map(is_text_with_entities, sample.values))


def is_cluener(sample: Sample) -> bool:
    """Return whether records have labels with mentions."""
    labels = [record["label"] for record in sample.records() if isinstance(record.get("label"), Mapping)]
    return any(isinstance(mentions, Mapping) for label in labels for mentions in label.values())


def is_rasa(sample: Sample) -> bool:
    """Return whether records have the keys of Rasa."""
    return sample.has_keys("text", "intent") or any(
        item.keys() >= {"entity", "value"} for item in _entities(sample)
    )


def is_wikiner(sample: Sample) -> bool:
    """Return whether every line has words with tags."""
    # The last line may be truncated.
    lines = [line for line in sample.lines[:-1] or sample.lines if line.strip()]
    # One word per line is a table with another separator: each line would become a sentence.
    return any(len(line.split()) > 1 for line in lines) and all(map(WIKINER_LINE.fullmatch, lines))


def is_opennlp(sample: Sample) -> bool:
    """Return whether a line has a marked span."""
    return any(re.search(r"<START(:\S+)?>.*<END>", line) for line in sample.lines)


def is_gliner(sample: Sample) -> bool:
    """Return whether records have the keys of GLiNER."""
    return sample.has_keys("tokenized_text", "ner")


def is_massive(sample: Sample) -> bool:
    """Return whether records have MASSIVE's marked utterance."""
    return sample.has_keys("annot_utt")


def is_nlupp(sample: Sample) -> bool:
    """Return whether records have texts and slots."""
    return sample.has_keys("text", "slots")


def is_label_studio_conll(sample: Sample) -> bool:
    """Return whether columns of Label Studio have sentences as words."""
    return has_sentences_as_words(sample.lines)


def is_conllu(sample: Sample) -> bool:
    """Return whether the last of ten columns has entities."""
    last = [cells[-1] for line in sample.lines if len(cells := line.split("\t")) == NUM_COLUMNS]
    return any(ENTITY.search(cell) or TAG.search(cell) for cell in last)


def is_docbin(sample: Sample) -> bool:
    """Return whether the file is named as spaCy names a DocBin."""
    return suffix_of(sample.path) == DOCBIN_SUFFIX


def is_webanno(sample: Sample) -> bool:
    """Return whether the first line names WebAnno's format."""
    return bool(sample.lines) and sample.lines[0].startswith(FORMAT)


def is_pubtator(sample: Sample) -> bool:
    """Return whether the first lines are the title of a document and its abstract or first annotation."""
    first = [line for line in sample.lines if line.strip()][:2]
    head = PUBTATOR_LINE.fullmatch(first[0]) if len(first) == 2 else None
    if head is None or head[2] != "t":
        return False
    second = PUBTATOR_LINE.fullmatch(first[1])
    return head[1] == (second[1] if second else first[1].partition("\t")[0])


def is_bioc(sample: Sample) -> bool:
    """Return whether the file is a BioC collection."""
    head = "".join(sample.lines)
    return "<collection" in head and "<document" in head and "<passage" in head


def is_bioc_json(sample: Sample) -> bool:
    """Return whether the values contain a document of BioC."""
    return any(find_documents(list(sample.values)))


def is_aste(sample: Sample) -> bool:
    """Return whether every line has a text and its terms."""
    # The last line may be truncated.
    lines = [line for line in sample.lines[:-1] or sample.lines if line.strip()]
    parts = [line.split(MARK) for line in lines]
    return bool(parts) and all(len(p) > 1 and (p[-1].startswith("[") or "=" in p[1]) for p in parts)


def is_snips(sample: Sample) -> bool:
    """Return whether records contain texts in pieces."""
    return any(any(find_utterances(value)) for value in sample.values if isinstance(value, Mapping))


def is_atis(sample: Sample) -> bool:
    """Return whether the first line has words between BOS and EOS."""
    return bool(sample.lines) and sample.lines[0].startswith("BOS ") and " EOS\t" in sample.lines[0]


def is_seq_in(sample: Sample) -> bool:
    """Return whether the file is seq.in, or the folder has one."""
    folder = sample.path if sample.path.is_dir() else sample.path.parent
    named = sample.path.is_dir() or sample.path.name == WORDS_FILE
    return named and all((folder / name).is_file() for name in (WORDS_FILE, TAGS_FILE))


def is_row_table(sample: Sample) -> bool:
    """Return whether a table has a text with its labels in each row."""
    return suffix_of(sample.path) in TABLE_SUFFIXES and has_texts_in_rows(sample.lines)


def is_rasa_text(sample: Sample) -> bool:
    """Return whether the file has the headings of Rasa's YAML or Markdown."""
    suffix = suffix_of(sample.path)
    if suffix in YAML_SUFFIXES:
        return any(map(YAML_HEAD.match, sample.lines))
    return suffix == ".md" and any(map(MARKDOWN_HEAD.match, sample.lines))


def _entities(sample: Sample) -> Iterator[Mapping[str, Any]]:
    lists = (record.get("entities") for record in sample.records())
    return (item for value in lists if isinstance(value, list) for item in value if isinstance(item, Mapping))
