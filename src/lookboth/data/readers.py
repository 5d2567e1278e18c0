"""Entry point for all sources of data: files, folders, built-in data sets and hub ids."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lookboth.data.classification import read_classification
from lookboth.data.conll import read_conll
from lookboth.data.conversion import advise_conversion, read_direct, recognize
from lookboth.data.encodings import encoded_as
from lookboth.data.hub import is_saved_folder, read_hub, read_hub_texts, saved_splits
from lookboth.data.jsonl import read_jsonl
from lookboth.data.lines import read_lines
from lookboth.data.problems import ProblemLog
from lookboth.data.suffixes import (
    FILE_SUFFIXES,
    JSONL_SUFFIXES,
    KIND_NAMES,
    SUFFIXES,
    Kind,
    try_other_task,
    unknown_suffix,
)
from lookboth.data.words import example_from_text
from lookboth.errors import DataError
from lookboth.types import Dataset, Task

BUILTIN_FOLDER = Path(__file__).parent / "builtin"
_BUILTIN_SUFFIXES: dict[str, Kind] = {".conll": "labeling", ".tsv": "classification", ".txt": "text"}
BUILTIN: dict[str, Kind] = {
    folder.name: next(kind for suffix, kind in _BUILTIN_SUFFIXES.items() if any(folder.glob(f"*{suffix}")))
    for folder in sorted(BUILTIN_FOLDER.iterdir())
    if folder.is_dir()
}
# Part-of-speech data: one label per word.
_PLAIN = frozenset(name for name in BUILTIN if name.endswith("_pos"))
SPLIT_NAMES = {
    "train": ("train", "training"),
    "dev": ("dev", "devel", "valid", "validation", "val", "testa"),
    "test": ("test", "testing", "testb"),
}


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How files are read; see `read_conll` and `read_classification` for each.

    Args:
        task: "labeling" (labels of words) or "classification" (labels of whole texts); None: labeling, but in
            `check_data` the task of built-in data.
        word_column, tag_column, separator: only for CoNLL columns.
        scheme: tag scheme; None: detected.
        text_field, label_field: columns or keys of texts or words, and of labels, tags or spans; None: the usual names.
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
        ConfigError: if the scheme or the encoding is unknown.
    """
    options = options or ReadOptions()
    suffix = Path(path).suffix.lower()
    with encoded_as(options.encoding):
        kind = recognize(path) if options.kind == "labeling" and not _names_keys(options) else None
        if kind is not None:
            return read_direct(kind, path, repair=options.repair).dataset
        if suffix not in SUFFIXES[options.kind]:
            raise DataError(f"{path}: {unknown_suffix(suffix, options.kind)}")
        return _read_format(path, suffix, options)


def _read_format(path: str | Path, suffix: str, options: ReadOptions) -> Dataset:
    if options.kind == "classification":
        return read_classification(
            path,
            text_field=options.text_field,
            label_field=options.label_field,
            repair=options.repair,
        )
    if suffix in JSONL_SUFFIXES:
        return read_jsonl(
            path,
            scheme=options.scheme,
            text_field=options.text_field,
            label_field=options.label_field,
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
    )


def _names_keys(options: ReadOptions) -> bool:
    return options.text_field is not None or options.label_field is not None


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
        if options.scheme is None and folder.name in _PLAIN and folder.parent == BUILTIN_FOLDER.resolve():
            options = replace(options, scheme="plain")
        return read_dataset(file, options)
    if options.kind == "classification":
        return read_hub_texts(
            str(source),
            split,
            text_field=options.text_field,
            label_field=options.label_field,
            repair=options.repair,
        )
    return read_hub(
        str(source),
        split,
        word_field=options.text_field,
        tag_field=options.label_field,
        scheme=options.scheme,
        repair=options.repair,
        head=options.head,
    )


def find_file(source: str | Path, split: str, kind: Kind = "labeling") -> Path | None:
    """Return the file that holds a split, or None if the `datasets` library must load it.

    Args:
        source, split: as in `read_split`.
        kind: task of the data; decides which files of a folder are data.

    Raises:
        DataError: if the file or the split does not exist, or a built-in data set is of another kind.
    """
    path = source_path(source)
    _refuse_other_kind(source, path, kind)
    if path.is_file():
        _refuse_other_split(path, split)
        return path
    if path.is_dir() and not is_saved_folder(path):
        return _split_file(path, split, source, kind)
    if not path.exists():
        _refuse_missing_file(source)
    return None


def find_splits(source: str | Path, kind: Kind = "labeling") -> tuple[str, ...]:
    """Return which of train, dev and test a folder or built-in data set has; a hub id is assumed to have all.

    Args:
        source: as in `read_split`.
        kind: task of the data; decides which files of a folder are data.

    Raises:
        DataError: if a folder has none of them.
    """
    path = source_path(source)
    if not path.is_dir():
        return tuple(SPLIT_NAMES)
    splits = saved_splits(path) if is_saved_folder(path) else ()
    splits = splits or tuple(split for split in SPLIT_NAMES if split_files(path, split, kind))
    if not splits:
        raise DataError(_no_split_file(path, "train", source, kind))
    return splits


def source_path(source: str | Path) -> Path:
    """Return the path of a source: the folder of a built-in name unless a file has that name, else the source."""
    path = Path(source)
    if not path.exists() and str(source) in BUILTIN:
        return BUILTIN_FOLDER / str(source)
    return path


def split_of(path: Path) -> str | None:
    """Return the split in the name of a file, or None.

    >>> split_of(Path("en_ewt-ud-dev.iob2")), split_of(Path("news.conll"))
    ('dev', None)
    """
    for split, names in SPLIT_NAMES.items():
        if any(_names_split(path.stem, name) for name in names):
            return split
    return None


def _names_split(stem: str, name: str) -> bool:
    stem = stem.lower()
    return stem == name or stem.endswith(("-" + name, "_" + name, "." + name))


def split_files(folder: Path, split: str, kind: Kind) -> list[Path]:
    """Return the files of a split; a file named exactly like the split wins over others."""
    names = SPLIT_NAMES.get(split, (split,))
    files = [f for f in sorted(folder.iterdir()) if f.suffix.lower() in SUFFIXES[kind]]
    if kind == "labeling":
        # CSV files next to columns or JSON are copies, or belong to the other task.
        others = [file for file in files if file.suffix.lower() != ".csv"]
        files = others if any(map(split_of, others)) else files
    exact = [file for file in files if file.stem.lower() in names]
    return exact or [file for file in files if any(_names_split(file.stem, name) for name in names)]


def _split_file(folder: Path, split: str, source: str | Path, kind: Kind) -> Path:
    found = split_files(folder, split, kind)
    if not found:
        raise DataError(_no_split_file(folder, split, source, kind))
    if len(found) > 1:
        listed = ", ".join(file.name for file in found)
        raise DataError(f"{source}: several files for the split {split!r}: {listed}. Name the file.")
    return found[0]


def _no_split_file(folder: Path, split: str, source: str | Path, kind: Kind) -> str:
    names: Sequence[str] = SPLIT_NAMES.get(split, (split,))
    inner = next((folder / name for name in names if (folder / name).is_dir()), folder)
    found = recognize(inner) if kind == "labeling" else None
    if found is not None:
        return advise_conversion(found, inner)
    suffixes = ", ".join(SUFFIXES[kind])
    message = f"no file for the split {split!r}; name it {' or '.join(names)}, ending in {suffixes}."
    there = [f.suffix.lower() for f in folder.iterdir() if any(_names_split(f.stem, name) for name in names)]
    return f"{source}: {message} {try_other_task(kind, there)}".rstrip()


def _refuse_other_split(path: Path, split: str) -> None:
    named = split_of(path)
    if named is not None and split in SPLIT_NAMES and named != split:
        message = f"by its name the {named} split, requested as {split}"
        raise DataError(f"{path}: {message}; name a {split} file or the folder, or type {path}:{named}")


def _refuse_other_kind(source: str | Path, path: Path, kind: Kind) -> None:
    holds = BUILTIN.get(path.name, kind) if path.parent == BUILTIN_FOLDER else kind
    if holds != kind:
        message = f"built-in data for {KIND_NAMES[holds]}, requested as data for {KIND_NAMES[kind]}"
        names = ", ".join(name for name, of_kind in BUILTIN.items() if of_kind == kind)
        other = f" Or set task = {holds!r}." if "text" not in (holds, kind) else ""
        raise DataError(f"{source}: {message}; choose one of {names}.{other}")


def _refuse_missing_file(source: str | Path) -> None:
    """Raise unless the source can be a hub id: at most one slash and no suffix of a data file."""
    text = str(source)
    if text.startswith((".", "/", "~")) or text.count("/") > 1 or Path(text).suffix.lower() in FILE_SUFFIXES:
        built_in = ", ".join(BUILTIN)
        raise DataError(
            f"{source}: no such file or folder. Check the path, or name a built-in ({built_in}) or hub id."
        )


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
