"""Input pipelines over a split in memory, for `keras.Model.fit`, `evaluate` and `predict`."""

import tensorflow as tf

from tfcaps.datasets.image_preprocessing import Preprocessing
from tfcaps.datasets.split import Split
from tfcaps.errors import UsageError

# More than any number of examples, so that (epoch, index) fits into one integer of a seed.
_EPOCH_STRIDE = 2**32


def training_batches(
    split: Split,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    seed: int,
    epochs: range,
    steps_per_epoch: int | None = None,
    devices: int = 1,
) -> tf.data.Dataset:
    """Shuffled and augmented batches of some epochs, one after the other.

    The order of epoch e and what happens to its example i depend on (seed, e, i) only. A training
    that goes on at epoch 3 with `range(3, 10)` sees what one over `range(10)` sees from there.

    Args:
        split: N examples.
        preprocessing: Its `augment` is applied to each example.
        batch_size: Examples in a batch, B. An epoch has ceil(N/B) batches; its last one is
            smaller where B doesn't divide N.
        seed: A non-negative integer.
        epochs: The epochs' numbers, from 0.
        steps_per_epoch: An epoch ends after so many batches of its order. None: after all.
        devices: That share each batch; the examples at the end of an epoch's order that don't go
            round are left out. Defaults to 1.

    Returns:
        Batches as dicts: `image` (float32, (B, h, w, C), the network's input), `original`
        (float32, (B, h, w, C), in [0, 1], the same before standardisation) and `label`
        (int64, (B,)).

    Raises:
        UsageError: `batch_size` or `steps_per_epoch` is below 1, or the images are too small for
            the crops.

    Example:

    >>> from tfcaps import datasets
    >>> digits = datasets.load("mnist5k", train_examples=100)
    >>> crops = datasets.preprocessing("mnist5k", "paper")
    >>> batches = datasets.training_batches(
    ...     digits.train, crops, batch_size=40, seed=0, epochs=range(2))
    >>> [len(batch["label"]) for batch in batches]
    [40, 40, 20, 40, 40, 20]
    """
    _check(split, preprocessing, batch_size)
    images, labels = _resident(split)
    size = len(split)
    used = size - size % devices
    steps = epoch_steps(used, batch_size, steps_per_epoch)

    def seeds(epoch: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        return tf.stack([tf.constant(seed, tf.int64), epoch * _EPOCH_STRIDE + index])

    def example(epoch: tf.Tensor, index: tf.Tensor) -> dict[str, tf.Tensor]:
        image, original = preprocessing.augment(images[index], seeds(epoch, index))
        return {"image": image, "original": original, "label": labels[index]}

    def epoch_batches(epoch: tf.Tensor) -> tf.data.Dataset:
        # The index after the last example's is free, so its seed is the order's.
        order_seed = seeds(epoch, tf.constant(size, tf.int64))
        indices = tf.range(size, dtype=tf.int64)
        order = tf.random.experimental.stateless_shuffle(indices, order_seed, alg="philox")
        examples = tf.data.Dataset.from_tensor_slices(order).take(min(steps * batch_size, used))
        examples = examples.map(
            lambda index: example(epoch, index), num_parallel_calls=tf.data.AUTOTUNE
        )
        return examples.batch(batch_size)

    numbers = tf.constant(list(epochs), tf.int64)
    batches = tf.data.Dataset.from_tensor_slices(numbers).flat_map(epoch_batches)
    total = tf.data.experimental.assert_cardinality(len(epochs) * steps)
    return _finish(batches.apply(total))


def epoch_steps(examples: int, batch_size: int, steps_per_epoch: int | None = None) -> int:
    """How many batches an epoch has: ceil(examples / batch_size), or fewer if so asked.

    Raises:
        UsageError: `steps_per_epoch` is below 1.

    Example:

    >>> epoch_steps(100, 40), epoch_steps(100, 40, 2), epoch_steps(100, 40, 9)
    (3, 2, 3)
    """
    if steps_per_epoch is not None and steps_per_epoch < 1:
        raise UsageError(f"Expected steps_per_epoch >= 1. Received: {steps_per_epoch}")
    steps = -(-examples // batch_size)
    return steps if steps_per_epoch is None else min(steps, steps_per_epoch)


def evaluation_batches(
    split: Split, preprocessing: Preprocessing, *, batch_size: int
) -> tf.data.Dataset:
    """All examples once, in order, without any random operation.

    Args:
        split: N examples.
        preprocessing: Its `evaluate` is applied to each batch.
        batch_size: Examples in a batch, B; the last batch is smaller where B doesn't divide N.

    Returns:
        Batches as `training_batches` gives them.

    Raises:
        UsageError: `batch_size` is below 1, or the images are too small for the crops.
    """
    _check(split, preprocessing, batch_size)
    images, labels = _resident(split)

    def batch(indices: tf.Tensor) -> dict[str, tf.Tensor]:
        image, original = preprocessing.evaluate(tf.gather(images, indices))
        return {"image": image, "original": original, "label": tf.gather(labels, indices)}

    indices = tf.data.Dataset.range(len(split)).batch(batch_size)
    return _finish(indices.map(batch, num_parallel_calls=tf.data.AUTOTUNE))


def _check(split: Split, preprocessing: Preprocessing, batch_size: int) -> None:
    """Finds here what would else fail deep in a graph."""
    if batch_size < 1:
        raise UsageError(f"Expected batch_size >= 1. Received: {batch_size}")
    preprocessing.output_shape(split.images.shape[1:])


def _resident(split: Split) -> tuple[tf.Tensor, tf.Tensor]:
    """The examples as tensors in main memory, where input pipelines run."""
    with tf.device("CPU:0"):
        return tf.constant(split.images), tf.constant(split.labels)


def _finish(batches: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    options.deterministic = True
    # There are no files to share out among workers: each replica gets its part of every batch.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return batches.prefetch(tf.data.AUTOTUNE).with_options(options)
