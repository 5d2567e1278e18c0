"""Update the table of recipe keys in docs/recipes.md: python docs/write_recipes.py"""

from pathlib import Path

from lookboth.config.recipe_files import document_keys

PAGE = Path(__file__).with_name("recipes.md")
BEGIN, END = "<!-- keys: python docs/write_recipes.py -->\n", "<!-- end of keys -->\n"


def table() -> str:
    """Return the table of every key of a recipe, with default and meaning."""
    rows = [f"| `{key}` | {_shown(default)} | {_escape(text)} |" for key, default, text in document_keys()]
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *rows, ""])


def renewed(page: str) -> str:
    """Return the page with the table between the two markers updated."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def _shown(default: str) -> str:
    return default if default.startswith("(") and default.endswith("d)") else f"`{_escape(default)}`"


def _escape(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
