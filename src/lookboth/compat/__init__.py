"""Everything lookboth relies on in other libraries beyond their public interface; tests/compat checks what it means."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
