"""Outputs of any layers of any Keras model, while the model is called."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

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
            `LAYER/KEY` for one output of a layer that returns a dict; or layers themselves. A
            layer inside others has a path, too, `OUTER/INNER`, for where its name is not unique.
            Default: all that the inspector has, or all layers with weights that the model, and
            the models in it, are made of.

    Raises:
        UsageError: a layer is not there, or its name stands for several.
    """

    def __init__(self, model: keras.Model, layers: Sequence[str | keras.Layer] | None = None):
        self.model = model
        # Kept, as some networks make a new one each time they are asked.
        self._inspector: Any = getattr(model, "inspector", None)
        taps = _inspector_taps(self._inspector)
        self._layers = {}
        if layers is None:
            layers = taps or _parts_with_weights(model)
        self.names = [layer if isinstance(layer, str) else layer.name for layer in layers]
        if taps and set(self.names) <= set(taps):
            return
        inner = _inner_layers(model)
        self._layers = dict(_find(inner, layer) for layer in layers)
        self.names = list(self._layers)

    def __call__(self, inputs) -> dict[str, keras.KerasTensor]:
        """Calls the model at inference.

        Returns:
            The outputs by name, in the order in which they were asked for; those of a layer that
            returns several, or is called several times, are `LAYER/KEY`.
        """
        if not self._layers:
            found = _flat_taps(self._inspector(inputs, training=False))
            return {name: found[name] for name in self.names}
        outputs = {}
        with contextlib.ExitStack() as stack:
            watched = {id(layer): layer for _, layer in self._layers.values()}
            calls = {key: stack.enter_context(_watch(layer)) for key, layer in watched.items()}
            self.model(inputs, training=False)
        for name, (prefix, layer) in self._layers.items():
            found = _named(prefix, calls[id(layer)])
            chosen = {key: tensor for key, tensor in found.items() if _belongs(key, name)}
            if not chosen:
                raise UsageError(
                    f"Expected a layer that the model calls, with such an output. Received: {name}"
                )
            for key, tensor in chosen.items():
                _check_outside_of_loops(key, tensor)
            outputs.update(chosen)
        return outputs


def _inspector_taps(inspector):
    return list(_flat_taps(inspector.output)) if isinstance(inspector, keras.Model) else []


def _flat_taps(outputs):
    return outputs.get("capsules", outputs)


def _children(layer):
    return [child for child in layer._layers if isinstance(child, keras.Layer)]


def _parts_with_weights(model):
    """The layers that a model is made of, but not what those are made of in turn.

    What is inside a layer may run in a loop, as recurrent cells do, where nothing can be watched.
    """
    found = {}
    for layer in model.layers:
        for part in _parts_with_weights(layer) if isinstance(layer, keras.Model) else [layer]:
            if part.weights:
                found.setdefault(id(part), part)
    return list(found.values())


def _inner_layers(model):
    """All layers inside by path, each once, from the outside in and in the order of making."""
    found, known = {}, set()

    def add_children(layer, prefix):
        for child in _children(layer):
            if id(child) in known:
                continue
            known.add(id(child))
            path = prefix + child.name
            if path in found:  # brothers of one name
                path = f"{path}_{len(found)}"
            found[path] = child
            add_children(child, f"{path}/")

    add_children(model, "")
    return found


def _find(inner, wanted):
    """What a layer, a name, a path or `LAYER/KEY` stands for: `(its name, (prefix, layer))`.

    The prefix is what the names of the layer's outputs begin with.
    """
    known = ", ".join(inner)
    if not isinstance(wanted, str):
        path = next((path for path, layer in inner.items() if layer is wanted), None)
        if path is None:
            raise UsageError(f"Expected a layer among {known}. Received: {wanted.name}")
        is_unique = sum(layer.name == wanted.name for layer in inner.values()) == 1
        name = wanted.name if is_unique else path
        return name, (name, wanted)
    for candidate in (wanted, wanted.rpartition("/")[0]):
        if candidate in inner:
            return wanted, (candidate, inner[candidate])
        found = {path: layer for path, layer in inner.items() if layer.name == candidate}
        if len(found) == 1:
            return wanted, (candidate, *found.values())
        if len(found) > 1:
            raise UsageError(f"Expected one of {', '.join(found)}. Received: {wanted}")
    raise UsageError(f"Expected a layer among {known}. Received: {wanted}")


def _check_outside_of_loops(name, tensor):
    """TensorFlow can't give what a layer computes in a graph of its own, such as a loop's."""
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    graph = getattr(tensor, "graph", None)  # eager tensors have none
    if graph is not None and graph is not tf.compat.v1.get_default_graph():
        raise UsageError(f"Expected layers that are not called in a loop. Received: {name}")


@contextlib.contextmanager
def _watch(layer: keras.Layer) -> Iterator[list]:
    """Gives a list that gets what each call of the layer returns inside the block."""
    calls = []
    own = vars(layer).get("call")  # another one than its class', if somebody watches already
    original = layer.call

    def call(*args, **kwargs):
        outputs = original(*args, **kwargs)
        calls.append(outputs)
        return outputs

    object.__setattr__(layer, "call", call)
    try:
        yield calls
    finally:
        if own is None:
            object.__delattr__(layer, "call")
        else:
            object.__setattr__(layer, "call", own)


def _named(name, calls):
    """The tensors that a layer's calls returned, by name."""
    found = {}
    for index, outputs in enumerate(calls):
        prefix = name if len(calls) == 1 else f"{name}/{index}"
        for path, tensor in keras.tree.flatten_with_path(outputs):
            if tensor is not None:  # such as coupling coefficients that nobody asked for
                found["/".join([prefix, *map(str, path)])] = tensor
    return found


def _belongs(key, name):
    return key == name or key.startswith(f"{name}/")
