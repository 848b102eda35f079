"""How much memory a training step will need, and what is said when there isn't as much."""

import contextlib
import math
import sys
from collections.abc import Callable, Iterator, Sequence

import keras
import tensorflow as tf

from tfcaps import measure
from tfcaps.errors import UsageError
from tfcaps.layers.routed_capsule import RoutedCapsule

_BYTES = 4  # of a float32
# The output, its gradient, and what the layer keeps for it (batch normalization its input's).
_COPIES_OF_OUTPUTS = 3
# Votes, their gradient and what routing makes of them: 4 (rba) to 8 (em) were measured.
_COPIES_OF_VOTES = 6
# The estimate is right within this factor.
_TOLERANCE = 2.0


def step_megabytes(model: keras.Model, batch_size: int) -> float:
    """Estimates what a training step of a compiled network holds, in MB (2²⁰ bytes).

    `4 bytes · (W + (1 + s) · W_t + B · (3 · A + 6 · V))`: W weights, W_t of them trainable with a
    gradient and s optimizer slots each; a batch of B examples with A numbers in the outputs of all
    layers and V in the votes of capsule layers. What a convolution borrows isn't counted, nor is
    what TensorFlow itself needs.

    Args:
        model: the network, compiled.
        batch_size: B.
    """
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    outputs, votes = _numbers_per_example(model)
    numbers = (
        model.count_params()
        + trainable * (1 + _slots(model.optimizer))
        + batch_size * (_COPIES_OF_OUTPUTS * outputs + _COPIES_OF_VOTES * votes)
    )
    return _BYTES * numbers / 2**20


def check(model: keras.Model, batch_size: int, too_large: Callable[[str], UsageError]) -> None:
    """Says how many weights a network has and what a step needs, before the first step.

    On a CPU, Linux ends a process that needs more than there is, and nobody is told why. So twice
    the memory of the machine is refused; from once on there is a warning, as this is an estimate.
    Of inputs of unknown size, as texts are, only the weights are told.

    Args:
        model: the network, compiled.
        batch_size: examples of a step.
        too_large: the error of a training that needs so much, which is told it in words.

    Raises:
        UsageError: it needs far more than the machine has.
    """
    if any(None in tensor.shape[1:] for tensor in model.inputs):
        print(f"{model.count_params():,} weights.")  # a text may be of any length
        return
    needed = step_megabytes(model, batch_size)
    print(
        f"{model.count_params():,} weights; a step with {batch_size} examples needs about "
        f"{needed:,.0f} MB."
    )
    if tf.config.list_physical_devices("GPU"):
        return  # whose allocator raises what `told` turns into a sentence
    there = measure.machine_megabytes()
    if needed > _TOLERANCE * there:
        raise too_large(f"about {needed:,.0f} MB where there are {there:,.0f}")
    if needed > there:
        print(
            f"That is more than the {there:,.0f} MB of this machine: the system may end the "
            "training without a word.",
            file=sys.stderr,
        )


@contextlib.contextmanager
def told(too_large: Callable[[str], UsageError]) -> Iterator[None]:
    """A block in which running out of memory is a `UsageError`.

    Args:
        too_large: see `check`.
    """
    try:
        yield
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        if "No space left" in str(error):  # a full disk is the same error of TensorFlow's
            raise
        raise too_large("more memory than there is") from error


def _slots(optimizer: keras.optimizers.Optimizer) -> int:
    """Numbers that an optimizer keeps for each weight, seen on one weight."""
    probe = type(optimizer).from_config(optimizer.get_config())
    probe.build([keras.Variable([0.0], name="probe")])
    return sum(tuple(variable.shape) == (1,) for variable in probe.variables)


def _numbers_per_example(model: keras.Model) -> tuple[int, int]:
    """Of all layers' outputs, and of all votes."""
    outputs = votes = 0
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.Model) or not layer._inbound_nodes:
            continue  # a model's layers are counted, and layers in a layer are fused with it
        for output in keras.tree.flatten(layer.output):
            outputs += _size(output.shape)
        if isinstance(layer, RoutedCapsule):
            votes += _size(layer.votes_shape(layer.input.shape))
    return outputs, votes


def _size(shape: Sequence[int | None]) -> int:
    return math.prod(size or 1 for size in shape[1:])
