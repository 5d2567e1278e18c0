"""Conversion of a file of any known kind into one that is read here, and the check that nothing changed."""

from dataclasses import asdict
from pathlib import Path

from lookboth.data import DataReport, count_split, encoded_as, require_clean
from lookboth.data.conversion.convert_options import ConvertOptions
from lookboth.data.conversion.kinds import KINDS
from lookboth.data.conversion.writing import write_data
from lookboth.errors import ConfigError
from lookboth.files import require_other_file

__all__ = ["KINDS", "convert"]


def convert(
    kind: str,
    source: str | Path,
    out: str | Path,
    options: ConvertOptions | None = None,
    *,
    repair: bool = False,
    encoding: str | None = None,
) -> DataReport:
    """Convert a file of published or annotated data, and read it back to see that nothing changed on the way.

    Args:
        kind: one of `KINDS`.
        source: the file as published, or as the tool exports it; for brat also a folder.
        out: the file to write: `.conll`, or `.jsonl` (raw text is kept there).
        options: what is taken over; None for the defaults of the kind.
        repair: leave out or repair what cannot be taken over, instead of stopping; the report names it all.
        encoding: of the source, as of `encoded_as`; what is written is UTF-8.

    Raises:
        ConfigError: if there is no such kind, an option means nothing for it, or the file to write is the source.
        DataError: if the file cannot be read, or holds what cannot be taken over and `repair` is not set.
    """
    found = KINDS.get(kind)
    if found is None:
        raise ConfigError(f"unknown kind of data {kind!r}; there are {', '.join(KINDS)}.")
    options = options or ConvertOptions()
    given = [name for name, value in asdict(options).items() if value is not None]
    wrong = next((name for name in given if name not in found.options), None)
    if wrong:
        allowed = ", ".join(map(_option, found.options)) or "none"
        raise ConfigError(f"{_option(wrong)} means nothing for {kind}; its options: {allowed}. Leave it out.")
    require_other_file(source, out)
    with encoded_as(encoding):
        converted = found.read(source, options, repair=repair)
    dataset = converted.dataset
    require_clean(dataset)
    write_data(converted, out)
    return DataReport((count_split(kind, dataset),), tuple(dataset.problems))


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
