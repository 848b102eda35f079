"""What Keras has to know to save, load and export a network of this package."""

import functools
import importlib
from typing import Any

import wrapt

# The packages whose classes stand in saved networks.
_PACKAGES = ("initializers", "layers", "losses", "metrics", "models", "optimizers", "routing")


def offer_classes() -> None:
    """Makes Keras find this package's classes by their registered names, without importing them.

    Keras knows a class from the moment that its module is imported. Until then a stand-in takes
    the place, so that `keras.models.load_model` works after `import tfcaps` alone.
    """
    import keras

    known = keras.saving.get_custom_objects()
    for name in _PACKAGES:
        package = f"{__package__}.{name}"
        for public in importlib.import_module(package).__all__:
            # ClassName, and neither function_name nor CONSTANT.
            if public[0].isupper() and not public.isupper():
                known.setdefault(f"{__package__}>{public}", _Unimported(package, public))


def export_without_xla() -> None:
    """Makes Keras trace what it exports operation by operation, see `ops.without_compilation`.

    All of Keras' exports (SavedModel, ONNX, LiteRT) put a network into an `ExportArchive`. That is
    the one place that also holds for networks that a user builds from our layers.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return  # `ops.compiled` leaves the other backends alone
    archive = type(keras.export.ExportArchive())
    wrapt.wrap_function_wrapper(archive, "add_endpoint", _add_endpoint)
    # Gradients of custom operations are traced when the archive is written.
    wrapt.wrap_function_wrapper(archive, "write_out", _write_out)


def _add_endpoint(add, _archive, arguments, named):
    return _add_traced(add, *arguments, **named)


def _add_traced(add, name, fn, *arguments, **named):
    # A tf.function is traced already, and Keras tells it by its type.
    traced = fn if hasattr(fn, "get_concrete_function") else _without_compilation(fn)
    return add(name, traced, *arguments, **named)


def _write_out(write, _archive, arguments, named):
    return _without_compilation(write)(*arguments, **named)


def _without_compilation(function):
    @functools.wraps(function, updated=())
    def call(*arguments, **named):
        from tfcaps import ops  # now, as to import tfcaps and Keras imports nothing else

        with ops.without_compilation():
            return function(*arguments, **named)

    return call


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
