"""Tables of texts: the rows of CSV and tab-separated files, and their column of texts."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from lookboth.data.fields import TEXT_FIELDS
from lookboth.data.problems import ProblemLog
from lookboth.data.separators import cells_of, looks_like_tag, same_columns, separator_of_header
from lookboth.errors import DataError

# The largest limit that the csv module accepts on platforms where a C long has 32 bits.
_LONGEST_FIELD = 2**31 - 1
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs"}


class Row(NamedTuple):
    """The cells of one row of a table, and the number of its first line."""

    line: int
    columns: Sequence[str]


def tsv_rows(lines: Iterable[str]) -> Iterator[Row]:
    """Yield the rows of a tab-separated file without quoting; blank lines are skipped."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield Row(number, line.split("\t"))


def csv_rows(lines: Sequence[str], log: ProblemLog) -> Iterator[Row]:
    """Yield the rows of a CSV file, separated as its first line; where the quoting is wrong, log it and end.

    Args:
        lines: the lines of the file.
        log: gets the problem.
    """
    delimiter = separator_of_header(next(filter(str.strip, lines), ""))
    reader = csv.reader((line + "\n" for line in lines), delimiter=delimiter, strict=True)
    rows, line = [], 1
    # The limit is global to the process: the whole file is read before it is restored.
    limit = csv.field_size_limit(_LONGEST_FIELD)
    try:
        for columns in reader:
            if columns:
                rows.append(Row(line, columns))
            # A quoted cell may have several lines; a row is reported at its first one.
            line = reader.line_num + 1
    except csv.Error as error:
        log.add(line, "csv", f"not CSV from here on: {error}")
    finally:
        csv.field_size_limit(limit)
    return iter(rows)


def text_column(header: Sequence[str], names: Iterable[str] = TEXT_FIELDS) -> int | None:
    """Return the index of the column of texts in a header, ignoring case; None if there is none.

    Args:
        header: the cells of the first line.
        names: possible names of the column, the preferred one first.
    """
    cells = [cell.strip().lower() for cell in header]
    return next((cells.index(name) for name in names if name in cells), None)


def texts_of_table(lines: Sequence[str], log: ProblemLog, *, is_csv: bool) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of a table with a column of texts; each line of a file that is not a table.

    Args:
        lines: the lines of a .csv or .tsv file.
        log: gets rows with more or fewer columns than the header, and wrong quoting.
        is_csv: whether cells may be quoted, and commas or semicolons separate them.

    Raises:
        DataError: a table has no column of texts.
    """
    first = next(filter(str.strip, lines), "")
    header = cells_of(first, separator_of_header(first)) if is_csv else first.split("\t")
    place = text_column(header)
    separator = same_columns(lines, ",;\t" if is_csv else "\t")
    if separator is not None and (place is None or _has_tags(lines, separator)):
        raise DataError(f"{log.name}: {_advice(lines, separator)}.")
    if place is None:
        yield from enumerate(lines, 1)
    else:
        yield from _texts([*(csv_rows(lines, log) if is_csv else tsv_rows(lines))], place, log)


def _texts(rows: Sequence[Row], place: int, log: ProblemLog) -> Iterator[tuple[int, str]]:
    count = len(rows[0].columns)
    for row in rows[1:]:
        if len(row.columns) == count:
            yield row.line, row.columns[place]
        else:
            log.add(row.line, "columns", f"{len(row.columns)} columns; the header has {count}")


def _has_tags(lines: Sequence[str], separator: str) -> bool:
    """Whether the last cells below the first line are tags of words."""
    return all(looks_like_tag(cells_of(line, separator)[-1].strip()) for line in lines[1:] if line.strip())


def _advice(lines: Sequence[str], separator: str) -> str:
    header = cells_of(next(filter(str.strip, lines)), separator)
    found = (
        f"a table with {len(header)} columns separated by {_NAMES[separator]} ({', '.join(header)!r:.100}), "
    )
    if _has_tags(lines, separator):
        return (
            f"{found}which seem to be words and tags. To label the words, write them separated by tabs into a file "
            "with the suffix .conll"
        )
    return (
        f"{found}of which none is named {' or '.join(TEXT_FIELDS)}. Name the column of the texts in the first line "
        "(text), or write one text per line into a file with the suffix .txt"
    )
