"""Sequence labeling with decoder language models that look both ways.

The public API. Names are loaded when they are first used, so that `import lookboth` does not load torch.
"""

from importlib.metadata import PackageNotFoundError, version

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

try:
    __version__ = version("lookboth")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"
