"""The files of a bulk run's input, in the order of their names."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from pyarrow.fs import FileInfo, FileType

from lookboth.bulk.storage import Place
from lookboth.errors import DataError
from lookboth.inference.inputs import JSONL_SUFFIXES

FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    **dict.fromkeys(JSONL_SUFFIXES, "jsonl"),
    ".txt": "text",
    ".text": "text",
}
PACKED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file of the input as it was when the run began.

    Args:
        name: path from the input folder on; of a single file its name.
        format: "parquet", "jsonl" or "text".
        size: in bytes.
        changed: time of the last change in nanoseconds; None where the file system does not know.
    """

    name: str
    format: str
    size: int
    changed: int | None

    @property
    def packing(self) -> str | None:
        """How it is packed, which means that it must be unpacked from its beginning; None if it is not."""
        return PACKED.get(PurePosixPath(self.name.lower()).suffix)

    def require_unchanged(self, folder: Place) -> Place:
        """Return where the file is in the input folder.

        Raises:
            DataError: it is not the one the run began with.
        """
        place = folder.within(self.name)
        info = place.info()
        if (info.size, info.mtime_ns) != (self.size, self.changed):
            raise DataError(
                f"{place.path}: changed or gone since the run began. Begin anew in another folder."
            )
        return place


def find_files(source: Place, input_format: str | None) -> tuple[Place, list[InputFile]]:
    """Return the input folder and its files; names that begin with `.` or `_` are left out, as Ray and Spark do.

    Args:
        source: a file or a folder, looked through to any depth.
        input_format: of all files; None: by the suffix of each.

    Raises:
        DataError: nothing there, or a file of no known format.
    """
    info = source.info()
    if info.type is FileType.NotFound:
        raise DataError(f"{source.path}: no such file or folder.")
    if info.type is FileType.File:
        folder = Place(source.filesystem, str(PurePosixPath(source.path).parent))
        return folder, [_input_file(info, PurePosixPath(source.path).name, input_format)]
    files = [_input_file(info, name, input_format) for info, name in _visible_files(source)]
    if not files:
        raise DataError(f"{source.path}: no files in this folder.")
    return source, files


def _visible_files(folder: Place) -> Iterator[tuple[FileInfo, str]]:
    for info in folder.list(recursive=True):
        name = PurePosixPath(info.path).relative_to(PurePosixPath(folder.path))
        if info.type is FileType.File and not any(part.startswith((".", "_")) for part in name.parts):
            yield info, str(name)


def _input_file(info: FileInfo, name: str, input_format: str | None) -> InputFile:
    path = PurePosixPath(name.lower())
    suffix = PurePosixPath(path.stem).suffix if path.suffix in PACKED else path.suffix
    found = input_format or FORMATS.get(suffix)
    if found is None:
        raise DataError(
            f"{info.path}: the suffix tells no format ({', '.join(FORMATS)}, packed: {', '.join(PACKED)}). "
            "Type for all files: --input-format text"
        )
    return InputFile(name, found, info.size or 0, info.mtime_ns)
