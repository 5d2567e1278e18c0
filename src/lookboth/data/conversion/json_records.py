"""Converter of JSON records with tokens and tags, or with texts and spans."""

from pathlib import Path

from lookboth.data import read_jsonl
from lookboth.data.conversion.convert_options import Converted, ConvertOptions


def read_json(path: str | Path, options: ConvertOptions, *, repair: bool = False) -> Converted:
    """Read JSON records with `read_jsonl`.

    Args:
        path: the file, UTF-8.
        options: `several`, `offsets`, `text_field`, `label_field` and `scheme`.
        repair: as in `read_jsonl`.

    Raises:
        DataError: if the file cannot be read at all.
    """
    dataset = read_jsonl(
        path,
        scheme=options.scheme,
        text_field=options.text_field,
        label_field=options.label_field,
        several=options.several,
        counting=options.counting,
        repair=repair,
    )
    return Converted(dataset)
