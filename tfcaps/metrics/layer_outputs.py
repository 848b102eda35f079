"""Outputs of any layers of any Keras model, while the model is called."""

import contextlib
from collections.abc import Iterator, Sequence

import keras

from tfcaps.errors import UsageError


class LayerOutputs:
    """Collects the outputs of some layers in a call of a model.

    A model with an `inspector` (a model from images to a nested dict of tensors, as the networks
    here have) is asked by its own names; there, `capsules` stands for its content. Of any other
    model, functional, sequential or subclassed, the layers are watched while the model calls them.

    Args:
        model: a built Keras model.
        layers: names of what to collect: keys of the inspector, names of layers at any depth, or
            `LAYER/KEY` for one output of a layer that returns a dict; or layers themselves.
            Default: all that the inspector has, or all innermost layers with weights.

    Raises:
        UsageError: a layer is not there, or its name stands for several.
    """

    def __init__(self, model: keras.Model, layers: Sequence[str | keras.Layer] | None = None):
        self.model = model
        wanted = None if layers is None else [_name(layer) for layer in layers]
        taps = _inspector_taps(model)
        self._layers = {}
        if wanted is None and taps:
            wanted = taps
        if wanted is not None and set(wanted) <= set(taps):
            self.names = list(wanted)
            return
        inner = _inner_layers(model)
        if wanted is None:
            wanted = [layer.name for layer in inner if layer.weights and not _children(layer)]
        self._layers = {name: _find(inner, name) for name in wanted}
        self.names = list(wanted)

    def __call__(self, inputs) -> dict[str, keras.KerasTensor]:
        """Calls the model at inference.

        Returns:
            The outputs by name, in the order in which they were asked for; those of a layer that
            returns several, or is called several times, are `LAYER/KEY`.
        """
        if not self._layers:
            found = _flat_taps(self.model.inspector(inputs, training=False))
            return {name: found[name] for name in self.names}
        outputs = {}
        with contextlib.ExitStack() as stack:
            watched = {id(layer): layer for layer in self._layers.values()}
            calls = {key: stack.enter_context(_watch(layer)) for key, layer in watched.items()}
            self.model(inputs, training=False)
        for name, layer in self._layers.items():
            found = _named(layer.name, calls[id(layer)])
            chosen = {key: tensor for key, tensor in found.items() if _belongs(key, name)}
            if not chosen:
                raise UsageError(
                    f"Expected a layer that the model calls, with such an output. Received: {name}"
                )
            outputs.update(chosen)
        return outputs


def _name(layer):
    return layer if isinstance(layer, str) else layer.name


def _inspector_taps(model):
    inspector = getattr(model, "inspector", None)
    return list(_flat_taps(inspector.output)) if isinstance(inspector, keras.Model) else []


def _flat_taps(outputs):
    return outputs.get("capsules", outputs)


def _children(layer):
    return [child for child in layer._layers if isinstance(child, keras.Layer)]


def _inner_layers(layer):
    """All layers inside, each once, from the outside in and in the order they were made."""
    found = {}
    for child in _children(layer):
        for each in (child, *_inner_layers(child)):
            found.setdefault(id(each), each)
    return list(found.values())


def _find(inner, name):
    """The layer of a name, or of `LAYER/KEY`."""
    for candidate in (name, name.rpartition("/")[0]):
        found = [layer for layer in inner if layer.name == candidate]
        if len(found) == 1:
            return found[0]
        if len(found) > 1:
            raise UsageError(f"Expected a name of one layer. Received: {name}, of {len(found)}")
    known = ", ".join(layer.name for layer in inner)
    raise UsageError(f"Expected a layer among {known}. Received: {name}")


@contextlib.contextmanager
def _watch(layer: keras.Layer) -> Iterator[list]:
    """Gives a list that gets what each call of the layer returns inside the block."""
    calls = []
    original = layer.call

    def call(*args, **kwargs):
        outputs = original(*args, **kwargs)
        calls.append(outputs)
        return outputs

    object.__setattr__(layer, "call", call)
    try:
        yield calls
    finally:
        object.__delattr__(layer, "call")


def _named(name, calls):
    """The tensors that a layer's calls returned, by name."""
    found = {}
    for index, outputs in enumerate(calls):
        prefix = name if len(calls) == 1 else f"{name}/{index}"
        for path, tensor in keras.tree.flatten_with_path(outputs):
            found["/".join([prefix, *map(str, path)])] = tensor
    return found


def _belongs(key, name):
    return key == name or key.startswith(f"{name}/")
