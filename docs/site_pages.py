"""A hook of MkDocs: the pages of the site are README.md, experiments/README.md and all files that pages link to.

Pages keep their paths in the repository, so that links between them work there and on the site. The API page lists the
names of `lookboth.__all__`.
"""

import ast
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
API = "docs/api.md"
STARTS = (ROOT / "README.md", ROOT / "experiments" / "README.md")
_FENCE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Return the files of the site, with addresses that do not repeat the folder `docs`."""
    themes = [file for file in files if file.src_dir != config.docs_dir]
    pages = [_file(path, config) for path in sorted(linked_files(*STARTS))]
    api = File.generated(config, API, content=api_page())
    api.dest_uri = api.dest_uri.removeprefix("docs/")
    return Files([*themes, *pages, api])


def linked_files(*starts: Path) -> set[Path]:
    """Return pages, the files that they link to and, where these are pages, the files that these link to."""
    found: set[Path] = set()
    waiting = set(starts)
    while waiting:
        path = waiting.pop()
        found.add(path)
        if path.suffix == ".md":
            text = _FENCE.sub("", path.read_text(encoding="utf-8"))
            targets = {(path.parent / target).resolve() for target in _LINK.findall(text)}
            waiting |= {target for target in targets if target.is_file()} - found
    return found


def api_page() -> str:
    """Return a page with the reference of each name that can be imported from `lookboth`."""
    return "# API reference\n\n" + "".join(f"::: lookboth.{name}\n\n" for name in public_names())


def public_names() -> list[str]:
    """Return the names of src/lookboth/__init__.pyi, sorted as they are read."""
    tree = ast.parse((ROOT / "src" / "lookboth" / "__init__.pyi").read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return sorted((alias.name for node in imports for alias in node.names), key=str.lower)


def _file(path: Path, config: MkDocsConfig) -> File:
    name = path.relative_to(ROOT).as_posix()
    file = File(name, str(ROOT), config.site_dir, use_directory_urls=True)
    file.dest_uri = file.dest_uri.removeprefix("docs/")
    return file
