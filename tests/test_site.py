"""The documentation as a site: it builds without a warning, and its API page has every public name."""

import logging
import re
from pathlib import Path

import pytest

import lookboth

pytest.importorskip("mkdocstrings", reason="the site needs: pip install 'lookboth[docs]'")
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True))
    return folder


def test_every_page_of_docs_is_on_the_site(site):
    for page in (ROOT / "docs").glob("*.md"):
        assert (site / page.stem / "index.html").is_file(), page.name


def test_the_api_page_has_every_public_name(site):
    page = (site / "api" / "index.html").read_text(encoding="utf-8")
    assert {name for name in lookboth.__all__ if f'id="lookboth.{name}"' not in page} == set()


def test_links_from_page_to_page_lead_to_files_of_the_site(site):
    for page in site.rglob("index.html"):
        for target in re.findall(r'href="(\.[^"#]*)', page.read_text(encoding="utf-8")):
            path = (page.parent / target).resolve()
            assert (path / "index.html" if path.is_dir() else path).is_file(), f"{page}: {target}"


def test_a_link_to_a_missing_page_stops_the_build(tmp_path, caplog):
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path), strict=True)
    config.nav = [*config.nav, {"Nowhere": "docs/nowhere.md"}]
    with caplog.at_level(logging.WARNING), pytest.raises(Abort, match="strict mode"):
        build(config)
