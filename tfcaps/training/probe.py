"""What a network makes of images, computed in small batches.

The networks are called directly, not through `predict`: the callers sit inside `fit`, possibly
under a distribution strategy, and no second training loop state is wanted there.
"""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from tfcaps.ops import for_many_batches

# Small enough for the votes of any network here, large enough to keep all cores busy.
BATCH_SIZE = 64
# Pairs of input and reconstruction to look at: two rows of a figure.
SHOWN_PAIRS = 20
# Couplings are large, (O, I) per image, and their histogram hardly changes with more images.
INSPECTED_IMAGES = 32


def in_batches(network: keras.Model, inputs: Any):
    """Calls a network at inference on slices of the inputs and joins what it returns.

    Args:
        network: Any model; its output may be a tensor or a nested dict of tensors.
        inputs: Array (N, ...), or arrays by name, as the model takes them; N >= 1.

    Returns:
        The outputs as float32 NumPy arrays (N, ...), in the structure the network returns.
    """
    call = for_many_batches(network)
    batches = [
        keras.tree.map_structure(_as_float32, call(_part(inputs, start, BATCH_SIZE)))
        for start in range(0, len(keras.tree.flatten(inputs)[0]), BATCH_SIZE)
    ]
    return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *batches)


def _part(inputs: Any, start: int, size: int) -> Any:
    return keras.tree.map_structure(lambda values: values[start : start + size], inputs)


def scores(
    classifier: keras.Model, batches: Iterable[tuple[Any, Any]]
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores of examples that need not fit into memory.

    Args:
        classifier: Model from a network's inputs to scores (B, K).
        batches: Inputs and labels (B,), at least one batch.

    Returns:
        Labels (N,) and scores (N, K) in float64.
    """
    call = for_many_batches(classifier)
    pairs = [
        (np.asarray(labels), np.asarray(call(inputs), "float64")) for inputs, labels in batches
    ]
    labels, found = zip(*pairs, strict=True)
    return np.concatenate(labels), np.concatenate(found)


def _as_float32(tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))


def class_capsules(model: keras.Model, inspected: dict) -> np.ndarray:
    """Returns the class capsules (N, K, E) as the model's decoder gets them without a label.

    With `mask="label"` all but the longest capsule of each image are zero.

    Args:
        model: A capsule network.
        inspected: What `in_batches(model.inspector, images)` returned; the last of its layers is
            that of the class capsules.
    """
    capsules = list(inspected["capsules"].values())[-1]
    if model.mask == "none":
        return capsules
    lengths = np.linalg.norm(capsules, axis=-1)
    longest = np.arange(capsules.shape[1]) == lengths.argmax(axis=-1)[:, np.newaxis]
    return np.where(longest[..., np.newaxis], capsules, np.float32(0.0))


def spread_over_classes(labels: np.ndarray, count: int) -> np.ndarray:
    """Chooses examples to show: the first of every class, then the second of every class, ...

    Args:
        labels: Classes of the examples, integers (N,).
        count: How many examples at most.

    Returns:
        Their indices, at most `count`, without repetition.

    Example:
        >>> from tfcaps.training.probe import spread_over_classes
        >>> spread_over_classes([1, 1, 0, 0, 2], 4).tolist()
        [2, 0, 4, 3]
    """
    labels = np.asarray(labels)
    rank_in_class = np.zeros(len(labels), dtype="int64")
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rank_in_class[members] = np.arange(len(members))
    return np.lexsort((labels, rank_in_class))[:count]
