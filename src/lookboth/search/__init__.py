"""Search for the layers to unmask: strategies that compare mask plans on dev data."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
