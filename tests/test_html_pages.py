"""Values in pages are text: escaped by the templates, whatever they contain."""

from importlib.resources import files

import pytest
from jinja2 import UndefinedError

from lookboth.html_pages import load_template
from lookboth.reporting.page import Heading, Items, Paragraph, Picture, page_to_html
from lookboth.reporting.table_markup import Table

EVIL = "<script>'\"&{{ 7 * 7 }}{% x %}\r\0\ud800"
SHOWN = "&lt;script&gt;&#x27;&quot;&amp;{{ 7 * 7 }}{% x %}&#13;\ufffd\ufffd"


def test_every_value_of_a_report_is_escaped():
    table = Table(EVIL, EVIL, [EVIL], [[EVIL]], [])
    page = page_to_html(
        [Heading(EVIL, 1), Paragraph(EVIL), Items([EVIL], [EVIL]), Picture(EVIL, EVIL, EVIL), table]
    )
    # Title, heading, paragraph, item and link, three texts of the picture, four of the table.
    assert page.count(SHOWN) == 12
    assert "<script" not in page
    page.encode("utf-8")


def test_a_name_that_is_missing_in_the_values_is_an_error():
    with pytest.raises(UndefinedError):
        load_template("lookboth.reporting", "table.html").render()


@pytest.mark.parametrize("package", ["inference", "reporting"])
def test_templates_are_package_data(package):
    names = {file.name for file in (files("lookboth") / package / "templates").iterdir()}
    assert any(name.endswith(".html") for name in names)
