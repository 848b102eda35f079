"""Bundle entropy of a model's layers, in one forward pass over a probe set."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfcaps.errors import UsageError
from tfcaps.metrics.bundles import (
    Bundles,
    check_amplitude,
    check_labels,
    check_step,
    group,
)
from tfcaps.metrics.fingerprints import Fingerprints, words_of
from tfcaps.metrics.layer_outputs import LayerOutputs


def learning_rate(optimizer: keras.optimizers.Optimizer) -> float:
    """An optimizer's learning rate now, also where its variables lie on several devices."""
    # A sum is a tensor of one device; a variable that is mirrored is no number.
    return float(ops.convert_to_numpy(ops.add(optimizer.learning_rate, 0.0)))


def weight_amplitude(model: keras.Model) -> float:
    """W, the largest |weight| among a model's trainable weights.

    Raises:
        UsageError: there is none, or one is not finite.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2)])
    >>> model.set_weights([np.array([[0.5, -3.0]]), np.array([0.0, 1.0])])
    >>> weight_amplitude(model)
    3.0
    """
    weights = [weight for weight in model.trainable_weights if np.prod(weight.shape)]
    if not weights:
        raise UsageError(f"Expected a model with trainable weights. Received: {model.name}")
    largest = [float(ops.max(ops.abs(ops.convert_to_tensor(weight)))) for weight in weights]
    for weight, value in zip(weights, largest, strict=True):
        if not np.isfinite(value):
            raise UsageError(f"Expected finite weights. Received: {value} in {weight.path}")
    return max(largest)


class BundleEntropy:
    """Measures which of a model's layers bundle samples of different labels.

    For each layer what `bundle_entropy` says, with W and the dtype of the model's trainable
    weights. It takes one forward pass: each batch is hashed where it was computed, see
    `Fingerprints`, and no activation outlives its batch.

    Args:
        model: any built Keras model.
        layers: which outputs, see `LayerOutputs`. Default: of the networks here all blocks or
            capsule layers, of other models all layers with weights.
        learning_rate: η. Default: that of the model's optimizer at the time of the measurement.
        batch_size: B_t, of the training.
        num_classes: labels have to be below it. Default: any are allowed.
        probe_batch_size: samples at a time. Default 64.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2, "relu", name="hidden")])
    >>> model.set_weights([np.array([[1.0, -1.0]]), np.zeros(2)])
    >>> measure = BundleEntropy(model, learning_rate=0.1, batch_size=1)
    >>> measure(np.array([[0.0], [0.0], [1.0]]), [0, 1, 1])["hidden"].number
    2

    Source: Peer et al., Conflicting bundles, arXiv 2011.02956.
    """

    def __init__(
        self,
        model: keras.Model,
        layers: Sequence[str | keras.Layer] | None = None,
        *,
        learning_rate: float | None = None,
        batch_size: int,
        num_classes: int | None = None,
        probe_batch_size: int = 64,
    ):
        if probe_batch_size < 1:
            raise UsageError(f"Expected probe_batch_size >= 1. Received: {probe_batch_size}")
        check_step(1.0 if learning_rate is None else learning_rate, batch_size)
        self.model = model
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.num_classes = num_classes
        self.probe_batch_size = probe_batch_size
        self._outputs = LayerOutputs(model, layers)
        self._fingerprints = Fingerprints()
        self._run = _Graph(self._hash_batch)
        self._run_at_steps = _Graph(self._hash_batch_at_steps)

    @property
    def layers(self) -> list[str]:
        """Names of what is measured."""
        return list(self._outputs.names)

    def __call__(self, images, labels) -> dict[str, Bundles]:
        """Measures all layers.

        Args:
            images: the model's inputs for N samples, an array or a dict of arrays.
            labels: integers (N,) or (N, 1).

        Returns:
            Bundles by layer, in the layers' order.

        Raises:
            UsageError: no samples, or none in arrays; inputs of unequal length; labels that don't
                fit; a model that isn't built, or is quantized; or a NaN or infinity, with the name
                of the layer.
        """
        hashes, labels = self._hashes(self._run, images, labels, lambda step: step)
        return {name: _grouped(found, labels) for name, found in hashes.items()}

    def margins(self, images, labels, octaves: range = range(-8, 33)) -> dict[str, float]:
        """How far each layer is from its first conflict.

        With a smaller step more samples fall together. The margin is η / η*, where η* is the
        largest of the learning rates η · 2⁻ᵏ, for k in `octaves`, at which samples of different
        labels share a bundle: at most 1 for a layer that conflicts at η, 2ᵏ for one that would at
        η · 2⁻ᵏ, and infinite for one that does at none of them. All rates are tried in one forward
        pass, and each as exactly as H is measured.

        Args:
            images: as for a measurement of bundles.
            labels: integers (N,).
            octaves: k, ascending. Default −8 to 32: beyond the 24 digits of single precision.

        Returns:
            Margins by layer, in the layers' order.

        Raises:
            UsageError: as for a measurement of bundles, or there are no octaves.

        Example:

        >>> import keras, numpy as np
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, name="last")])
        >>> model.set_weights([np.array([[1.0]]), np.zeros(1)])
        >>> measure = BundleEntropy(model, learning_rate=1.0, batch_size=1)
        >>> measure.margins(np.array([[0.0], [1.0]]), [0, 1])["last"]
        33554432.0

        With W = 1 the weights 1 and 1 − 2⁻²⁵ are the same number, 1 and 1 − 2⁻²⁴ are not.
        """
        if not len(octaves):
            raise UsageError(f"Expected at least one octave. Received: {octaves}")
        factors = [2.0**octave for octave in octaves]

        def all_steps(step):
            return ops.stack([step / factor for factor in factors])

        hashes, labels = self._hashes(self._run_at_steps, images, labels, all_steps)
        return {name: _margin(found, labels, factors) for name, found in hashes.items()}

    def _hashes(self, run, images, labels, steps) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """What a compiled pass gives for each layer, and the labels.

        Args:
            run: the pass, over a batch with W and what `steps` makes of η / B_t.
            images: of N samples.
            labels: of them.
            steps: a function.
        """
        images, count = _checked_samples(images)
        labels = check_labels(labels, count, self.num_classes)
        _check_trainable(self.model)
        largest = check_amplitude(weight_amplitude(self.model))
        dtype = self._dtype()
        amplitude = ops.cast(largest, dtype)
        rate = check_step(self._learning_rate(), self.batch_size)
        # Rounded before the division, so that a rate from the optimizer is one from the user.
        step = steps(ops.cast(rate, dtype) / ops.cast(self.batch_size, dtype))
        hashes = {}
        for start in range(0, count, self.probe_batch_size):
            size = min(self.probe_batch_size, count - start)
            # The last batch is filled up with its samples, so that all have one shape.
            rows = start + np.arange(self.probe_batch_size) % size
            batch = keras.tree.map_structure(lambda array, rows=rows: array[rows], images)
            for name, (found, is_finite) in run(batch, amplitude, step).items():
                if not bool(is_finite):
                    raise UsageError(
                        f"Expected finite activations. Received: NaN or infinity in layer {name}"
                    )
                hashes.setdefault(name, []).append(ops.convert_to_numpy(found)[:size])
        return {name: np.concatenate(parts) for name, parts in hashes.items()}, labels

    def _dtype(self) -> str:
        """That of the trainable weights, but single precision at least, as `bundle_entropy` has."""
        dtype = keras.backend.standardize_dtype(self.model.trainable_weights[0].dtype)
        return dtype if dtype == "float64" else "float32"

    def _learning_rate(self) -> float:
        if self.learning_rate is not None:
            return self.learning_rate
        if getattr(self.model, "optimizer", None) is None:
            raise UsageError("Expected a learning_rate, or a compiled model. Received: neither")
        return learning_rate(self.model.optimizer)

    def _hash_batch(self, batch, amplitude, step):
        """Fingerprints (B, HASHES), and whether all is finite, of each layer."""
        return {
            name: self._hash_layer(name, output, amplitude, step)
            for name, output in self._outputs(batch).items()
        }

    def _hash_batch_at_steps(self, batch, amplitude, steps):
        """Fingerprints (B, steps, HASHES), and whether all is finite, of each layer."""
        return {
            name: self._hash_layer_at_steps(name, output, amplitude, steps)
            for name, output in self._outputs(batch).items()
        }

    def _hash_layer_at_steps(self, name, output, amplitude, steps):
        rows = self._rows(name, output, amplitude)
        self._fingerprints.keys(words_of(rows))  # made outside of the loop
        hashes = ops.map(lambda step: self._fingerprints(amplitude - rows * step), steps)
        return ops.transpose(hashes, (1, 0, 2)), ops.all(ops.isfinite(rows))

    def _hash_layer(self, name, output, amplitude, step):
        rows = self._rows(name, output, amplitude)
        # Not in a compiled piece: XLA would round once where two operations round twice.
        # Never −0, whose bits are not those of +0: W is not negative.
        q = amplitude - rows * step
        return self._fingerprints(q), ops.all(ops.isfinite(rows))

    def _rows(self, name, output, amplitude):
        if getattr(output.shape, "rank", 0) is None or None in tuple(output.shape):
            raise _UnknownShapeError
        if tuple(output.shape[:1]) != (self.probe_batch_size,):
            raise UsageError(
                f"Expected a row of each sample in layer {name}. Received: {tuple(output.shape)}"
            )
        return ops.cast(ops.reshape(output, (self.probe_batch_size, -1)), amplitude.dtype)


def _margin(hashes: np.ndarray, labels: np.ndarray, factors: list[float]) -> float:
    """The first factor whose hashes (N, factors, HASHES) have a conflict."""
    for index, factor in enumerate(factors):
        if _grouped(hashes[:, index], labels).entropy > 0:
            return factor
    return math.inf


class _UnknownShapeError(Exception):
    """A tensor in a graph whose shape is known only when the graph runs."""


class _Graph:
    """A function as a TensorFlow graph, with XLA only where its pieces ask for it.

    It is traced once for all calls with the same shapes. What can't be traced, as a shape isn't
    known before, is computed operation by operation.
    """

    def __init__(self, function):
        self._function = function
        self._traced = {}

    def __call__(self, *arguments):
        arguments = keras.tree.map_structure(ops.convert_to_tensor, arguments)
        shapes = tuple(tuple(tensor.shape) for tensor in keras.tree.flatten(arguments))
        if shapes not in self._traced:
            self._traced[shapes] = self._trace(arguments)
        return self._traced[shapes](*arguments)

    def _trace(self, arguments):
        if keras.backend.backend() != "tensorflow":
            return self._function
        import tensorflow as tf

        graph = tf.function(self._function, jit_compile=False, autograph=False)
        try:
            # Not by a call: TensorFlow warns of what it takes for one function traced for each of
            # several models.
            return graph.get_concrete_function(*keras.tree.map_structure(_spec, arguments))
        except _UnknownShapeError:
            return self._function


def _spec(tensor):
    import tensorflow as tf

    return tf.TensorSpec(tensor.shape, tensor.dtype)


def _checked_samples(images) -> tuple[Any, int]:
    """A model's inputs as arrays, and how many samples they are."""
    allowed = "Expected the samples as an array, or as arrays by name, as long as each other."
    leaves = keras.tree.flatten(images)
    if not all(hasattr(leaf, "shape") and len(leaf.shape) for leaf in leaves) or not leaves:
        raise UsageError(f"{allowed} Received: {type(images).__name__}")
    lengths = sorted({len(leaf) for leaf in leaves})
    if len(lengths) > 1:
        raise UsageError(f"{allowed} Received: {' and '.join(map(str, lengths))} samples")
    return keras.tree.map_structure(np.asarray, images), lengths[0]


def _check_trainable(model: keras.Model) -> None:
    if not model.built:
        raise UsageError(
            f"Expected a model that is built, as by calling it once. Received: {model.name}"
        )
    for layer in model._flatten_layers():
        if getattr(layer, "quantization_mode", None):
            raise UsageError(
                "Expected a model whose weights can be trained. "
                f"Received: {model.name}, which is quantized ({layer.quantization_mode})"
            )


def _grouped(hashes: np.ndarray, labels: np.ndarray) -> Bundles:
    _, first, bundles = np.unique(hashes, axis=0, return_index=True, return_inverse=True)
    # By their first samples: the order of the hashes is another one each time, and so would be the
    # rounding of the sum.
    ranks = np.argsort(np.argsort(first))
    return group(ranks[bundles.reshape(-1)], labels)
