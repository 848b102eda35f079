"""What Keras has to know to load a saved network of this package."""

import importlib
from typing import Any

# The packages whose classes stand in saved networks.
_PACKAGES = ("initializers", "layers", "losses", "metrics", "models", "optimizers", "routing")


def offer_classes() -> None:
    """Makes Keras find this package's classes by their registered names, without importing them.

    Keras knows a class from the moment that its module is imported. Until then a stand-in takes
    the place, so that `keras.models.load_model` works after `import tfcaps` alone. Activations are
    functions: few, and the thing itself has to be there, for Keras calls what it finds.
    """
    import keras

    # Which has the activations; it may be what imports Keras just now.
    importlib.import_module(f"{__package__}.ops")

    known = keras.saving.get_custom_objects()
    for name in _PACKAGES:
        package = f"{__package__}.{name}"
        for public in importlib.import_module(package).__all__:
            # ClassName, and neither function_name nor CONSTANT.
            if public[0].isupper() and not public.isupper():
                known.setdefault(f"{__package__}>{public}", _Unimported(package, public))
                if name == "models":  # an .h5 file calls its network by the class's name alone
                    known.setdefault(public, _Unimported(package, public))


class _Unimported:
    """A class of which nothing is needed yet; to use it is to import it."""

    def __init__(self, package: str, name: str):
        self._package = package
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):  # what Python asks of every object imports nothing
            raise AttributeError(attribute)
        found = getattr(importlib.import_module(self._package), self._name)
        return getattr(found, attribute)
