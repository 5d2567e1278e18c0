"""Conversion: readers and writers for the exports of annotation tools and for published data sets."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
