"""Layers of tags: cells that hold several tags, and further columns or fields of tags, as one tag per word each."""

from collections.abc import Iterator, Sequence

from lookboth.data.column_layout import Columns, find_standard_tags
from lookboth.data.nesting import ONE_LABEL, overlaps_kept
from lookboth.data.problems import ProblemLog
from lookboth.data.schemes import OUTSIDE
from lookboth.data.tag_styles import IN_ONE_CELL, joins_tags

_CONTINUES = "IEL"


def separate_tags(cells: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the sequences of tags of cells that may hold several, such as `I-ORG|B-GPE`; at least one.

    A tag that continues a span is in the sequence of the span; all others are in the first free one.

    >>> separate_tags(["B-ORG", "I-ORG|B-GPE", "I-GPE", "O"])
    [('B-ORG', 'I-ORG', 'O', 'O'), ('O', 'B-GPE', 'I-GPE', 'O')]
    """
    if not any(map(joins_tags, cells)):
        return [tuple(cells)]
    layers: list[list[str]] = [[]]
    for place, cell in enumerate(cells):
        for tag in _parts(cell):
            _layer_of(tag, layers, place).append(tag)
        for layer in layers:
            layer += [OUTSIDE] * (place + 1 - len(layer))
    return [tuple(layer) for layer in layers]


def _parts(cell: str) -> list[str]:
    """Return the tags of a cell without "O"; those that continue a span first."""
    separator = next((each for each in IN_ONE_CELL if each in cell), None) if joins_tags(cell) else None
    parts = [part for part in (cell.split(separator) if separator else [cell]) if part != OUTSIDE]
    return sorted(parts, key=lambda part: part[:1] not in _CONTINUES)


def _layer_of(tag: str, layers: list[list[str]], place: int) -> list[str]:
    """Return the layer of a tag at a place: that of the span it continues, else the first free one."""
    free = [layer for layer in layers if len(layer) == place]
    if tag[:1] in _CONTINUES:
        for layer in free:
            if place and layer[-1][:1] in ("B", "I") and layer[-1][1:] == tag[1:]:
                return layer
    if not free:
        layers.append([OUTSIDE] * place)
        return layers[-1]
    return free[0]


def cells_of(row: Sequence[str], columns: Sequence[int]) -> tuple[str, ...]:
    """Return the cells of these columns; "O" where the row is too short."""
    return tuple(row[column] if column < len(row) else OUTSIDE for column in columns)


def note_layers(rows: Sequence[list[str]], columns: Columns, layers: Sequence[int], log: ProblemLog) -> None:
    """Log further columns of tags, and whether they are read.

    Args:
        rows, columns: rows of a file and their layout.
        layers: the output of `find_other_layers`.
        log: receives the notes.
    """
    for message in _notes(rows, columns, layers):
        log.add(columns.first_line(rows), "two-layers", message, fatal=False)


def _notes(rows: Sequence[list[str]], columns: Columns, layers: Sequence[int]) -> Iterator[str]:
    if layers and not overlaps_kept():
        shown = " and ".join(map(str, layers))
        found = f"column {shown} has tags of the same labels; column {columns.tag} is read; see --tag-column"
        yield f"{found}; {ONE_LABEL}"
    elif layers:
        shown = " and ".join(map(str, sorted((columns.tag % columns.usual, *layers))))
        yield f"columns {shown} have tags of the same labels; all are read, as spans that may overlap"
    # In a file whose tags are all "O", the tags may be in another column.
    empty = columns.tags <= {OUTSIDE}
    other = find_standard_tags(rows, columns) if overlaps_kept() or empty else None
    if other is not None and other not in layers:
        yield f"column {other} has tags of other labels, so it is not read; see --tag-column"


def layer_note(layer: str, field: str) -> str:
    """Return the note about a field with a further layer of tags: whether it is read."""
    if overlaps_kept():
        return f"{field!r} and {layer!r} are both read, as spans that may overlap"
    return f"{layer!r} has a further layer of tags; {field!r} is read; {ONE_LABEL}"
