"""Many small capsule networks that are trained as one."""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfcaps import losses
from tfcaps import routing as routings
from tfcaps.experiments.stacked_votes import StackedVotes
from tfcaps.ops import safe_norm

KERNEL_STDDEV = 0.5  # of the experiment's initial weights, arXiv 1905.08744
BIAS = 0.1  # initial value
CLASSES, CLASS_DIMENSION = 2, 10


class Network(NamedTuple):
    """One network of a stack: its depth, whether its capsules have a bias, and which run it is."""

    hidden_layers: int
    use_bias: bool
    run: int


class NetworkStack:
    """Networks of dense capsules for one number x, which share a program but no weight.

    Each has `hidden_layers` layers of `capsules` capsules and a layer of two class capsules of
    dimension 10. All have the same width, and may differ in depth, bias and initial weights. The
    hidden layers of one depth are one `(M, B, …)` computation of the networks that have it.
    Nothing is padded, as capsules that aren't there would take part in softmax, means and
    variances of the routings.

    Each network's initial weights and order of examples depend on `seed`, its width, depth and run
    alone, not on the company that it is trained in, up to rounding.

    Args:
        networks: the networks, in any order.
        capsules: capsules per hidden layer.
        dim: their dimension.
        routing: name, configuration or instance of a `tfcaps.routing.Routing`.
        learning_rate: of Adam. Default 1e-4.
        seed: of initial weights and order. Default 0.

    Example:

    >>> import numpy as np
    >>> stack = NetworkStack([Network(1, True, 0), Network(2, False, 0)], capsules=3, dim=2,
    ...                      routing="rba")
    >>> stack.lengths(np.zeros((2, 4), "float32")).shape      # networks, examples, classes
    TensorShape([2, 4, 2])
    """

    def __init__(
        self,
        networks: Sequence[Network],
        capsules: int,
        dim: int,
        routing,
        learning_rate: float = 1e-4,
        seed: int = 0,
    ):
        # The deepest first, so that those with an l-th layer are the first ones.
        self.networks = sorted(networks, reverse=True)
        self.seed = seed
        depths = np.array([network.hidden_layers for network in self.networks])
        generators = [
            np.random.default_rng([seed, capsules, dim, network.hidden_layers, network.run])
            for network in self.networks
        ]
        biased = np.array([network.use_bias for network in self.networks])
        self._layers, shape = [], (1, 1)
        for layer in range(depths.max() + 1):
            is_last = layer == depths.max()
            count = len(depths) if is_last else int(np.sum(depths > layer))
            outputs = (CLASSES, CLASS_DIMENSION) if is_last else (capsules, dim)
            self._layers.append(
                _StackedLayer(generators[:count], biased[:count], shape, outputs, routing)
            )
            shape = outputs
        self._variables = [variable for layer in self._layers for variable in layer.variables]
        self._optimizer = keras.optimizers.Adam(learning_rate)
        self._optimizer.build(self._variables)
        self._loss = losses.MarginLoss(down_weight=1.0, reduction="sum")
        self._step = tf.function(self._train_step, jit_compile=True, autograph=False)
        self.lengths = tf.function(self._lengths, jit_compile=True, autograph=False)

    def train_epoch(self, x: np.ndarray, epoch: int, batch_size: int) -> None:
        """Trains every network once on all examples, in its run's own order.

        What is left over at the end is dropped.

        Args:
            x: examples, float32 of shape `(N,)`.
            epoch: its number, for the order.
            batch_size: examples per step.
        """
        orders = {
            run: np.random.default_rng([self.seed, run, epoch]).permutation(len(x))
            for run in {network.run for network in self.networks}
        }
        shuffled = np.stack([x[orders[network.run]] for network in self.networks])
        for start in range(0, len(x) - batch_size + 1, batch_size):
            self._step(tf.constant(shuffled[:, start : start + batch_size]))

    def differences(self, x: np.ndarray, batch_size: int) -> np.ndarray:
        """`‖v₊‖ − ‖v₋‖`, float32 of shape `(M, N)`; above 0 the decision is "positive"."""
        padded = np.resize(x, -(-len(x) // batch_size) * batch_size)  # one shape, one program
        lengths = [
            self.lengths(tf.constant(np.tile(part, (len(self.networks), 1)))).numpy()
            for part in padded.reshape(-1, batch_size)
        ]
        lengths = np.concatenate(lengths, axis=1)[:, : len(x)]
        return lengths[..., 1] - lengths[..., 0]

    def _lengths(self, x):
        """Lengths of the class capsules, `(M, B, 2)`, for x `(M, B)`."""
        *hidden, last = self._layers
        capsules, finished = x[..., None, None], []
        for layer in hidden:
            finished.insert(0, capsules[layer.networks :])
            capsules = layer(capsules[: layer.networks])
        return safe_norm(last(ops.concatenate([capsules, *finished[:-1]], axis=0)))

    def _train_step(self, x):
        labels = ops.one_hot(ops.cast(x > 0, "int32"), CLASSES)
        with tf.GradientTape() as tape:
            # A sum over networks: each gets the gradient of its own mean, and Adam is elementwise.
            loss = self._loss(labels, self._lengths(x)) / x.shape[1]
        gradients = tape.gradient(loss, [variable.value for variable in self._variables])
        self._optimizer.apply(gradients, self._variables)


class _StackedLayer:
    """One dense capsule layer of each of M networks: weights, and inputs → outputs.

    Args:
        generators: a NumPy generator for each network's initial weights.
        biased: whether each network's capsules have a bias, `(M,)`.
        inputs: number and dimension of the input capsules.
        outputs: number and dimension of the output capsules.
        routing: see `NetworkStack`.
    """

    def __init__(self, generators, biased, inputs, outputs, routing):
        self.networks = len(generators)
        (count, dim), (capsules, output_dim) = inputs, outputs
        # Drawn in the axes of `DenseCapsule`, (O, I, E, D); kept as `StackedVotes` takes them.
        draws = [
            g.normal(0.0, KERNEL_STDDEV, (capsules, count, output_dim, dim)) for g in generators
        ]
        self.kernel = _variable("kernel", np.stack(draws).transpose(0, 2, 4, 1, 3))
        # A product with 0 is no bias, and gives it no gradient.
        self._biased = np.reshape(biased, (-1, 1, 1, 1)).astype("float32")
        self.bias = _variable("bias", np.full((self.networks, 1, capsules, output_dim), BIAS))
        self.routing = _stacked(routings.get(routing), generators)
        self.routing.build((capsules, count, output_dim))
        self.variables = [self.kernel, self.bias, *self.routing.trainable_variables]

    def __call__(self, capsules):
        """`(M, B, I, D)` → `(M, B, O, E)`."""
        votes = StackedVotes(capsules, ops.convert_to_tensor(self.kernel))
        return self.routing.route(votes, safe_norm(capsules), self.bias * self._biased)[0]


def _variable(name, values):
    return keras.Variable(values, dtype="float32", name=name)


def _stacked(routing, generators):
    """The routing with weights of its own for each of M networks, `(M, 1, …)`.

    They broadcast over a batch, as the routing sees `(M, B, …)`.
    """

    class Stacked(type(routing)):
        def add_weight(self, *, shape, initializer, **arguments):
            config = keras.initializers.get(initializer).get_config()
            values = []
            for generator in generators:
                if "seed" in config:
                    config["seed"] = int(generator.integers(2**31))
                values.append(type(initializer).from_config(config)(shape))
            return super().add_weight(
                shape=(len(values), 1, *shape),
                initializer=lambda *_, **__: ops.stack(values)[:, None],
                **arguments,
            )

    return Stacked.from_config(routing.get_config())
