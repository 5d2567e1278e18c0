"""Files written whole or not at all, and never over what is being read."""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

from lookboth.errors import ConfigError

# What the shell has opened: writing goes on where it stands, though it may lead to a file with a name.
_OPENED = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a file to append to that takes the place of `path` at the end; after an error `path` is as it was.

    It lies beside `path` and has its suffix. A pipe, a device or what the shell has opened is given itself.

    Args:
        path: folders above it are made; a link is followed; permissions of an existing file stay.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if str(path).startswith(_OPENED) or (path.exists() and not path.is_file()):
        yield path
        return
    path = path.resolve()
    work = path.with_name(f".lookboth-{token_hex(8)}{path.suffix}")
    try:
        work.touch(exist_ok=False)
        yield work
        with work.open("rb+") as file:
            os.fsync(file.fileno())
        if path.exists():
            work.chmod(stat.S_IMODE(path.stat().st_mode))
        work.replace(path)
    except BaseException:
        work.unlink(missing_ok=True)
        raise


def write_whole(path: Path, pieces: Iterable[str]) -> None:
    """Write a file piece by piece so that nobody ever sees half of it; lone surrogates as escapes.

    Args:
        path: as of `whole_file`.
        pieces: asked for as they are written.

    Raises:
        OSError: it cannot be written.
    """
    with (
        whole_file(path) as work,
        work.open("a", encoding="utf-8", errors="backslashreplace", newline="\n") as file,
    ):
        file.writelines(pieces)


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
