"""The input files of a bulk run, sorted by name."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NoReturn

from pyarrow.fs import FileInfo, FileSystem, FileType

from lookboth.bulk.storage import Place
from lookboth.data import JSON_LINES_SUFFIXES, separator_of_header
from lookboth.errors import DataError

FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    **dict.fromkeys(JSON_LINES_SUFFIXES, "jsonl"),
    ".txt": "text",
    ".text": "text",
}
# Enough for the first line of a table.
_HEADER_BYTES = 10_000
PACKED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}


@dataclass(frozen=True, slots=True)
class InputFile:
    """An input file in its state at the start of the run.

    Args:
        name: path relative to the input folder; for a single file, its name.
        format: "parquet", "jsonl" or "text".
        size: size in bytes.
        changed: time of the last change in nanoseconds; None if the file system does not record it.
    """

    name: str
    format: str
    size: int
    changed: int | None

    @property
    def packing(self) -> str | None:
        """Return the compression; a compressed file can only be read from its start. None: not compressed."""
        return PACKED.get(PurePosixPath(self.name.lower()).suffix)

    def require_unchanged(self, folder: Place) -> Place:
        """Return the place of the file, after checking that it has not changed.

        Raises:
            DataError: size or time differ from those at the start of the run.
        """
        place = folder.within(self.name)
        info = place.info()
        if (info.size, info.mtime_ns) != (self.size, self.changed):
            raise DataError(
                f"{place.path}: changed or removed since the run started. Start a new run in another output folder."
            )
        return place


def find_files(source: Place, input_format: str | None) -> tuple[Place, list[InputFile]]:
    """Return the input folder and its files; like Ray and Spark, skip names that start with `.` or `_`.

    Args:
        source: a file or folder. Subfolders are searched, and symbolic links are followed.
        input_format: format of all files; None: by the suffix of each.

    Raises:
        DataError: there are no files, or a file has an unknown format. Also anything whose rows would be lost or read
            twice: a loop of links, a link to a file that is also read, a broken link, a pipe or device, a folder that
            cannot be listed.
    """
    info = source.info()
    if info.type is FileType.NotFound:
        raise DataError(f"{source.path}: no such file or folder.")
    if info.type is FileType.Unknown:
        _refuse(source.path, "is not a plain file (a pipe, socket or device)")
    if info.type is FileType.File:
        folder = Place(source.filesystem, str(PurePosixPath(source.path).parent))
        return folder, [_input_file(source.filesystem, info, PurePosixPath(source.path).name, input_format)]
    files = [
        _input_file(source.filesystem, info, name, input_format) for info, name in _visible_files(source)
    ]
    if not files:
        raise DataError(f"{source.path}: no files in this folder.")
    return source, files


def _visible_files(folder: Place) -> Iterator[tuple[FileInfo, str]]:
    # pyarrow's own listing silently skips broken links and pipes.
    infos = (
        folder.infos(_each_once(sorted(_local_files(folder.path))))
        if folder.is_local
        else folder.list(recursive=True)
    )
    for info in infos:
        name = PurePosixPath(info.path).relative_to(PurePosixPath(folder.path))
        if info.type is FileType.File and not any(_is_hidden(part) for part in name.parts):
            yield info, str(name)


def _local_files(folder: str, around: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the paths of all visible files; unlike pyarrow's listing, refuse entries that cannot be read.

    Args:
        folder: folder to list.
        around: real paths of the parent folders; a link to one of them is a loop.
    """
    real = os.path.realpath(folder)
    if real in around:
        _refuse(
            folder,
            f"is a symbolic link back to {real}, so its files would be read over and over",
        )
    try:
        entries = [entry for entry in os.scandir(folder) if not _is_hidden(entry.name)]
    except OSError as error:
        _refuse(folder, f"cannot be listed ({error.strerror})")
    for entry in entries:
        # DirEntry.is_dir would raise for a link to itself.
        if os.path.isdir(entry.path):
            yield from _local_files(entry.path, (*around, real))
        else:
            yield _plain_file(entry)


def _each_once(paths: list[str]) -> list[str]:
    """Return the paths; refuse two that are one file, whose rows would be labeled twice."""
    known: dict[str, str] = {}
    for path in paths:
        other = known.setdefault(os.path.realpath(path), path)
        if other != path:
            _refuse(
                path, f"is the same file as {other} (a symbolic link), so its rows would be labeled twice"
            )
    return paths


def _plain_file(entry: "os.DirEntry[str]") -> str:
    try:
        entry.path.encode()
    except UnicodeEncodeError:
        _refuse(f"{entry.path!a}", "has a name that is not UTF-8", "Rename it")
    if not os.path.exists(entry.path):
        _refuse(entry.path, "is a symbolic link to something that does not exist")
    if not os.path.isfile(entry.path):
        _refuse(entry.path, "is not a plain file (a pipe, socket or device)")
    return entry.path


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "_"))


def _refuse(
    path: str, reason: str, advice: str = "Remove it from the input, or name another folder"
) -> NoReturn:
    raise DataError(f"{path}: {reason}. {advice}.")


def _input_file(filesystem: FileSystem, info: FileInfo, name: str, input_format: str | None) -> InputFile:
    path = PurePosixPath(name.lower())
    suffix = PurePosixPath(path.stem).suffix if path.suffix in PACKED else path.suffix
    found = input_format or FORMATS.get(suffix)
    if found is None:
        advice = "To read all files as text, type: --input-format text"
        if path.suffix in {".csv", ".tsv"}:
            advice = _advise_parquet(Place(filesystem, info.path))
        raise DataError(
            f"{info.path}: the suffix is not one of {', '.join(FORMATS)} (compressed: {', '.join(PACKED)}). {advice}"
        )
    return InputFile(name, found, info.size or 0, info.mtime_ns)


def _advise_parquet(table: Place) -> str:
    """Return how to convert a CSV or tab-separated file, with the separator of its first line."""
    with table.filesystem.open_input_stream(table.path, compression=None) as file:
        first = file.read(_HEADER_BYTES).decode("utf-8-sig", "replace").partition("\n")[0].rstrip("\r")
    separator = separator_of_header(first)
    options = f"delimiter={separator!r}, newlines_in_values=True"
    return (
        f"It seems to be a table, separated by {separator!r} ({first!r:.80}). Convert it to Parquet, in Python: from "
        f"pyarrow import csv, parquet; parquet.write_table(csv.read_csv({table.path!r}, "
        f"parse_options=csv.ParseOptions({options})), 'texts.parquet'). Then label texts.parquet with --column NAME"
    )
