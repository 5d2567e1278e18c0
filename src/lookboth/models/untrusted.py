"""Reads files of untrusted folders: checks what may be read, and turns every failure into one ModelError."""

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
# Bytes; the largest tokenizers have about 40 MB.
MAX_JSON_BYTES = 200_000_000


def check_folder(folder: Path) -> None:
    """Refuse a folder if a file to be read is a device, a pipe, a broken link, or too large for JSON.

    Links to files elsewhere are followed because the Hub's cache consists of links; files are only read.

    Args:
        folder: folder of a saved labeler; its subfolders are checked as well, one level deep.

    Raises:
        ModelError: the first such file, by name.
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
                f"{file}: has {status.st_size:,} bytes; allowed are up to {MAX_JSON_BYTES:,}. "
                "Save or download the labeler again."
            )


def read_object(file: Path) -> dict[str, Any]:
    """Read a JSON file that contains an object.

    Raises:
        FileNotFoundError: the file does not exist.
        ModelError: the file is not readable, not valid JSON, or contains another type.
    """
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{file}: not valid JSON: {first_line(error)}") from error
    if not isinstance(data, dict):
        raise ModelError(f"{file}: must contain a JSON object; found a {type(data).__name__}.")
    return data


def read_weights(file: Path) -> "dict[str, torch.Tensor]":
    """Read the tensors of a safetensors file.

    Raises:
        ModelError: the file is missing or damaged.
    """
    from safetensors.torch import load_file

    with as_model_error(f"{file}: cannot be read"):
        return load_file(file)


@contextmanager
def as_model_error(what: str, advice: str = "") -> Iterator[None]:
    """Turn every exception of a library in this block into one ModelError.

    Libraries that load models raise about a dozen unrelated exception types for unexpected files. The tokenizers
    library panics, and its panic is not an `Exception`.

    Args:
        what: the beginning of the message.
        advice: the end of the message.

    Raises:
        ModelError: for every exception except errors of lookboth and requests to stop.
    """
    try:
        yield
    except (LookbothError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    # BaseException, because the panic of the tokenizers library is not an Exception.
    except BaseException as error:
        kind = "" if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: "
        raise ModelError(f"{what}: {kind}{first_line(error)} {advice}".rstrip()) from error


def _entries(folder: Path) -> Iterator[Path]:
    # A saved labeler has one level of subfolders. Sorting makes the reported file the same on every system.
    for file in sorted(folder.iterdir()):
        if file.is_dir():
            yield from sorted(file.iterdir())
        else:
            yield file
