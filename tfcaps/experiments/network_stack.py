"""Many small capsule networks that are trained as one."""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfcaps import losses, routing as routings
from tfcaps.experiments.stacked_votes import StackedVotes
from tfcaps.ops import safe_norm

KERNEL_STDDEV = 0.5  # of the experiment's initial weights, arXiv 1905.08744
BIAS = 0.1  # initial value
CLASSES, CLASS_DIMENSION = 2, 10


class Member(NamedTuple):
    """Networks of all depths whose capsules have a bias, or not, in one run of the experiment."""

    use_bias: bool
    run: int


class NetworkStack:
    """Networks of dense capsules for one number x, which share a program but no weight.

    Each has h hidden layers of `capsules` capsules and a layer of two class capsules of dimension
    10. There is a network of each depth h for each member of the stack. Within a member, the l-th
    layers of the networks that have one are one `(M, B, …)` computation; nothing is padded, as
    capsules that aren't there would take part in softmax, means and variances of the routings.
    The members are a loop inside the compiled program: their votes, one after the other, fit into
    the processor's cache, which those of all together don't.

    Each network's initial weights and order of examples depend on `seed`, its width, depth and run
    alone, not on the company that it is trained in, up to rounding.

    Args:
        hidden_layers: the depths, in any order.
        members: the members.
        capsules: capsules per hidden layer.
        dim: their dimension.
        routing: name, configuration or instance of a `tfcaps.routing.Routing`.
        learning_rate: of Adam. Default 1e-4.
        seed: of initial weights and order. Default 0.

    Example:

    >>> import numpy as np
    >>> stack = NetworkStack([1, 2, 4], [Member(True, 0), Member(False, 0)], capsules=3, dim=2,
    ...                      routing="rba")
    >>> stack.lengths(np.zeros((2, 5), "float32")).shape      # members, depths, examples, classes
    TensorShape([2, 3, 5, 2])
    """

    def __init__(
        self,
        hidden_layers: Sequence[int],
        members: Sequence[Member],
        capsules: int,
        dim: int,
        routing,
        learning_rate: float = 1e-4,
        seed: int = 0,
    ):
        # The deepest first, so that those with an l-th layer are the first ones.
        self.hidden_layers = tuple(sorted(hidden_layers, reverse=True))
        self.members = tuple(members)
        self.seed = seed
        layers = [self._make_layers(capsules, dim, routing, run) for _, run in self.members]
        # The first member's layers are run for all members, each time with other values.
        self._layers = layers[0]
        self._slots = [variable for layer in layers[0] for variable in layer.variables]
        values = zip(
            *([v for layer in own for v in layer.variables] for own in layers), strict=True
        )
        self._weights = [_variable("weights", np.stack(each)) for each in values]
        self._biased = np.array([member.use_bias for member in self.members], "float32")
        self._optimizer = keras.optimizers.Adam(learning_rate)
        self._optimizer.build(self._weights)
        self._loss = losses.MarginLoss(down_weight=1.0, reduction="sum")
        self._step = tf.function(self._train_step, jit_compile=True, autograph=False)
        self.lengths = tf.function(self._all_lengths, jit_compile=True, autograph=False)

    def weights(self, member: int, depth: int) -> list[list[np.ndarray]]:
        """Kernel, bias and the routing's weights of each layer of one network."""
        place = self.hidden_layers.index(depth)
        weights = iter(self._weights)
        values = [[np.asarray(next(weights))[member] for _ in x.variables] for x in self._layers]
        return [[value[place] for value in layer] for layer in (*values[:depth], values[-1])]

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
            for run in {member.run for member in self.members}
        }
        shuffled = np.stack([x[orders[member.run]] for member in self.members])
        for start in range(0, len(x) - batch_size + 1, batch_size):
            self._step(tf.constant(shuffled[:, start : start + batch_size]))

    def differences(self, x: np.ndarray, batch_size: int) -> np.ndarray:
        """`‖v₊‖ − ‖v₋‖` for x `(N,)`, float32 of shape `(members, depths, N)`.

        Above 0 the decision is "positive".
        """
        padded = np.resize(x, -(-len(x) // batch_size) * batch_size)  # one shape, one program
        lengths = [
            self.lengths(tf.constant(np.tile(part, (len(self.members), 1)))).numpy()
            for part in padded.reshape(-1, batch_size)
        ]
        lengths = np.concatenate(lengths, axis=2)[:, :, : len(x)]
        return lengths[..., 1] - lengths[..., 0]

    def _make_layers(self, capsules, dim, routing, run):
        """The layers of one member, with initial weights."""
        generators = [
            np.random.default_rng([self.seed, capsules, dim, depth, run])
            for depth in self.hidden_layers
        ]
        layers, inputs = [], (1, 1)
        for layer in range(self.hidden_layers[0]):
            count = sum(depth > layer for depth in self.hidden_layers)
            layers.append(_StackedLayer(generators[:count], inputs, (capsules, dim), routing))
            inputs = (capsules, dim)
        return [*layers, _StackedLayer(generators, inputs, (CLASSES, CLASS_DIMENSION), routing)]

    def _all_lengths(self, x):
        """Lengths of the class capsules, `(members, depths, B, 2)`, for x `(members, B)`."""
        shape = (len(self.hidden_layers), x.shape[1], CLASSES)
        return tf.map_fn(
            lambda each: self._lengths(*each),
            (tf.convert_to_tensor(x), self._biased, [w.value for w in self._weights]),
            fn_output_signature=tf.TensorSpec(shape),
        )

    def _lengths(self, x, biased, weights):
        """Those of one member, `(depths, B, 2)`, for x `(B,)`."""
        with keras.StatelessScope(list(zip(self._slots, weights, strict=True))):
            *hidden, last = self._layers
            capsules = ops.broadcast_to(x[:, None, None], (len(self.hidden_layers), *x.shape, 1, 1))
            finished = []
            for layer in hidden:
                finished.insert(0, capsules[layer.networks :])
                capsules = layer(capsules[: layer.networks], biased)
            capsules = ops.concatenate([capsules, *finished[:-1]], axis=0)
            return safe_norm(last(capsules, biased))

    def _train_step(self, x):
        gradients = tf.map_fn(
            lambda each: self._gradients(*each),
            (x, self._biased, [w.value for w in self._weights]),
            fn_output_signature=[tf.TensorSpec(slot.shape) for slot in self._slots],
        )
        self._optimizer.apply(gradients, self._weights)

    def _gradients(self, x, biased, weights):
        """Those of one member's weights."""
        labels = ops.one_hot(ops.cast(x > 0, "int32"), CLASSES)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            # A sum over networks: each gets the gradient of its own mean, and Adam is elementwise.
            lengths = self._lengths(x, biased, weights)
            # All networks see the same examples.
            loss = self._loss(ops.broadcast_to(labels, lengths.shape), lengths) / x.shape[0]
        return tape.gradient(loss, weights)


class _StackedLayer:
    """One dense capsule layer of each of M networks: weights, and inputs → outputs.

    Args:
        generators: a NumPy generator for each network's initial weights.
        inputs: number and dimension of the input capsules.
        outputs: number and dimension of the output capsules.
        routing: see `NetworkStack`.
    """

    def __init__(self, generators, inputs, outputs, routing):
        self.networks = len(generators)
        (count, dim), (capsules, output_dim) = inputs, outputs
        # Drawn in the axes of `DenseCapsule`, (O, I, E, D); kept as `StackedVotes` takes them.
        draws = [
            g.normal(0.0, KERNEL_STDDEV, (capsules, count, output_dim, dim)) for g in generators
        ]
        self.kernel = _variable("kernel", np.stack(draws).swapaxes(1, 2))
        self.bias = _variable("bias", np.full((self.networks, 1, capsules, output_dim), BIAS))
        self.routing = _stacked(routings.get(routing), generators)
        self.routing.build((capsules, count, output_dim))
        self.variables = [self.kernel, self.bias, *self.routing.trainable_variables]

    def __call__(self, capsules, biased):
        """`(M, B, I, D)` → `(M, B, O, E)`; `biased` is 1, or 0 to have no bias."""
        votes = StackedVotes(capsules, ops.convert_to_tensor(self.kernel))
        return self.routing.route(votes, safe_norm(capsules), self.bias * biased)[0]


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
