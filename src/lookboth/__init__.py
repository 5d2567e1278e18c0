"""Sequence labeling with decoder language models that attend to both sides.

This module is the public API. Names are loaded at their first use, so that `import lookboth` does not load torch.
"""

from importlib.metadata import PackageNotFoundError, version

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

try:
    __version__ = version("lookboth")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+unknown"
