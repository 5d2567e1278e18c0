"""What the pages and docstrings show is run, so that it stays true."""

import doctest
import importlib
import importlib.util
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import lookboth

ROOT = Path(__file__).parent.parent
PAGES = sorted(p for p in (ROOT / "README.md", *(ROOT / "docs").glob("**/*.md")) if p.is_file())
MODULES = sorted(
    module.name for module in pkgutil.walk_packages(lookboth.__path__, "lookboth.", onerror=lambda _: None)
)
_FENCE = re.compile(r"^(?P<indent> *)```python *\n(?P<code>.*?)^(?P=indent)``` *$", re.DOTALL | re.MULTILINE)
_SKIP = re.compile(r"<!-- not run: (?P<reason>\S.*?) -->\s*\Z", re.DOTALL)


def python_blocks(page: str) -> Iterator[tuple[int, str]]:
    """Yield (line number, code) of each ```python block, but for those after `<!-- not run: reason -->`."""
    for match in _FENCE.finditer(page):
        if not _SKIP.search(page[: match.start()]):
            indent = match["indent"]
            code = "".join(line.removeprefix(indent) for line in match["code"].splitlines(keepends=True))
            yield page.count("\n", 0, match.start("code")) + 1, code


def run_page(name: str, page: str) -> None:
    """Run the blocks of a page one after the other in one namespace; errors show the page's own lines."""
    namespace: dict[str, object] = {"__name__": name}
    for line, code in python_blocks(page):
        exec(compile("\n" * (line - 1) + code, name, "exec"), namespace)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_python_blocks_of_pages_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_page(str(page), page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", MODULES)
def test_docstrings_show_what_happens(name):
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "lookboth":
            raise
        pytest.skip(f"needs {error.name}")
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", text):
        assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


def test_blocks_share_a_namespace_and_skips_are_kept():
    page = "```python\na = 1\n```\n\n<!-- not run: needs a GPU -->\n```python\n1 / 0\n```\n"
    page += "```console\n$ x\n```\n"
    page += "- item\n\n  ```python\n  assert a == 1\n  b = [a]\n  ```\n"
    assert [line for line, _ in python_blocks(page)] == [2, 15]
    run_page("page", page)


def test_an_error_in_a_page_names_its_line():
    with pytest.raises(ZeroDivisionError) as caught:
        run_page("page.md", "text\n\n```python\nx = 0\n1 / x\n```\n")
    assert (str(caught.traceback[-1].path), caught.traceback[-1].lineno + 1) == ("page.md", 5)


def load_script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def test_tables_of_pages_and_the_file_map_are_up_to_date(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    script = load_script("write_tables")
    filled = set()
    for file in script.PAGES:
        page = file.read_text(encoding="utf-8")
        assert page == script.rewritten(page), "type: python docs/write_tables.py"
        filled |= {name for name in script.BLOCKS if f"<!-- {name}: " in page}
    assert filled == set(script.BLOCKS)


def test_the_picture_of_masks_is_up_to_date():
    script = load_script("draw_masks")
    assert script.PICTURE.read_text(encoding="utf-8") == script.masks_svg(), "type: python docs/draw_masks.py"


def test_calls_of_the_python_page_are_importable_from_lookboth():
    page = (ROOT / "docs" / "python-api.md").read_text(encoding="utf-8")
    rows = [line.split("|")[2] for line in page.splitlines() if line.startswith("| `lookboth ")]
    code = " ".join(re.sub(r'"[^"]*"', "", call) for row in rows for call in re.findall(r"`([^`]*)`", row))
    names = set(re.findall(r"(?<![\w.])([A-Za-z_]\w*)(?=[.(])", code))
    assert len(rows) > 12
    assert names - set(lookboth.__all__) == set()
