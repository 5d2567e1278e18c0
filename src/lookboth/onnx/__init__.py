"""Exported labelers: `load` runs one with onnxruntime, tokenizers and numpy alone; `export` makes one.

>>> from lookboth.onnx import load
>>> load("my-labeler-onnx").predict("Ada Lovelace lived in London.")  # doctest: +SKIP
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
