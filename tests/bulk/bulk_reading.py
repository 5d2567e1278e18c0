"""Reads files as the workers of a bulk run do, part by part."""

from pathlib import Path

from lookboth.bulk.bulk_options import BulkOptions
from lookboth.bulk.input_files import find_files
from lookboth.bulk.parts import Part, divide_into_parts
from lookboth.bulk.rows import Row, read_rows
from lookboth.bulk.storage import open_place


def read_all(path: Path, options: BulkOptions) -> tuple[list[Part], list[list[Row]]]:
    """Return the parts of a file or folder and the rows of each."""
    folder, files = find_files(open_place(str(path)), options.input_format)
    parts = divide_into_parts(folder, files, options)
    return parts, [list(read_rows(folder, files[part.file], part, options)) for part in parts]
