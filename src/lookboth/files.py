"""The one way to write a file whole, and to read back state that a kill may have cut."""

import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar

from lookboth.errors import ConfigError

State = TypeVar("State")

# Streams that the shell has opened: writing continues at their position, although they may lead to a named file.
_OPENED = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/")


@contextmanager
def whole_file(path: Path, *, follow_links: bool = True, work: Path | None = None) -> Iterator[Path]:
    """Give a file to fill that replaces `path` at the end of the block; after an error `path` is unchanged.

    A pipe, a device or a stream of the shell is given itself.

    Args:
        path: missing folders above it are made; the permissions of an existing file are kept.
        follow_links: write the file that a symbolic link leads to (a path named by a user), or replace the link
            (a file in a folder of ours, where a link could lead anywhere).
        work: folder on the same disk for the unfinished file; the folder of `path` if None.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if follow_links and _is_stream(path):
        yield path
        return
    path = path.resolve() if follow_links else path
    unfinished = (work or path.parent) / f".lookboth-{token_hex(8)}{path.suffix}"
    try:
        unfinished.touch(exist_ok=False)
        yield unfinished
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        if path.is_file() and not path.is_symlink():
            unfinished.chmod(stat.S_IMODE(path.stat().st_mode))
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_whole(
    path: Path, pieces: Iterable[str | bytes], *, follow_links: bool = True, work: Path | None = None
) -> None:
    """Write a file piece by piece so that a reader finds the old or the new content, never a part of it.

    Args:
        path, follow_links, work: see `whole_file`.
        pieces: read as they are written; text becomes UTF-8, lone surrogates in it become their escapes.

    Raises:
        OSError: it cannot be written.
    """
    with whole_file(path, follow_links=follow_links, work=work) as unfinished, unfinished.open("ab") as file:
        file.writelines(
            piece if isinstance(piece, bytes) else piece.encode("utf-8", "backslashreplace")
            for piece in pieces
        )


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file of a folder of ours, indented; a link of that name is replaced.

    Raises:
        OSError: it cannot be written.
    """
    write_whole(path, [json.dumps(value, indent=2, ensure_ascii=False), "\n"], follow_links=False)


def read_state(path: Path, make: Callable[[Any], State]) -> State | None:
    """Return what a program left for its next start, None if there is no such file or it is damaged.

    Args:
        path: a JSON file.
        make: turns the parsed JSON into the state; its ValueError, TypeError or KeyError means damaged.

    Raises:
        OSError: it exists and cannot be read.
    """
    try:
        return make(json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def require_other_file(source: str | Path, out: str | Path) -> None:
    """Refuse to write over the file that is read; pipes and devices may be both.

    Args:
        source: a file, or a text that is the name of none.
        out: to be written; need not exist.

    Raises:
        ConfigError: both are one file.
    """
    try:
        same = Path(out).is_file() and os.path.samefile(source, out)
    except (OSError, ValueError):  # a long text is no path
        return
    if same:
        raise ConfigError(f"{out}: is the file that is read. Name another file to write.")


def _is_stream(path: Path) -> bool:
    return str(path).startswith(_OPENED) or (path.exists() and not path.is_file())
