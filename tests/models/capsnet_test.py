"""A whole CapsNet against a float64 forward pass with its weights."""

import keras
import numpy as np
import pytest

from tests import backend, reference
from tfcaps import models
from tfcaps.errors import UsageError

IMAGE = (19, 18, 2)
IMAGES = np.random.default_rng(0).uniform(size=(2, *IMAGE)).astype("float32")

# (layers, dimensions, skip distance, {index of a layer: index of the one that is added to it})
EQUAL = ((2, 3, 3, 3, 3, 3), (4, 5, 5, 5, 5, 5))
NETWORKS = {
    "none": (*EQUAL, None, {}),
    "every second": (*EQUAL, 2, {2: 0, 4: 2}),
    "every": (*EQUAL, 1, {1: 0, 2: 1, 3: 2, 4: 3}),
    "every third": (*EQUAL, 3, {3: 0}),
    "other number": ((2, 3, 4, 4, 4, 4), (4, 5, 5, 5, 5, 5), 2, {4: 2}),
    "other dimension": ((2, 3, 3, 3, 3, 3), (4, 5, 5, 5, 5, 6), 2, {2: 0}),
    "longer than the network": ((2, 3, 3), (4, 5, 5), 5, {}),
}


def forward(model, routing: str, dimensions, additions: dict[int, int], gates=None):
    """The primary capsules, the output and the coupling of each dense capsule layer.

    With gates, what is added to is a part of a layer's output, and what is added is a sum itself.
    """
    stem = backend.weights(model.get_layer("stem"))
    maps = reference.convolution(IMAGES.astype("float64"), stem["kernel"]) + stem["bias"]
    x = primary = reference.primary_capsule(
        np.maximum(maps, 0.0),
        **backend.weights(model.get_layer("primary_capsules")),
        dim=dimensions[0],
        strides=2,
    )
    before_addition, outputs, couplings = [], [], []
    for index in range(len(dimensions) - 1):
        weights = backend.weights(model.get_layer(f"capsules_{index + 1}"))
        x, coupling = reference.dense_capsule(x, routing, **weights)
        before_addition.append(x)
        if index in additions:
            below = additions[index]
            x = outputs[below] + gates[index] * x if gates else before_addition[below] + x
        outputs.append(x)
        couplings.append(coupling)
    return primary, outputs, couplings


def draw(model, capsules: np.ndarray) -> np.ndarray:
    """The decoder: 512 ReLU, 1024 ReLU, a sigmoid for every pixel."""
    x = capsules.reshape((len(capsules), -1))
    dense = [layer for layer in model.decoder.layers if layer.weights]
    assert [w.shape[1] for w in (backend.weights(d)["kernel"] for d in dense)] == [
        512,
        1024,
        np.prod(IMAGE),
    ]
    for layer in dense:
        weights = backend.weights(layer)
        x = x @ weights["kernel"] + weights["bias"]
        x = 1.0 / (1.0 + np.exp(-x)) if layer is dense[-1] else np.maximum(x, 0.0)
    return x.reshape((len(x), *IMAGE))


def assert_close(actual, expected, routing="rba"):
    # Each layer of EM makes more of a rounding: it compares variances of very few votes here.
    atol = 1e-4 if routing == "em" else 1e-5
    np.testing.assert_allclose(backend.numpy(actual), expected, rtol=0, atol=atol)


@pytest.mark.parametrize(
    ("network", "routing"),
    [
        ("none", "rba"),
        ("every second", "rba"),
        ("every second", "em"),
        ("every second", "sda"),
        ("every second", "mean"),
        ("every", "sda"),
        ("every third", "rba"),
        ("other number", "rba"),
        ("other dimension", "em"),
        ("longer than the network", "mean"),
    ],
)
def test_forward_pass(network, routing):
    sizes, dimensions, skip_distance, additions = NETWORKS[network]
    model = models.CapsNet(
        IMAGE, sizes, dimensions, routing, skip_distance=skip_distance, skip_kind="published"
    )
    primary, outputs, couplings = forward(model, routing, dimensions, additions)
    actual = model(IMAGES)
    assert set(actual) == {"lengths", "reconstruction"}
    assert_close(actual["lengths"], reference.lengths(outputs[-1]), routing)
    assert_close(actual["reconstruction"], draw(model, outputs[-1]), routing)
    assert_close(model.classifier(IMAGES), reference.lengths(outputs[-1]), routing)
    inspected = model.inspector(IMAGES)
    names = [f"capsules_{index + 1}" for index in range(len(outputs))]
    assert set(inspected["couplings"]) == set(names)
    assert set(inspected["capsules"]) == {"primary_capsules", *names}
    assert_close(inspected["capsules"]["primary_capsules"], primary)
    for name, capsules, coupling in zip(names, outputs, couplings, strict=True):
        assert_close(inspected["capsules"][name], capsules, routing)
        assert_close(inspected["couplings"][name], coupling, routing)


def gates_of(model, additions) -> dict[int, float]:
    """Other gates than the first ones, each another, now in the network."""
    gates = {index: 0.5 - 0.3 * index for index in additions}
    for index, gate in gates.items():
        model.get_layer(f"capsules_{index + 1}_gate").gate.assign(gate)
    return gates


@pytest.mark.parametrize("network", ["every second", "every", "other number"])
def test_gated_connections(network):
    sizes, dimensions, skip_distance, additions = NETWORKS[network]
    model = models.CapsNet(IMAGE, sizes, dimensions, skip_distance=skip_distance)
    assert model.skip_kind == "gated"
    gates = gates_of(model, additions)
    _, outputs, couplings = forward(model, "rba", dimensions, additions, gates)
    inspected = model.inspector(IMAGES)
    for index, (capsules, coupling) in enumerate(zip(outputs, couplings, strict=True), start=1):
        assert_close(inspected["capsules"][f"capsules_{index}"], capsules)
        assert_close(inspected["couplings"][f"capsules_{index}"], coupling)
    assert_close(model(IMAGES)["lengths"], reference.lengths(outputs[-1]))


def test_networks_from_before_gates_are_published_ones():
    model = models.CapsNet(IMAGE, *EQUAL, skip_distance=2)
    config = model.get_config()
    del config["skip_kind"]
    assert models.CapsNet.from_config(config).skip_kind == "published"


def test_without_bias_and_decoder():
    sizes, dimensions = EQUAL
    model = models.CapsNet(IMAGE, sizes, dimensions, use_bias=False, use_reconstruction=False)
    assert "bias" not in backend.weights(model.get_layer("capsules_1"))
    _, outputs, _ = forward(model, "rba", dimensions, {})
    actual = model(IMAGES)
    assert set(actual) == {"lengths"}
    assert model.decoder is None
    assert_close(actual["lengths"], reference.lengths(outputs[-1]))


def test_label_mask():
    """The label's capsule where it is known, else the longest."""
    sizes, dimensions = (2, 3), (4, 5)
    model = models.CapsNet(IMAGE, sizes, dimensions, mask="label")
    _, (classes,), _ = forward(model, "rba", dimensions, {})
    longest = np.argmax(reference.lengths(classes[1]))
    label = np.array([[0, 0, 1], [0, 0, 0]], "float32")
    shown = np.zeros_like(classes)
    shown[0, 2], shown[1, longest] = classes[0, 2], classes[1, longest]
    actual = model({"image": IMAGES, "label": label})
    assert_close(actual["lengths"], reference.lengths(classes))
    assert_close(actual["reconstruction"], draw(model, shown))


@pytest.fixture(scope="module")
def masked():
    keras.utils.set_random_seed(0)
    return models.CapsNet(IMAGE, (2, 3), (4, 5), mask="label")


@pytest.fixture(scope="module")
def expected(masked):
    """From the longest capsule, in float64."""
    _, (classes,), _ = forward(masked, "rba", (4, 5), {})
    lengths = reference.lengths(classes)
    is_longest = lengths == lengths.max(axis=-1, keepdims=True)
    return {
        "lengths": lengths,
        "reconstruction": draw(masked, classes * is_longest[..., np.newaxis]),
    }


class TestImagesWithoutLabels:
    """What a network with `mask="label"` makes of them is what rows of zeros ask for."""

    @pytest.mark.parametrize("inputs", [IMAGES, {"image": IMAGES}], ids=["array", "dict"])
    def test_call_and_predict(self, masked, expected, inputs):
        for actual in (masked(inputs), masked.predict(inputs, verbose=0)):
            for name, value in expected.items():
                assert_close(actual[name], value)

    def test_inside_of_another_model(self, masked, expected):
        images = keras.Input(IMAGE)
        outer = keras.Model(images, masked(images)["reconstruction"])
        assert_close(outer(IMAGES), expected["reconstruction"])

    def test_reconstructor(self, masked, expected):
        assert masked.reconstructor.output_shape == (None, *IMAGE)
        assert_close(masked.reconstructor(IMAGES), expected["reconstruction"])

    def test_training_wants_labels(self, masked):
        masked.compile("sgd", {"lengths": "mse", "reconstruction": "mse"})
        targets = {"lengths": np.eye(3)[:2], "reconstruction": IMAGES}
        assert np.isfinite(masked.test_on_batch(IMAGES, targets)[0])
        with pytest.raises(UsageError) as caught:
            masked.train_on_batch(IMAGES, targets)
        assert str(caught.value) == (
            "Expected a dict of image and label, as mask='label' wants in training. "
            "Received: no label"
        )


def test_reconstructor_of_all_capsules():
    model = models.CapsNet(IMAGE, (2, 3), (4, 5))
    _, (classes,), _ = forward(model, "rba", (4, 5), {})
    assert_close(model.reconstructor(IMAGES), draw(model, classes))
    assert models.CapsNet(IMAGE, (2, 3), (4, 5), use_reconstruction=False).reconstructor is None


def test_stem():
    """9 by 9, channels times dimension filters, ReLU: no negative value reaches the capsules."""
    model = models.CapsNet(IMAGE, (2, 3), (4, 5))
    assert backend.weights(model.get_layer("stem"))["kernel"].shape == (9, 9, 2, 8)
    assert backend.weights(model.get_layer("primary_capsules"))["kernel"].shape == (9, 9, 8, 8)


@pytest.mark.parametrize(
    ("arguments", "repeated"),
    [
        ({"layers": (2, 3), "dimensions": (4, 5, 6)}, "4, 5, 6"),
        ({"layers": (2, 0), "dimensions": (4, 5)}, "0"),
        ({"layers": (2, 3), "dimensions": (4, -5)}, "-5"),
        ({"layers": (2,), "dimensions": (4,)}, "2"),
        ({"routing": "no_such"}, "no_such"),
        ({"mask": "longest"}, "longest"),
        ({"skip_distance": 0}, "0"),
        ({"skip_kind": "long"}, "'long'"),
        ({"input_shape": (16, 40, 1)}, "16"),
        ({"input_shape": (40, 40)}, "40"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_bad_argument(arguments, repeated):
    good = {"input_shape": IMAGE, "layers": (2, 3), "dimensions": (4, 5)}
    with pytest.raises(ValueError, match=f"Received.*{repeated}"):
        models.CapsNet(**{**good, **arguments})


def test_saved_network_gives_equal_outputs(tmp_path):
    sizes, dimensions, skip_distance, _ = NETWORKS["every second"]
    model = models.CapsNet(IMAGE, sizes, dimensions, "em", skip_distance=skip_distance)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded, models.CapsNet)
    assert loaded.get_config() == model.get_config()
    expected, actual = model(IMAGES), loaded(IMAGES)
    for name, value in expected.items():
        np.testing.assert_allclose(backend.numpy(actual[name]), backend.numpy(value), atol=1e-7)


def test_hidden_em_capsules_begin_active():
    """And class capsules with 1/O; a routing that says otherwise is left as it is."""
    model = models.CapsNet((17, 17, 1), (2, 3, 3, 10), (4, 4, 4, 4), "em", use_reconstruction=False)
    firsts = [layer.routing.first_activation for layer in model.layers if hasattr(layer, "routing")]
    assert firsts == [0.8, 0.8, None]
    given = {"name": "em", "first_activation": 0.5}
    model = models.CapsNet((17, 17, 1), (2, 3, 10), (4, 4, 4), given, use_reconstruction=False)
    assert model.get_layer("capsules_1").routing.first_activation == 0.5
    copy = models.CapsNet.from_config(model.get_config())
    assert copy.get_layer("capsules_2").routing.first_activation == 0.5
