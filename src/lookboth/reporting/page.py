"""Blocks of a report, and their rendering as a Markdown and an HTML page."""

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from lookboth.reporting.table_markup import Table, escape_markdown, to_html, to_markdown


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the title of the page."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of text."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list, whose items may link to files next to the page.

    Args:
        texts: text of each item.
        links: relative address of each item's link, or "".
    """

    texts: Sequence[str]
    links: Sequence[str] = ()


@dataclass(frozen=True)
class Picture:
    """A plot in a file next to the page.

    Args:
        file: relative address of the file.
        alt: description for readers who cannot see it.
        caption: explanation of the plot.
    """

    file: str
    alt: str
    caption: str


Block: TypeAlias = Heading | Paragraph | Items | Picture | Table

_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ max-width: 68rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.6 system-ui, sans-serif; color: #1a1a1a;
  background: #fff; }}
p, li {{ max-width: 46rem; }}
a {{ color: #0b57a4; }}
.table {{ overflow-x: auto; margin: 1.5rem 0; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }}
caption {{ text-align: start; max-width: min(46rem, calc(100vw - 2rem)); padding-bottom: .5rem;
  position: sticky; left: 0; }}
th, td {{ padding: .25rem .7rem; text-align: end; border-bottom: 1px solid #8884; white-space: nowrap; }}
th[scope=row], .name {{ text-align: start; }}
tbody th {{ font-weight: 500; }}
thead th {{ border-bottom: 2px solid #888; vertical-align: bottom; font-weight: 700; }}
figure {{ margin: 1.5rem 0; }}
figure img {{ max-width: 100%; height: auto; background: #fff; border-radius: .3rem; }}
figcaption {{ max-width: 46rem; }}
.picture {{ overflow-x: auto; }}
@media (max-width: 40rem) {{ .picture img {{ max-width: none; width: 40rem; }} }}
:focus-visible {{ outline: 3px solid #d55e00; outline-offset: 2px; }}
@media (prefers-color-scheme: dark) {{
  body {{ color: #e8e8e8; background: #16181c; }}
  a {{ color: #8ec5ff; }}
}}
</style>
</head>
<body>
<main>
"""


def page_to_markdown(blocks: Iterable[Block]) -> str:
    """Return the page as Markdown.

    >>> print(page_to_markdown([Heading("Scores", 1), Items(["a", "b"], ["a.html", ""])]), end="")
    # Scores
    <BLANKLINE>
    - [a](a.html)
    - b
    """
    return "\n".join(_markdown(block) for block in blocks)


def page_to_html(blocks: Sequence[Block]) -> str:
    """Return the page as HTML for light and dark mode; its pictures are the only other files."""
    title = next((block.text for block in blocks if isinstance(block, Heading)), "Report")
    body = "".join(_html(block) for block in blocks)
    return f"{_HEAD.format(title=html.escape(title))}{body}</main>\n</body>\n</html>\n"


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {escape_markdown(text)}\n"
        case Paragraph(text):
            return f"{escape_markdown(text)}\n"
        case Items():
            return "".join(f"- {_markdown_item(text, link)}\n" for text, link in _linked(block))
        case Picture(file, alt, caption):
            return f"![{escape_markdown(alt)}]({file})\n\n{escape_markdown(caption)}\n"
        case Table():
            return to_markdown(block)


def _html(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{html.escape(text)}</h{level}>\n"
        case Paragraph(text):
            return f"<p>{html.escape(text)}</p>\n"
        case Items():
            return f"<ul>\n{''.join(_html_item(text, link) for text, link in _linked(block))}</ul>\n"
        case Picture(file, alt, caption):
            image = f'<img src="{html.escape(file)}" alt="{html.escape(alt)}" loading="lazy">'
            image = f'<div class="picture" role="region" tabindex="0" aria-label="Plot">{image}</div>'
            return f"<figure>\n{image}\n<figcaption>{html.escape(caption)}</figcaption>\n</figure>\n"
        case Table():
            return to_html(block)


def _linked(items: Items) -> Iterable[tuple[str, str]]:
    return zip(items.texts, items.links or [""] * len(items.texts), strict=True)


def _markdown_item(text: str, link: str) -> str:
    return f"[{escape_markdown(text)}]({link})" if link else escape_markdown(text)


def _html_item(text: str, link: str) -> str:
    shown = html.escape(text)
    return f'<li><a href="{html.escape(link)}">{shown}</a></li>\n' if link else f"<li>{shown}</li>\n"
