"""Atomic writing of files, and reading of state that may be damaged after a killed process."""

import json
import os
import stat
import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar

from lookboth.errors import ConfigError, first_line

State = TypeVar("State")

# Streams opened by the shell are written at their position, even if they lead to a named file.
_OPENED = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/")


@contextmanager
def whole_file(path: Path, *, follow_links: bool = True, work: Path | None = None) -> Iterator[Path]:
    """Yield a temporary file that replaces `path` at the end of the block; after an error `path` is unchanged.

    For a pipe, a device or a stream of the shell, `path` itself is yielded.

    Args:
        path: target; missing parent folders are created, and the permissions of an existing file are kept.
        follow_links: write to the target of a symbolic link, for a path named by a user. False replaces the link, for
            a file in a folder of lookboth, where a link could lead anywhere.
        work: folder on the same disk for the temporary file; None: the folder of `path`.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if follow_links and _is_stream(path):
        yield path
        return
    path = path.resolve() if follow_links else path
    # A random name, so that two processes never write to the same temporary file.
    unfinished = (work or path.parent) / f".lookboth-{token_hex(8)}{path.suffix}"
    try:
        unfinished.touch(exist_ok=False)
        yield unfinished
        # Without fsync a power failure could leave an empty file under the final name.
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        if path.is_file() and not path.is_symlink():
            unfinished.chmod(stat.S_IMODE(path.stat().st_mode))
        unfinished.replace(path)
    # BaseException includes KeyboardInterrupt: an interrupted write must not leave a temporary file.
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_whole(
    path: Path, pieces: Iterable[str | bytes], *, follow_links: bool = True, work: Path | None = None
) -> None:
    """Write a file atomically, piece by piece: a reader finds the old or the new content, never a part of it.

    Args:
        path, follow_links, work: see `whole_file`.
        pieces: content, read while it is written; text is encoded as UTF-8, lone surrogates as escapes.

    Raises:
        OSError: the file cannot be written.
    """
    with whole_file(path, follow_links=follow_links, work=work) as unfinished, unfinished.open("ab") as file:
        file.writelines(
            piece if isinstance(piece, bytes) else piece.encode("utf-8", "backslashreplace")
            for piece in pieces
        )


def open_to_readers(folder: Path) -> None:
    """Give the weight files below `folder` the permissions that new files get here (umask).

    safetensors creates them for their owner alone, so that a server of another user could not read a labeler.
    """
    new = folder / f".lookboth-{token_hex(8)}"
    new.touch(exist_ok=False)
    granted = stat.S_IMODE(new.stat().st_mode)
    new.unlink()
    for path in folder.rglob("*.safetensors"):
        if not path.is_symlink():
            path.chmod(stat.S_IMODE(path.stat().st_mode) | granted)


def write_json(path: Path, value: Any) -> None:
    """Write an indented JSON file in a folder of lookboth, atomically; a link of that name is replaced.

    Raises:
        OSError: the file cannot be written.
    """
    write_whole(path, [json.dumps(value, indent=2, ensure_ascii=False), "\n"], follow_links=False)


def read_state(path: Path, make: Callable[[Any], State]) -> State | None:
    """Read state that was saved for resuming; return None if the file is missing or damaged.

    Args:
        path: a JSON file.
        make: converts the parsed JSON to the state; its ValueError, TypeError or KeyError means that it is damaged.

    Raises:
        OSError: the file exists but cannot be read.
    """
    try:
        return make(json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def require_other_file(source: str | Path, out: str | Path) -> None:
    """Refuse to overwrite the input file; a pipe or device may be input and output.

    Args:
        source: an input file, or a text.
        out: the output file, which may not exist yet.

    Raises:
        ConfigError: both are the same file.
    """
    try:
        same = Path(out).is_file() and os.path.samefile(source, out)
    except (OSError, ValueError):  # a long text is not a valid path
        return
    if same:
        raise ConfigError(f"{out}: is the input file. Name another file for the output.")


def _is_stream(path: Path) -> bool:
    return str(path).startswith(_OPENED) or (path.exists() and not path.is_file())


def read_config_text(path: Path, missing: str) -> str:
    """Return the text of a UTF-8 file, without the byte order mark that some editors of Windows write.

    Args:
        path: the file.
        missing: message if the file does not exist.

    Raises:
        ConfigError: the file cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: {missing}") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text: {first_line(error)}. Save it as UTF-8.") from error


def read_toml(path: Path, missing: str, hint: str = "") -> dict[str, Any]:
    """Return the content of a TOML file.

    Args:
        path: the file.
        missing: message if the file does not exist.
        hint: what to say after the message of the parser.

    Raises:
        ConfigError: the file cannot be read, or is not TOML.
    """
    text = read_config_text(path, missing)
    try:
        return tomllib.loads(text)
    # Not TOML, a number of 5,000 digits; 1,000 brackets exceed the recursion limit.
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not a TOML file: {first_line(error)}.{hint}") from error
