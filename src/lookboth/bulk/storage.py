"""Access to folders on disks and in object stores, by path or URL; files are written atomically."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from pyarrow.fs import (
    FileInfo,
    FileSelector,
    FileSystem,
    FileType,
    LocalFileSystem,
)

from lookboth.errors import DataError
from lookboth.files import write_whole


class Place(NamedTuple):
    """A file or folder: a file system and a path in it; every method raises DataError if it cannot be reached."""

    filesystem: FileSystem
    path: str

    # pyarrow's file systems are not hashable, so only the path counts.
    def __hash__(self) -> int:
        return hash(self.path)

    @property
    def is_local(self) -> bool:
        """Return whether the place is on a disk of this machine (or mounted as one)."""
        return isinstance(self.filesystem, LocalFileSystem)

    def within(self, name: str) -> "Place":
        """Return the place `name` in this folder."""
        return Place(self.filesystem, f"{self.path.rstrip('/')}/{name}")

    def info(self) -> FileInfo:
        """Return kind, size and time of the last change."""
        with _errors_as_data_errors(self.path):
            return self.filesystem.get_file_info(self.path)

    def exists(self) -> bool:
        """Return whether the file or folder exists."""
        return self.info().type is not FileType.NotFound

    def list(self, *, recursive: bool = False) -> list[FileInfo]:
        """Return the entries of the folder, sorted by path; an empty list if it does not exist."""
        selector = FileSelector(self.path, recursive=recursive, allow_not_found=True)
        with _errors_as_data_errors(self.path):
            return sorted(self.filesystem.get_file_info(selector), key=lambda info: info.path)

    def infos(self, paths: Sequence[str]) -> Sequence[FileInfo]:
        """Return kind, size and time of the last change of other paths on the same file system."""
        with _errors_as_data_errors(self.path):
            return self.filesystem.get_file_info([*paths])

    def make_folder(self) -> None:
        """Create the folder and its parents if they do not exist."""
        with _errors_as_data_errors(self.path):
            self.filesystem.create_dir(self.path, recursive=True)

    def empty(self) -> None:
        """Remove the entries of the folder; links are removed, their targets are not."""
        with _errors_as_data_errors(self.path):
            self.filesystem.delete_dir_contents(self.path, missing_dir_ok=True)

    def read(self) -> bytes:
        """Return the content of the file."""
        with (
            _errors_as_data_errors(self.path),
            self.filesystem.open_input_stream(self.path, compression=None) as stream,
        ):
            return stream.read()

    def write(self, data: bytes, *, work: "Place") -> None:
        """Write the file atomically: a reader finds the whole file or none.

        On a disk the file is written under a temporary name and renamed, so an existing link is replaced and not
        followed. An object store shows an object only when it is complete.

        Args:
            data: content of the file.
            work: folder on the same disk for the temporary file.
        """
        with _errors_as_data_errors(self.path):
            if self.is_local:
                write_whole(Path(self.path), [data], follow_links=False, work=Path(work.path))
                return
            with self.filesystem.open_output_stream(self.path, compression=None) as stream:
                stream.write(data)


@contextmanager
def _errors_as_data_errors(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: {error}") from error


def _require_name(path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{path!a}: the name is not UTF-8. Rename it.") from error
    if "\0" in path:
        raise DataError(
            f"{path!a}: the path contains a zero character, which file names cannot contain. Give another path."
        )


def open_place(url: str) -> Place:
    """Return the place of a path or URL, which need not exist.

    Args:
        url: a path, or a URL that pyarrow (file, s3, gs, hdfs, ...) or fsspec supports. These libraries read access
            keys from the environment.

    Raises:
        DataError: the kind of URL is unknown, it needs a package that is not installed, or the name is not UTF-8.
    """
    if "://" not in url:
        path = str(Path(url).expanduser().absolute())
        _require_name(path)
        return Place(LocalFileSystem(), path)
    for known_as in (url, f"fsspec+{url}"):
        try:
            return Place(*FileSystem.from_uri(known_as))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue
        except (OSError, ImportError, ValueError) as error:
            raise DataError(f"{url}: cannot be reached: {error}") from error
    raise DataError(f"{url}: neither pyarrow nor fsspec supports this kind of URL.")
