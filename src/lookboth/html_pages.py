"""HTML pages from jinja2 templates, in which every value is escaped."""

import html
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Template

# JSON input may contain lone surrogates, which UTF-8 cannot encode.
_SURROGATES = re.compile("[\ud800-\udfff]")


@cache
def load_template(package: str, name: str) -> "Template":
    """Return a template of the folder `templates` of a package.

    Args:
        package: dotted name of the package, for example "lookboth.reporting".
        name: file name of the template.
    """
    # Imported here, because only few commands write HTML.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        finalize=_displayed,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)


def load_macros(package: str, name: str, **values: object) -> Mapping[str, Callable[..., str]]:
    """Return the macros of a template by name, for pages that are written part by part.

    Args:
        package, name: as in `load_template`.
        values: the names that the macros use, other than their arguments.
    """
    return vars(load_template(package, name).make_module(values))


def storable(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot encode, with the replacement character."""
    return _SURROGATES.sub("\ufffd", text)


def label_hue(index: int) -> int:
    """Return the hue of a label in degrees; steps of the golden angle separate any number of labels."""
    return round(210 + index * 137.508) % 360


def _displayed(value: object) -> object:
    """Escape a value so that HTML displays every character of it; the output of macros stays as it is."""
    from markupsafe import Markup

    if isinstance(value, Markup):
        return value
    # A parser reads a bare carriage return as a line feed and drops a null character, so autoescape is not enough.
    return Markup(html.escape(storable(str(value))).replace("\r", "&#13;").replace("\0", "\ufffd"))
