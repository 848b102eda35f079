"""Initial weights that the published N(0, 0.2) can be replaced with."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
