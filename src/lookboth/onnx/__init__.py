"""Export to ONNX, and exported labelers, which need only onnxruntime, tokenizers and numpy.

>>> from lookboth.onnx import OnnxLabeler
>>> OnnxLabeler.from_pretrained("my-labeler-onnx").predict("Ada Lovelace lived in London.")  # doctest: +SKIP
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
