"""Folders on disks and in object stores: opened by path or URL, listed, written so that a file is whole or absent."""

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
    """A file or folder: the file system and the path in it; every method raises DataError if it cannot be reached."""

    filesystem: FileSystem
    path: str

    def __hash__(self) -> int:  # file systems have none
        return hash(self.path)

    @property
    def is_local(self) -> bool:
        """Whether it is on a disk of this machine (or mounted as one)."""
        return isinstance(self.filesystem, LocalFileSystem)

    def within(self, name: str) -> "Place":
        """Return what is called `name` in this folder."""
        return Place(self.filesystem, f"{self.path.rstrip('/')}/{name}")

    def info(self) -> FileInfo:
        """Return kind, size and time of the last change."""
        with _reaching(self.path):
            return self.filesystem.get_file_info(self.path)

    def exists(self) -> bool:
        """Tell whether there is such a file or folder."""
        return self.info().type is not FileType.NotFound

    def list(self, *, recursive: bool = False) -> list[FileInfo]:
        """Return what is in the folder, sorted by path; nothing if there is no such folder."""
        selector = FileSelector(self.path, recursive=recursive, allow_not_found=True)
        with _reaching(self.path):
            return sorted(self.filesystem.get_file_info(selector), key=lambda info: info.path)

    def infos(self, paths: Sequence[str]) -> Sequence[FileInfo]:
        """Return what `info` returns for other paths of the same file system."""
        with _reaching(self.path):
            return self.filesystem.get_file_info([*paths])

    def make_folder(self) -> None:
        """Make the folder, and those it lies in, where it is missing."""
        with _reaching(self.path):
            self.filesystem.create_dir(self.path, recursive=True)

    def empty(self) -> None:
        """Remove what is in the folder; links, not what they lead to."""
        with _reaching(self.path):
            self.filesystem.delete_dir_contents(self.path, missing_dir_ok=True)

    def read(self) -> bytes:
        """Return the content of the file."""
        with (
            _reaching(self.path),
            self.filesystem.open_input_stream(self.path, compression=None) as stream,
        ):
            return stream.read()

    def write(self, data: bytes, *, work: "Place") -> None:
        """Write the file so that whoever reads it at any time finds all of it or none.

        On a disk it is written under another name and renamed, which also means that a link in its place is replaced
        and never followed. An object store shows an object when it is complete.

        Args:
            data: the content.
            work: folder on the same disk for the other name.
        """
        with _reaching(self.path):
            if self.is_local:
                write_whole(Path(self.path), [data], follow_links=False, work=Path(work.path))
                return
            with self.filesystem.open_output_stream(self.path, compression=None) as stream:
                stream.write(data)


@contextmanager
def _reaching(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: {error}") from error


def _require_name(path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{path!a}: a name that is not UTF-8. Rename it.") from error
    if "\0" in path:
        raise DataError(f"{path!a}: holds a zero character, which no file name has. Give another path.")


def open_place(url: str) -> Place:
    """Return the place that a path or URL names; nothing needs to be there.

    Args:
        url: a path, or the URL of what pyarrow (file, s3, gs, hdfs, ...) or else fsspec knows; keys are taken from the
            environment, as these libraries do.

    Raises:
        DataError: no such kind of URL, it needs a package that is not installed, or its name is not UTF-8.
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
    raise DataError(f"{url}: neither pyarrow nor fsspec knows such a URL.")
