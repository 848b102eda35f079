"""Which layers of a pretrained encoder a task doesn't need."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
