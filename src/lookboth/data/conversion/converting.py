"""Conversion of a file of any known kind to a file that all commands read."""

from dataclasses import asdict
from pathlib import Path

from lookboth.data import DataReport, count_split, encoded_as, keep_overlaps, require_clean, split_with
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
    splitter: str | None = None,
    cut_words: bool = False,
    nested: bool = False,
) -> DataReport:
    """Convert a file of published or annotated data, and read the result back to check that nothing changed.

    Args:
        kind: one of `KINDS`.
        source: the file as published or as exported by the tool; for brat also a folder.
        out: the file to write: `.conll`, or `.jsonl` (keeps raw text).
        options: options of the kind; None: its defaults.
        repair: leave out or repair data that cannot be converted instead of stopping; the report lists all of it.
        encoding: encoding of the source, as in `encoded_as`; the output is UTF-8.
        splitter, cut_words, nested: as in `ReadOptions`; spans that overlap need `.jsonl`.

    Raises:
        ConfigError: if the kind or the splitter is unknown, an option does not apply, or the output is the source.
        DataError: if the file cannot be read, or holds data that cannot be converted and `repair` is not set.
    """
    found = KINDS.get(kind)
    if found is None:
        raise ConfigError(f"unknown kind of data {kind!r}; choose one of {', '.join(KINDS)}.")
    options = options or ConvertOptions()
    given = [name for name, value in asdict(options).items() if value is not None]
    wrong = next((name for name in given if name not in found.options), None)
    if wrong:
        allowed = ", ".join(map(_option, found.options)) or "none"
        raise ConfigError(f"{_option(wrong)} does not apply to {kind}; its options: {allowed}. Leave it out.")
    require_other_file(source, out)
    with encoded_as(encoding), split_with(splitter, cut_words=cut_words), keep_overlaps(nested):
        dataset = found.read(source, options, repair=repair).dataset
    require_clean(dataset)
    write_data(dataset, out, documents=bool(options.documents))
    return DataReport((count_split(kind, dataset),), tuple(dataset.problems))


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
