"""Files of a source: the file or folder of each split, built-in data sets, and refusal of wrong names."""

from collections.abc import Sequence
from pathlib import Path

from lookboth.data.conversion import KINDS, advise_conversion, is_direct_folder, recognize
from lookboth.data.hub import is_saved_folder, saved_splits
from lookboth.data.packed_files import stem_of, suffix_of
from lookboth.data.parquet import shards_of, split_stem
from lookboth.data.record_splits import SPLIT_NAMES
from lookboth.data.suffixes import FILE_SUFFIXES, KIND_NAMES, KIND_SUFFIXES, SUFFIXES, Kind, try_other_task
from lookboth.errors import DataError

BUILTIN_FOLDER = Path(__file__).parent / "builtin"
_BUILTIN_SUFFIXES: dict[str, Kind] = {".conll": "labeling", ".tsv": "classification", ".txt": "text"}
BUILTIN: dict[str, Kind] = {
    folder.name: next(kind for suffix, kind in _BUILTIN_SUFFIXES.items() if any(folder.glob(f"*{suffix}")))
    for folder in sorted(BUILTIN_FOLDER.iterdir())
    if folder.is_dir()
}
# Part-of-speech data: one label per word.
PLAIN = frozenset(name for name in BUILTIN if name.endswith("_pos"))


def find_file(source: str | Path, split: str, kind: Kind = "labeling") -> Path | None:
    """Return the file that holds a split, or None if the `datasets` library must load it.

    Args:
        source, split: as in `readers.read_split`.
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
        source: as in `readers.read_split`.
        kind: task of the data; decides which files of a folder are data.

    Raises:
        DataError: if a folder has none of them.
    """
    path = source_path(source)
    if not path.is_dir():
        return tuple(SPLIT_NAMES)
    splits = saved_splits(path) if is_saved_folder(path) else ()
    splits = splits or tuple(split for split in SPLIT_NAMES if _has_split(path, split, kind))
    if not splits:
        raise DataError(_no_split_file(path, "train", source, kind))
    return splits


def _has_split(folder: Path, split: str, kind: Kind) -> bool:
    return bool(split_files(folder, split, kind)) or _split_folder(folder, split, kind) is not None


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
        if any(_names_split(split_stem(stem_of(path)), name) for name in names):
            return split
    return None


def _names_split(stem: str, name: str) -> bool:
    stem = stem.lower()
    return stem == name or stem.endswith(("-" + name, "_" + name, "." + name))


def split_files(folder: Path, split: str, kind: Kind) -> list[Path]:
    """Return the files of a split; a file named exactly like the split wins over others."""
    names = SPLIT_NAMES.get(split, (split,))
    suffixes = (*SUFFIXES[kind], *KIND_SUFFIXES) if kind == "labeling" else SUFFIXES[kind]
    files = [f for f in _files_in(folder) if suffix_of(f) in suffixes]
    if kind == "labeling":
        # CSV files next to columns or JSON are copies, or belong to the other task.
        others = [file for file in files if suffix_of(file) != ".csv"]
        files = others if any(map(split_of, others)) else files
    exact = [file for file in files if split_stem(stem_of(file)).lower() in names]
    return exact or [
        file for file in files if any(_names_split(split_stem(stem_of(file)), name) for name in names)
    ]


def _files_in(folder: Path) -> list[Path]:
    """Return the files of a folder; repositories of the hub have them in "data" next to a README."""
    inner = [folder / "data"] if (folder / "data").is_dir() else []
    return [file for each in (folder, *inner) for file in sorted(each.iterdir()) if file.is_file()]


def _split_file(folder: Path, split: str, source: str | Path, kind: Kind) -> Path:
    found = split_files(folder, split, kind)
    if not found:
        inner = _split_folder(folder, split, kind)
        if inner is None:
            raise DataError(_no_split_file(folder, split, source, kind))
        return inner
    shards = shards_of(found) if len(found) > 1 else None
    if shards is not None:
        return shards
    if len(found) > 1:
        listed = ", ".join(file.name for file in found)
        raise DataError(f"{source}: several files for the split {split!r}: {listed}. Name the file.")
    return found[0]


def _split_folder(folder: Path, split: str, kind: Kind) -> Path | None:
    """Return the folder of documents that is a split: one named like it, or the train split is the whole folder."""
    if kind != "labeling":
        return None
    there = {name for names in SPLIT_NAMES.values() for name in names if (folder / name).is_dir()}
    for name in SPLIT_NAMES.get(split, (split,)):
        if name in there and is_direct_folder(folder / name):
            return folder / name
    return folder if split == "train" and not there and is_direct_folder(folder) else None


def _no_split_file(folder: Path, split: str, source: str | Path, kind: Kind) -> str:
    names: Sequence[str] = SPLIT_NAMES.get(split, (split,))
    inner = next((folder / name for name in names if (folder / name).is_dir()), folder)
    found = recognize(inner) if kind == "labeling" else None
    if found is not None and not KINDS[found].is_direct:
        return advise_conversion(found, inner)
    suffixes = ", ".join(SUFFIXES[kind])
    message = f"no file for the split {split!r}; name it {' or '.join(names)}, ending in {suffixes}."
    there = [suffix_of(f) for f in folder.iterdir() if any(_names_split(stem_of(f), name) for name in names)]
    inside = [
        f"{source}/{f.name}" for f in sorted(folder.iterdir()) if f.is_dir() and split_files(f, split, kind)
    ]
    if inside:
        message += f" There is one in a folder of it; type {' or '.join(inside[:5])}."
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
    if text.startswith((".", "/", "~")) or text.count("/") > 1 or suffix_of(text) in FILE_SUFFIXES:
        built_in = ", ".join(BUILTIN)
        raise DataError(
            f"{source}: no such file or folder. Check the path, or name a built-in ({built_in}) or hub id."
        )
