"""Tables and their rendering as Markdown, LaTeX, CSV and HTML."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lookboth.html_pages import load_template

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "<": "$<$",
    ">": "$>$",
    "→": r"$\rightarrow$",
    "†": r"\textsuperscript{\dag}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


@dataclass(frozen=True)
class Table:
    """A table as text, and its records with unrounded numbers.

    Args:
        name: name of its files.
        caption: caption, one or two sentences.
        columns: titles of the columns.
        rows: cells of each row, one text per column.
        records: rows of the CSV file, all with the same keys.
        num_headers: number of columns, from the left, that identify the row; the others are numbers.
    """

    name: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    records: Sequence[Mapping[str, object]]
    num_headers: int = 1


def to_markdown(table: Table) -> str:
    """Return the table as GitHub's Markdown, with the caption above.

    >>> print(to_markdown(Table("t", "Scores.", ["method", "F1"], [["a|b", "1.0"]], [])), end="")
    Scores.
    <BLANKLINE>
    | method | F1 |
    |---|--:|
    | a\\|b | 1.0 |
    """
    rule = ["---"] * table.num_headers + ["--:"] * (len(table.columns) - table.num_headers)
    lines = [_markdown_row(table.columns), f"|{'|'.join(rule)}|", *map(_markdown_row, table.rows)]
    return f"{escape_markdown(table.caption)}\n\n" + "\n".join(lines) + "\n"


def to_latex(table: Table) -> str:
    """Return the table as LaTeX (package booktabs).

    >>> [line for line in to_latex(Table("t", "", ["m", "F1"], [["sr_1", "1 ± 2"]], [])).splitlines() if "&" in line]
    ['m & F1 \\\\\\\\', 'sr\\\\_1 & 1 $\\\\pm$ 2 \\\\\\\\']
    """
    layout = "l" * table.num_headers + "r" * (len(table.columns) - table.num_headers)
    head, *body = (" & ".join(map(escape_latex, row)) + r" \\" for row in (table.columns, *table.rows))
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(table.caption)}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{{layout}}}",
        r"\toprule",
        head,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def to_csv(table: Table) -> str:
    """Return the records as CSV with a header; missing values are empty."""
    text = io.StringIO()
    writer = csv.DictWriter(
        text, fieldnames=list(table.records[0]) if table.records else [], lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(table.records)
    return text.getvalue()


def to_html(table: Table) -> str:
    """Return the table as HTML with caption and row headers, in a box that scrolls horizontally."""
    return load_template("lookboth.reporting", "table.html").render(table=table)


def escape_markdown(text: str) -> str:
    """Escape the special characters of Markdown."""
    return re.sub(r"([\\`*|<\[\]])", r"\\\1", text)


def escape_latex(text: str) -> str:
    """Escape the special characters of LaTeX."""
    return "".join(_LATEX.get(character, character) for character in text)


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(escape_markdown, cells))} |"
