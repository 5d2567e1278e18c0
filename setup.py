"""The long description of the package: the README with relative links as plain text and without its picture.

A package index shows the README without the repository, so these links would lead nowhere. Everything else about the
package is in pyproject.toml.
"""

import re
from pathlib import Path

from setuptools import setup

RELATIVE = r"\((?!https?:|#)[^)]*\)"

readme = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
readme = re.sub(rf"!\[[^\]]*\]{RELATIVE}\n*", "", readme)
readme = re.sub(rf"\[([^\]]*)\]{RELATIVE}", r"\1", readme)
setup(long_description=readme, long_description_content_type="text/markdown")
