"""Mask plans: how far to the right each layer may attend, applied to a model and proved."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
