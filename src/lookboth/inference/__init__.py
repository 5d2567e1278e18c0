"""From text to predictions: the labeler protocols, the pipeline, decoding and output formats."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
