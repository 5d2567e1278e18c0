"""Encodings of text files: named by the user or a byte order mark, else UTF-8; guesses only appear in messages."""

import codecs
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass

from lookboth.errors import ConfigError

# UTF-8 in which invalid bytes are read as U+FFFD.
REPLACE = "utf-8-replace"
# UTF-32 comes first: its little-endian mark begins with the mark of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8"),
)
_USUAL = (
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp874", "koi8_r"),
    *("gb18030", "big5", "shift_jis", "euc_jp", "euc_kr"),
)
_NUM_PROPOSED = 3
_CHARS_SHOWN = 60
# Bytes; enough for a guess, and quick to analyse.
_BYTES_LOOKED_AT = 65_536
_encoding: ContextVar[str | None] = ContextVar("encoding", default=None)


@dataclass(frozen=True, slots=True)
class Undecodable:
    """The reason why bytes cannot be decoded: the line of the first invalid byte and what to type."""

    line: int
    message: str


@contextmanager
def encoded_as(encoding: str | None) -> Iterator[None]:
    """Read files in this encoding inside a `with` block; None changes nothing.

    Raises:
        ConfigError: if the encoding is unknown.
    """
    if require_encoding(encoding) is None:
        yield
        return
    token = _encoding.set(encoding)
    try:
        yield
    finally:
        _encoding.reset(token)


def named_encoding(data: bytes) -> str | None:
    """Return the encoding named by the user, else the one of the byte order mark, else None."""
    return _encoding.get() or next((name for mark, name in _MARKS if data.startswith(mark)), None)


def preview(head: bytes) -> str:
    """Decode the first bytes of a file, with U+FFFD for invalid bytes."""
    encoding = named_encoding(head)
    known = "utf-8" if encoding is None or encoding == REPLACE else encoding
    return head.decode(known, errors="replace").removeprefix("\ufeff")


def is_wide(data: bytes, encoding: str | None) -> bool:
    """Return whether a line feed takes several bytes, so that the text must be decoded before it is split."""
    if encoding is None:
        return _wide(data) is not None
    return encoding != REPLACE and codecs.lookup(encoding).name.startswith(("utf-16", "utf-32"))


def decode(data: bytes, encoding: str | None) -> str | Undecodable:
    """Decode bytes, keeping the byte order mark of UTF-8; return the reason if they cannot be decoded.

    Args:
        data: bytes of a file or of a line.
        encoding: None: UTF-8; bytes that look like UTF-16 are then refused.

    >>> decode("São".encode(), None), decode("é".encode("latin1"), "latin1")
    ('São', 'é')
    """
    if encoding == REPLACE:
        return data.decode("utf-8", errors="replace")
    looks = None if encoding else _wide(data)
    if looks:
        return Undecodable(1, f"looks like {looks.upper()} without a byte order mark; {_type(looks)}")
    try:
        return data.decode(encoding or "utf-8")
    except UnicodeError as error:
        place = error.start if isinstance(error, UnicodeDecodeError) else 0
    line = data.count(b"\n", 0, place) + 1
    return Undecodable(line, f"byte {data[place]:#04x} is not {encoding or 'UTF-8'}. {_propose(data, place)}")


def require_encoding(encoding: str | None) -> str | None:
    """Check that the encoding is known and return it.

    Raises:
        ConfigError: if the encoding is unknown.
    """
    if encoding is not None and encoding != REPLACE and not _known(encoding):
        raise ConfigError(
            f"--encoding {encoding}: no such encoding. Use a name that Python knows (utf-8, utf-16, cp1252, gb18030, "
            f"...), or {REPLACE} to read bytes that are not UTF-8 as U+FFFD."
        )
    return encoding


def _known(encoding: str) -> bool:
    try:
        b"a".decode(encoding)
    except UnicodeError:
        # The encoding exists; this byte is just invalid in it.
        return True
    except (LookupError, ValueError):
        return False
    return True


def _wide(data: bytes) -> str | None:
    """Return "utf-16-le" or "utf-16-be" if every other byte is mostly 0, else None."""
    seen = data[:_BYTES_LOOKED_AT]
    even, odd = seen[::2].count(0), seen[1::2].count(0)
    if len(seen) < 4 or max(even, odd) * 4 < len(seen) or min(even, odd) * 8 > max(even, odd):
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _propose(data: bytes, place: int) -> str:
    """Return what to type, with the line of the first invalid byte decoded by likely encodings."""
    lines = [line for line in re.split(rb"[\r\n]+", data) if not line.isascii()]
    good = sum(map(_is_utf8, lines))
    replace = f"to read such bytes as U+FFFD, type --encoding {REPLACE}"
    if good * 2 > len(lines):
        return f"{good} other lines with letters beyond ASCII are UTF-8: correct the line, or {replace}"
    readings: dict[str, str] = {}
    line = data[data.rfind(b"\n", 0, place) + 1 :].partition(b"\n")[0].strip()
    for name in _guesses(b"\n".join(lines)[:_BYTES_LOOKED_AT]):
        with suppress(UnicodeDecodeError):
            readings.setdefault(line.decode(name)[:_CHARS_SHOWN], name)
    if not readings:
        return f"The file may not be text; {replace}"
    shown = ", ".join([f"{text!r} in {name}" for text, name in readings.items()][:_NUM_PROPOSED])
    return f"The line reads {shown}; {_type(next(iter(readings.values())))}; {replace}"


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _guesses(sample: bytes) -> list[str]:
    """Return likely encodings, the likeliest first; Western European ones win if the sample looks like them."""
    from charset_normalizer import from_bytes

    found = [match.encoding for match in from_bytes(sample, cp_isolation=list(_USUAL))]
    return ["cp1252", *found] if not found or _looks_latin(sample) else found


def _looks_latin(sample: bytes) -> bool:
    """Return whether most bytes beyond ASCII are single, as accented letters are, and Western European letters."""
    runs = re.findall(rb"[\x80-\xff]+", sample)
    alone = [run for run in runs if len(run) == 1]
    letters = b"".join(alone).decode("cp1252", errors="replace")
    return len(alone) * 5 > len(runs) * 4 and sum(map(str.isalpha, letters)) * 5 > len(letters) * 4


def _type(encoding: str) -> str:
    return f'type --encoding {encoding} (in a recipe: data.encoding = "{encoding}")'
