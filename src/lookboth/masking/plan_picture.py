"""Text pictures of a mask plan, as printed by `lookboth inspect`. Pure Python, no torch."""

from itertools import groupby
from typing import TYPE_CHECKING

from lookboth.masking.notation import Reach, kind_of

if TYPE_CHECKING:
    from lookboth.masking.plan import MaskPlan

ALLOWED, MASKED = "■", "·"
# Tokens per side: enough to distinguish the kinds, and three grids fit on one line.
GRID = 6


def picture(plan: "MaskPlan") -> str:
    """Return a picture of the layers, the output on top, and one attention grid per kind of mask.

    >>> from lookboth.masking.plan import MaskPlan
    >>> print(picture(MaskPlan.parse("0011", 4)))
    plan 0011, 4 layers: 2 causal, 2 bidirectional
    <BLANKLINE>
      output
      layers 2-3   bidirectional
      layers 0-1   causal
      input
    <BLANKLINE>
    Each row is a token; ■ marks the tokens it may attend to.
    <BLANKLINE>
      causal        bidirectional
      ■ · · · · ·   ■ ■ ■ ■ ■ ■
      ■ ■ · · · ·   ■ ■ ■ ■ ■ ■
      ■ ■ ■ · · ·   ■ ■ ■ ■ ■ ■
      ■ ■ ■ ■ · ·   ■ ■ ■ ■ ■ ■
      ■ ■ ■ ■ ■ ·   ■ ■ ■ ■ ■ ■
      ■ ■ ■ ■ ■ ■   ■ ■ ■ ■ ■ ■
    """
    kinds = plan.kinds()
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    head = f"plan {plan}, {plan.num_layers} layer{'s' if plan.num_layers > 1 else ''}: {counts}"
    legend = f"Each row is a token; {ALLOWED} marks the tokens it may attend to."
    return "\n".join([head, "", *_layers(kinds), "", legend, "", *_grids(plan)])


def _layers(kinds: tuple[str, ...]) -> list[str]:
    """Return one line per run of layers with the same kind of mask, nearest the output first."""
    lines, first = [], 0
    for kind, run in groupby(kinds):
        last = first + len(list(run)) - 1
        name = f"layers {first}-{last}" if last > first else f"layer  {first}"
        lines.append(f"  {name:<12} {kind}")
        first = last + 1
    return ["  output", *reversed(lines), "  input"]


def _grids(plan: "MaskPlan") -> list[str]:
    """Return the grids of the distinct kinds side by side, three to a row of grids."""
    # dict.fromkeys removes duplicates and keeps the order of the layers.
    values = list(dict.fromkeys(plan.reach))
    lines: list[str] = []
    for start in range(0, len(values), 3):
        columns = [[kind_of(value), *grid(value)] for value in values[start : start + 3]]
        width = max(2 * GRID - 1, *(len(column[0]) for column in columns[:-1]), 0)
        rows = zip(*columns, strict=True)
        lines += ["  " + "   ".join(cell.ljust(width) for cell in row).rstrip() for row in rows]
        lines += [""] if start + 3 < len(values) else []
    return lines


def grid(reach: Reach, size: int = GRID) -> list[str]:
    """Return the attention grid of one kind of mask: row = query token, column = key token.

    >>> print(*grid(1, size=3), sep="\\n")
    ■ ■ ·
    ■ ■ ■
    ■ ■ ■
    """
    rows = range(size)
    return [" ".join(ALLOWED if reach is None or j - i <= reach else MASKED for j in rows) for i in rows]
