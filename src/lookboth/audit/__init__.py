"""Errors in the labels of a data set, found with models that were not trained on the sentences they judge."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
