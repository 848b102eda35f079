"""Training: configurations, run directories, checkpoints, resuming; one way for all networks."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
