"""Write the file map of README.md anew from the first line of each file: python docs/write_file_map.py"""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
START, END = "<!-- file map: docs/write_file_map.py -->", "<!-- end of file map -->"
ORDER = (
    "__init__ types errors config data/ masking/ models/ inference/ evaluation/ training/ integrations/ demo cli"
).split()


def file_map() -> str:
    """Return one line a file: package files in the order data flows, then recipes and experiments."""
    package = ROOT / "src" / "lookboth"
    files = [path for path in package.rglob("*.py") if path.name != "__init__.py" or path.parent == package]
    names = sorted((str(path.relative_to(package)) for path in files), key=_place)
    rows = [("src/lookboth/", "")] + [("  " + name, _first_line(package / name)) for name in names]
    for folder in ("recipes", "experiments"):
        paths = sorted(path for path in (ROOT / folder).iterdir() if path.suffix in {".toml", ".py"})
        rows += [(folder + "/", "")] + [("  " + path.name, _first_line(path)) for path in paths]
    width = max(len(name) for name, _ in rows) + 2
    return "\n".join(["```", *(f"{name:<{width}}{line}".rstrip() for name, line in rows), "```"])


def with_file_map(text: str) -> str:
    """Return the README with its file map replaced."""
    block = f"{START}\n{file_map()}\n{END}"
    return re.sub(f"{re.escape(START)}.*{re.escape(END)}", lambda _: block, text, flags=re.DOTALL)


def _place(name: str) -> tuple[int, str]:
    return next((i for i, start in enumerate(ORDER) if name.startswith(start)), len(ORDER)), name


def _first_line(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return (ast.get_docstring(ast.parse(text)) or "").split("\n")[0]
    return text.split("\n")[0].lstrip("# ")


if __name__ == "__main__":
    README.write_text(with_file_map(README.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{README.name} written\n")
