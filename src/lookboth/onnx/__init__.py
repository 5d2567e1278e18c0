"""Exported labelers: `load` runs one with onnxruntime, tokenizers and numpy alone; `export` makes one.

>>> from lookboth.onnx import load
>>> load("my-labeler-onnx").predict("Ada Lovelace lived in London.")  # doctest: +SKIP
"""

from lookboth.onnx.labeler import OnnxLabeler, load

__all__ = ["OnnxLabeler", "load"]
