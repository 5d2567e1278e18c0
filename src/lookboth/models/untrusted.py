"""Folders that others made: what may be read of them, and how every failure over them ends in one message."""

import json
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookboth.errors import LookbothError, ModelError, first_line

if TYPE_CHECKING:
    import torch

READ_SUFFIXES = frozenset({".json", ".jsonl", ".jinja", ".safetensors", ".txt", ".model"})
MAX_JSON_BYTES = 200_000_000  # the largest tokenizers have some 40 MB


def check_folder(folder: Path) -> None:
    """Refuse a folder in which a file to be read is a device, a pipe or a broken link, or too large to be JSON.

    Links to files elsewhere are followed, as the Hub's cache consists of them: they are only read.

    Args:
        folder: of a saved labeler; folders in it are looked into, those in them are not.

    Raises:
        ModelError: names the file.
    """
    for file in _entries(folder):
        if file.suffix not in READ_SUFFIXES:
            continue
        try:
            status = file.stat()
        except OSError as error:
            raise ModelError(
                f"{file}: cannot be read: {error.strerror}. Save or download the labeler again."
            ) from error
        if not stat.S_ISREG(status.st_mode):
            raise ModelError(f"{file}: not a plain file. Save or download the labeler again.")
        if file.suffix != ".safetensors" and status.st_size > MAX_JSON_BYTES:
            raise ModelError(
                f"{file}: has {status.st_size:,} bytes; allowed are {MAX_JSON_BYTES:,}. "
                "Save or download the labeler again."
            )


def read_object(file: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises:
        FileNotFoundError: it is not there.
        ModelError: it cannot be read, or holds something else.
    """
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{file}: not valid JSON: {first_line(error)}") from error
    if not isinstance(data, dict):
        raise ModelError(f"{file}: holds no JSON object but a {type(data).__name__}.")
    return data


def read_weights(file: Path) -> "dict[str, torch.Tensor]":
    """Return the tensors of a safetensors file.

    Raises:
        ModelError: it is not there, or damaged.
    """
    from safetensors.torch import load_file

    with as_model_error(f"{file}: cannot be read"):
        return load_file(file)


@contextmanager
def as_model_error(what: str, advice: str = "") -> Iterator[None]:
    """Turn whatever a library raises in this block into one ModelError.

    Libraries that load models raise some dozen unrelated types over files they do not expect, and the one for
    tokenizers ends in a panic, which is no `Exception`.

    Args:
        what: the beginning of the message.
        advice: its end.

    Raises:
        ModelError: for everything but errors of lookboth and requests to stop.
    """
    try:
        yield
    except (LookbothError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        kind = "" if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: "
        raise ModelError(f"{what}: {kind}{first_line(error)} {advice}".rstrip()) from error


def _entries(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.iterdir()):
        if file.is_dir():
            yield from sorted(file.iterdir())
        else:
            yield file
