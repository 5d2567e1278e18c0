"""Entry point for all sources of data: files, folders, built-in data sets and hub ids."""

from dataclasses import dataclass, replace
from pathlib import Path

from lookboth.data.classification import read_classification
from lookboth.data.conll import read_conll
from lookboth.data.conversion import (
    KINDS,
    ConvertOptions,
    read_direct,
    recognize,
)
from lookboth.data.documents import Documents, as_one_document, require_columns
from lookboth.data.encodings import encoded_as
from lookboth.data.hub import open_hub
from lookboth.data.jsonl import read_jsonl
from lookboth.data.labeled_rows import Table, read_text_rows, read_word_rows
from lookboth.data.lines import read_lines
from lookboth.data.nesting import keep_overlaps
from lookboth.data.packed_files import suffix_of
from lookboth.data.parquet import open_parquet
from lookboth.data.problems import ProblemLog
from lookboth.data.record_splits import only_split
from lookboth.data.split_finding import BUILTIN_FOLDER, PLAIN, find_file
from lookboth.data.splitters import split_with
from lookboth.data.suffixes import (
    CONLL_SUFFIXES,
    JSONL_SUFFIXES,
    PARQUET_SUFFIXES,
    SUFFIXES,
    unknown_suffix,
)
from lookboth.data.words import example_from_text
from lookboth.errors import DataError
from lookboth.types import Dataset, Task


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How files are read; see `read_conll` and `read_classification` for each.

    Args:
        task: "labeling" (labels of words) or "classification" (labels of whole texts); None: labeling, but in
            `check_data` the task of built-in data.
        word_column, tag_column, separator: only for CoNLL columns.
        scheme: tag scheme; None: detected.
        text_field, label_field: columns or keys of texts or words, and of labels, tags or spans; None: the usual names.
        class_names: names of class numbers, counted from 0; None: the names that hub data and Parquet files have.
        splitter: splitter of raw text into words, as in `splitters.named_splitter`; None: the default.
        cut_words: whether words are cut where a span begins or ends inside them, instead of reporting the span.
        nested: whether spans that overlap are kept, as for a nested head; otherwise each is a problem.
        documents: "file": a file (or split) is one document; "blank_lines": only for CoNLL columns, several blank lines
            end a document; None: the borders of the format.
        head: scheme of the head that will use the data, or None; see `tag_reading.choose_reading`.
        encoding: encoding of files; None: that of their byte order mark, else UTF-8.
        repair: apply repairs instead of reporting their problems as fatal.
    """

    task: Task | None = None
    word_column: int = 0
    tag_column: int = -1
    separator: str | None = None
    scheme: str | None = None
    text_field: str | None = None
    label_field: str | None = None
    class_names: tuple[str, ...] | None = None
    splitter: str | None = None
    cut_words: bool = False
    nested: bool = False
    documents: Documents | None = None
    head: str | None = None
    encoding: str | None = None
    repair: bool = False

    @property
    def kind(self) -> Task:
        """The task; labeling if none was given."""
        return self.task or "labeling"


def read_dataset(path: str | Path, options: ReadOptions | None = None) -> Dataset:
    """Read one file in the format recognized from its content, else in the format of its suffix.

    Raises:
        DataError: if the file must be converted first, its suffix is unknown, or it cannot be read at all.
        ConfigError: if the scheme, the encoding or the splitter is unknown, or a library is missing.
    """
    options = options or ReadOptions()
    suffix = suffix_of(path)
    with (
        encoded_as(options.encoding),
        split_with(options.splitter, cut_words=options.cut_words),
        keep_overlaps(options.nested),
    ):
        kind = recognize(path) if options.kind == "labeling" and not _names_columns(options) else None
        if kind is not None and _named_keys(options) <= set(KINDS[kind].options):
            found = _options_of(kind, options)
            return _in_documents(read_direct(kind, path, found, repair=options.repair).dataset, options)
        if suffix not in SUFFIXES[options.kind]:
            raise DataError(f"{path}: {unknown_suffix(suffix, options.kind)}")
        columns = options.kind == "labeling" and suffix in CONLL_SUFFIXES
        return _in_documents(_read_format(path, suffix, options), options, columns=columns)


def _in_documents(dataset: Dataset, options: ReadOptions, *, columns: bool = False) -> Dataset:
    """Return the data as one document if the options say so.

    Raises:
        ConfigError: blank lines are named as borders, and the data are not columns.
    """
    if not columns:
        require_columns(dataset.name, options.documents)
    if options.documents != "file":
        return dataset
    return replace(dataset, examples=as_one_document(dataset.examples))


def _read_table(table: Table, options: ReadOptions) -> Dataset:
    if options.kind == "classification":
        return read_text_rows(
            table,
            text_field=options.text_field,
            label_field=options.label_field,
            labels=options.class_names,
            repair=options.repair,
        )
    return read_word_rows(
        table,
        word_field=options.text_field,
        tag_field=options.label_field,
        scheme=options.scheme,
        labels=options.class_names,
        repair=options.repair,
        head=options.head,
    )


def _read_format(path: str | Path, suffix: str, options: ReadOptions) -> Dataset:
    if suffix in PARQUET_SUFFIXES:
        return _read_table(open_parquet(path), options)
    if options.kind == "classification":
        return read_classification(
            path,
            text_field=options.text_field,
            label_field=options.label_field,
            classes=options.class_names,
            repair=options.repair,
        )
    if suffix in JSONL_SUFFIXES:
        return read_jsonl(
            path,
            scheme=options.scheme,
            text_field=options.text_field,
            label_field=options.label_field,
            labels=options.class_names,
            repair=options.repair,
            head=options.head,
        )
    return read_conll(
        path,
        word_column=options.word_column,
        tag_column=options.tag_column,
        scheme=options.scheme,
        separator=options.separator,
        repair=options.repair,
        head=options.head,
        documents=options.documents,
    )


def _options_of(kind: str, options: ReadOptions) -> ConvertOptions:
    """Return the options of reading that apply to a kind."""
    shared = ("text_field", "label_field", "scheme", "class_names")
    given = {name: getattr(options, name) for name in shared if name in KINDS[kind].options}
    return ConvertOptions(**given)


def _names_columns(options: ReadOptions) -> bool:
    return (options.word_column, options.tag_column) != (0, -1)


def _named_keys(options: ReadOptions) -> set[str]:
    """Return the options of keys that the user gave; a kind without these options is then read by its suffix."""
    return {name for name in ("text_field", "label_field") if getattr(options, name) is not None}


def read_split(source: str | Path, split: str, options: ReadOptions | None = None) -> Dataset:
    """Read one split of a source.

    Args:
        source: a file (read as this split unless its name contains another one), a folder with one file per split or
            written by `datasets`, a built-in name, or a hub id.
        split: "train", "dev", "test" or another split of the source.
        options: how files are read.

    Raises:
        DataError: if the source or the split does not exist, or a built-in data set is for another task.
    """
    options = options or ReadOptions()
    file = find_file(source, split, options.kind)
    if file is not None:
        folder = file.resolve().parent
        # Part-of-speech tags have no positions; without a scheme the reader would ask for one.
        if options.scheme is None and folder.name in PLAIN and folder.parent == BUILTIN_FOLDER.resolve():
            options = replace(options, scheme="plain")
        with only_split(split):
            return read_dataset(file, options)
    with split_with(options.splitter, cut_words=options.cut_words), keep_overlaps(options.nested):
        return _in_documents(_read_table(open_hub(str(source), split), options), options)


def read_text(path: str | Path) -> Dataset:
    """Read one text per line; a blank line is a text without words, so that line n is text n.

    Args:
        path: the file, read as in `lines.read_lines`.

    Raises:
        DataError: if the file cannot be read at all.
    """
    log = ProblemLog(str(path))
    lines = read_lines(path, log)
    examples = [example_from_text(line, log.where(number)) for number, line in enumerate(lines, 1)]
    return Dataset(examples=examples, problems=log.problems(), name=log.name)
