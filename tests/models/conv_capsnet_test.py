"""A whole ConvCapsNet against a float64 forward pass with its weights."""

import numpy as np
import pytest

from tests import backend, reference
from tfcaps import models

IMAGE = (11, 13, 3)
IMAGES = np.random.default_rng(0).uniform(size=(2, *IMAGE)).astype("float32")

# (layers, dimensions, {index of a layer: index of the one that is added to it}), skip distance 2
NETWORKS = {
    "equal shapes": ((2, 2, 2, 2, 2, 3), (4, 4, 4, 4, 4, 5), {2: 0, 4: 2}),
    # Layer 2 could only take a layer of another shape; the count goes on to layer 3, starts there
    # anew, and layer 5 is the next.
    "wider at first": ((3, 2, 2, 2, 2, 2, 3), (4, 4, 4, 4, 4, 4, 5), {3: 1, 5: 3}),
}


def forward(model, routing: str, sizes, additions: dict[int, int], gate=None):
    """The output and the coupling of every capsule layer."""
    stem = backend.weights(model.get_layer("stem"))
    maps = reference.convolution(IMAGES.astype("float64"), stem["kernel"], strides=2) + stem["bias"]
    x = np.maximum(maps, 0.0)[..., None, :]  # one capsule type
    before_addition, outputs, couplings = [], [], []
    for index, count in enumerate(sizes[:-1]):
        weights = backend.weights(model.get_layer(f"capsules_{index + 1}"))
        x, coupling = reference.conv_capsule(x, routing, out_capsules=count, **weights)
        before_addition.append(x)
        if index in additions:
            below = additions[index]
            x = before_addition[below] + x if gate is None else outputs[below] + gate * x
        outputs.append(x)
        couplings.append(coupling)
    weights = backend.weights(model.get_layer(f"capsules_{len(sizes)}"))
    x, coupling = reference.dense_capsule(x.reshape((len(x), -1, x.shape[-1])), routing, **weights)
    return [*outputs, x], [*couplings, coupling]


@pytest.mark.parametrize(
    ("network", "skip_distance", "routing", "gate"),
    [
        ("equal shapes", 2, "rba", None),
        ("equal shapes", 2, "mean", 0.2),
        ("equal shapes", None, "em", None),
        ("wider at first", 2, "sda", None),
    ],
)
def test_forward_pass(network, skip_distance, routing, gate):
    """Gates are as they are at first."""
    sizes, dimensions, additions = NETWORKS[network]
    kind = "published" if gate is None else "gated"
    model = models.ConvCapsNet(
        IMAGE, sizes, dimensions, routing, skip_distance=skip_distance, skip_kind=kind
    )
    outputs, couplings = forward(model, routing, sizes, additions if skip_distance else {}, gate)
    inspected = model.inspector(IMAGES)
    # Each layer of EM makes more of a rounding: it compares variances of two votes here.
    atol = 5e-4 if routing == "em" else 1e-5
    for index, (capsules, coupling) in enumerate(zip(outputs, couplings, strict=True)):
        name = f"capsules_{index + 1}"
        for actual, expected in [
            (inspected["capsules"][name], capsules),
            (inspected["couplings"][name], coupling),
        ]:
            np.testing.assert_allclose(backend.numpy(actual), expected, rtol=0, atol=atol)
    lengths = backend.numpy(model(IMAGES)["lengths"])
    np.testing.assert_allclose(lengths, reference.lengths(outputs[-1]), rtol=0, atol=atol)


def test_stem():
    """7 by 7, stride 2, 128 filters."""
    model = models.ConvCapsNet(IMAGE, (2, 3), (4, 5))
    assert backend.weights(model.get_layer("stem"))["kernel"].shape == (7, 7, 3, 128)
    assert tuple(model.get_layer("stem").output.shape) == (None, 3, 4, 128)
    assert backend.weights(model.get_layer("capsules_1"))["kernel"].shape == (3, 3, 128, 2 * 4)


def test_images_too_small():
    with pytest.raises(ValueError, match="6×20"):
        models.ConvCapsNet((6, 20, 1), (2, 3), (4, 5))
