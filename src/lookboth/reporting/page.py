"""Blocks of a report, and their rendering as a Markdown and an HTML page."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from lookboth.html_pages import load_template
from lookboth.reporting.table_markup import Table, escape_markdown, to_markdown


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

    def linked(self) -> Iterable[tuple[str, str]]:
        """Return each text with its link."""
        return zip(self.texts, self.links or [""] * len(self.texts), strict=True)


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
    named = [(type(block).__name__, block) for block in blocks]
    return load_template("lookboth.reporting", "report.html").render(title=title, blocks=named)


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {escape_markdown(text)}\n"
        case Paragraph(text):
            return f"{escape_markdown(text)}\n"
        case Items():
            return "".join(f"- {_markdown_item(text, link)}\n" for text, link in block.linked())
        case Picture(file, alt, caption):
            return f"![{escape_markdown(alt)}]({file})\n\n{escape_markdown(caption)}\n"
        case Table():
            return to_markdown(block)


def _markdown_item(text: str, link: str) -> str:
    return f"[{escape_markdown(text)}]({link})" if link else escape_markdown(text)
