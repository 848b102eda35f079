"""Figures of what a network learnt: data in, `matplotlib.figure.Figure` out.

No function here touches `matplotlib.pyplot`, so nothing is shown, no display is needed and figures
are freed like any other object. `save` writes one to a PNG file, `to_array` gives its pixels.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
