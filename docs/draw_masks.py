"""Draw the picture of two mask plans in README.md: python docs/draw_masks.py"""

from pathlib import Path

PICTURE = Path(__file__).with_name("masks.svg")
WORDS = ("Ada", "met", "Babbage", "in", "London")
CELL, GAP, LEFT, TOP = 22, 3, 74, 66  # pixels
WIDTH, HEIGHT = 520, TOP + len(WORDS) * (CELL + GAP) + 34
STYLE = """
text { font: 13px ui-sans-serif, system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 } .small { font-size: 11px; fill: #57606a }
.left { fill: #54aeff } .right { fill: #2da44e } .closed { fill: none; stroke: #d0d7de }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9198a1 }
  .left { fill: #1f6feb } .right { fill: #3fb950 } .closed { stroke: #3d444d }
}"""


def masks_svg() -> str:
    """Return the picture: which words each word may attend to, in a causal and in an unmasked layer."""
    panels = (
        _panel(0, "causal layer: 0", looks_right=False),
        _panel(WIDTH // 2, "unmasked layer: 1", looks_right=True),
    )
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    label = 'role="img" aria-label="Attention of a causal layer and of an unmasked layer"'
    body = "\n".join(panels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {label}>\n<style>{STYLE}\n</style>\n{body}\n</svg>\n'
    )


def _panel(x: int, title: str, *, looks_right: bool) -> str:
    parts = [_text(x + LEFT, 18, title, "title")]
    for row, word in enumerate(WORDS):
        y = TOP + row * (CELL + GAP)
        parts.append(f'<text x="{x + LEFT - 8}" y="{y + 15}" text-anchor="end">{word}</text>')
        parts += [_cell(x, y, row, column, looks_right=looks_right) for column in range(len(WORDS))]
    parts += [_column_title(x, column, word) for column, word in enumerate(WORDS)]
    return "\n".join(parts)


def _cell(x: int, y: int, row: int, column: int, *, looks_right: bool) -> str:
    kind = "left" if column <= row else "right" if looks_right else "closed"
    left = x + LEFT + column * (CELL + GAP)
    return f'<rect class="{kind}" x="{left}" y="{y}" width="{CELL}" height="{CELL}" rx="4"/>'


def _column_title(x: int, column: int, word: str) -> str:
    left, y = x + LEFT + column * (CELL + GAP) + 8, TOP - 6
    return f'<text class="small" x="{left}" y="{y}" transform="rotate(-40 {left} {y})">{word}</text>'


def _text(x: int, y: int, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x}" y="{y}">{text}</text>'


if __name__ == "__main__":
    PICTURE.write_text(masks_svg(), encoding="utf-8")
