"""Mask plans: which layer may attend how far to the right, applied to a model and proved."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
