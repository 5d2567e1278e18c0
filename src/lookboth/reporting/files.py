"""The files of a report."""

import re
from pathlib import Path

from lookboth.errors import DataError


def write_text(path: Path, text: str) -> None:
    """Write a file, its folder made where it is missing.

    Raises:
        DataError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); give another --out.") from error


def slug(name: str) -> str:
    """Return a name fit for a file.

    >>> slug("uner_en_ewt → wikigold")
    'uner_en_ewt-wikigold'
    """
    return re.sub(r"[^A-Za-z0-9_.+=]+", "-", name).strip("-")
