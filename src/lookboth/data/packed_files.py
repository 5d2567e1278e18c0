"""Compressed files: the format of a file is the suffix before `.gz`, and its content is unpacked while it is read."""

from bz2 import BZ2File
from collections.abc import Callable, Mapping
from gzip import GzipFile
from io import BufferedIOBase
from lzma import LZMAError, LZMAFile
from pathlib import Path
from types import MappingProxyType
from zlib import error as ZlibError

PACKED: Mapping[str, Callable[[Path], BufferedIOBase]] = MappingProxyType(
    {".gz": GzipFile, ".bz2": BZ2File, ".xz": LZMAFile}
)
# gzip and bz2 raise OSError and EOFError for damaged files.
UNPACKING_ERRORS = (EOFError, ZlibError, LZMAError)


def suffix_of(path: str | Path) -> str:
    """Return the suffix of the format in lower case, without that of a compression.

    >>> suffix_of("data/Train.CONLL.gz"), suffix_of("train.jsonl")
    ('.conll', '.jsonl')
    """
    return Path(_unpacked_name(path)).suffix.lower()


def stem_of(path: str | Path) -> str:
    """Return the name of a file without the suffixes of format and compression.

    >>> stem_of("data/train.conll.gz")
    'train'
    """
    return Path(_unpacked_name(path)).stem


def open_unpacked(path: str | Path) -> BufferedIOBase:
    """Open a file for reading bytes, unpacked if its suffix is that of a compression.

    Raises:
        OSError: if the file cannot be opened. A damaged file raises OSError or `UNPACKING_ERRORS` while it is read.
    """
    unpack = PACKED.get(Path(path).suffix.lower())
    return Path(path).open("rb") if unpack is None else unpack(Path(path))


def _unpacked_name(path: str | Path) -> str:
    name = Path(path).name
    return Path(name).stem if Path(name).suffix.lower() in PACKED else name
