"""Relevance from a class down to places: hand-made layers, and nothing is lost on the way."""

import keras
import numpy as np
import pytest

from tfcaps import routing
from tfcaps.explanation import routing_tree
from tfcaps.explanation.routing_trees import _flow_below_kernel
from tfcaps.layers import ConvCapsule
from tfcaps.models import CapsHead, CapsNet, ConvCapsNet

IMAGE = np.random.default_rng(0).uniform(size=(20, 21, 1)).astype("float32")


def network(kind=CapsNet, name="rba", layers=(3, 4, 4, 4, 5), **arguments):
    keras.utils.set_random_seed(1)
    sizes = {"layers": layers, "dimensions": [4] * len(layers)}
    return kind((20, 21, 1), **sizes, routing=name, use_reconstruction=False, **arguments)


def by_name(tree):
    return {(branch.lower, branch.upper): branch for branch in tree.branches}


def test_one_layer_by_hand():
    """Votes û·v/‖v‖ in NumPy, from weights, capsules and couplings."""
    model = network(layers=(3, 5))
    tree = routing_tree(model, IMAGE, capsule=2)
    inside = model.inspector(IMAGE[np.newaxis])
    u = np.asarray(inside["capsules"]["primary_capsules"][0], "float64")
    v = np.asarray(inside["capsules"]["capsules_1"][0, 2], "float64")
    coupling = np.asarray(inside["couplings"]["capsules_1"][0, 2], "float64")
    kernel = np.asarray(model.get_layer("capsules_1").kernel[2], "float64")
    agreement = [
        coupling[i] * max((kernel[i] @ u[i]) @ v / np.linalg.norm(v), 0) for i in range(len(u))
    ]
    shares = np.array(agreement) / sum(agreement)
    # (20 − 16 + 1)//2 = 2 places by (21 − 16 + 1)//2 = 3 − with 3 capsules each.
    np.testing.assert_allclose(tree.places, shares.reshape(2, 3, 3).sum(axis=-1), rtol=1e-4)
    np.testing.assert_allclose(by_name(tree)[("primary_capsules", "capsules_1")].flow[2].sum(), 1)
    np.testing.assert_allclose(tree.levels[0].relevance, tree.places.ravel())
    assert tree.levels[1].relevance.tolist() == [0, 0, 1, 0, 0]
    assert tree.capsule == 2


def test_one_place():
    """Capsules that all see the image from one place: they are the nodes, and heat is a slope."""
    image = IMAGE[:17, :17]
    model = CapsNet((17, 17, 1), layers=(3, 5), dimensions=(4, 4), use_reconstruction=False)
    tree = routing_tree(model, image, capsule=2)
    assert tree.places.shape == (1, 1) and not tree.has_places
    relevance = tree.levels[0].relevance
    assert relevance.shape == (3,) and relevance.sum() == pytest.approx(1)

    def lengths(pixels):
        u = np.asarray(model.inspector(pixels[np.newaxis])["capsules"]["primary_capsules"][0])
        return np.linalg.norm(u.astype("float64"), axis=-1)

    step, slopes = 1e-2, np.zeros((2, 3))
    for number, place in enumerate([(8, 8), (3, 12)]):
        change = np.zeros_like(image)
        change[place] = step
        slopes[number] = np.abs(lengths(image + change) - lengths(image - change)) / (2 * step)
    expected = slopes @ relevance
    assert tree.heat.shape == (17, 17) and tree.heat.sum() == pytest.approx(1)
    assert tree.heat[8, 8] / tree.heat[3, 12] == pytest.approx(expected[0] / expected[1], rel=0.02)


def head(blocks):
    keras.utils.set_random_seed(1)
    return CapsHead((20, 21, 1), (3, 5), (4, 4), blocks=blocks, widths=(4, 5), stem="cifar")


def test_places_of_a_residual_trunk():
    """Each sees 3 + 2·2 pixels of its stage's maps and 2 + 4 of the next: 13 of 20 by 21."""
    tree = routing_tree(head((1, 1)), IMAGE, capsule=2)
    assert tree.field.is_local and tree.field.size == (13, 13)
    assert tree.places.shape == (10, 11) and tree.places.sum() == pytest.approx(1)
    np.testing.assert_allclose(tree.heat, tree.field.spread(tree.places))


def test_places_that_all_see_the_whole_image():
    """Their mean would be the same at each pixel: heat is a slope, of each capsule's length."""
    model = CapsHead((5, 5, 1), (3, 5), (4, 4), blocks=(2, 2), widths=(4, 5), stem="cifar")
    image = IMAGE[:5, :5]
    tree = routing_tree(model, image, capsule=2)
    assert tree.places.shape == (3, 3) and tree.has_places and not tree.field.is_local

    def lengths(pixels):
        u = np.asarray(model.inspector(pixels[np.newaxis])["capsules"]["primary_capsules"][0])
        return np.linalg.norm(u.astype("float64"), axis=-1)

    flow = by_name(tree)[("primary_capsules", "capsules_1")].flow[2]
    assert flow.shape == (9,)  # by place; the capsules of one place have shares of their own
    inside = model.inspector(image[np.newaxis])
    u = np.asarray(inside["capsules"]["primary_capsules"][0], "float64")
    v = np.asarray(inside["capsules"]["capsules_1"][0, 2], "float64")
    coupling = np.asarray(inside["couplings"]["capsules_1"][0, 2], "float64")
    kernel = np.asarray(model.get_layer("capsules_1").kernel[2], "float64")
    agreeing = coupling * np.maximum(np.einsum("ied,id,e->i", kernel, u, v), 0)
    relevance = agreeing / agreeing.sum()
    step, expected = 1e-3, []
    for place in [(1, 1), (2, 4)]:
        change = np.zeros_like(image)
        change[place] = step
        slopes = np.abs(lengths(image + change) - lengths(image - change))
        expected.append(slopes @ relevance)
    assert tree.heat.shape == (5, 5) and tree.heat.sum() == pytest.approx(1)
    assert tree.heat[1, 1] / tree.heat[2, 4] == pytest.approx(expected[0] / expected[1], rel=0.05)


def test_the_predicted_class_is_followed():
    tree = routing_tree(network(), IMAGE)
    assert tree.capsule == tree.scores.argmax()
    np.testing.assert_allclose(tree.scores, np.linalg.norm(tree.class_capsules, axis=-1))


@pytest.mark.parametrize(
    ("kind", "name"), [*((CapsNet, name) for name in routing.names()), (ConvCapsNet, "rba")]
)
@pytest.mark.parametrize("skip_kind", ["gated", "published"])
def test_nothing_is_lost(kind, name, skip_kind):
    """Four routed layers, and a residual connection from the first to the third."""
    layers = (4, 4, 4, 4, 5) if kind is CapsNet else (4, 4, 4, 5)
    model = network(kind, name, layers, skip_distance=2, skip_kind=skip_kind)
    tree = routing_tree(model, IMAGE, capsule=1)
    assert tree.field.places == tree.places.shape
    assert (tree.places >= 0).all()
    (skip,) = [branch for branch in tree.branches if branch.is_skip]
    assert (skip.lower, skip.upper) == ("capsules_1", "capsules_3")
    bypassing = skip.flow.sum()
    assert 0 < bypassing < 1
    # What comes into a layer goes out of it, and what bypasses the second one is missing there.
    found = {level.name: level.relevance.sum() for level in tree.levels}
    expected = dict.fromkeys(found, 1.0) | {"capsules_2": 1 - bypassing}
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_chain_of_connections():
    """What the second one brings is what the first one made, and goes on through it."""
    tree = routing_tree(network(layers=[4] * 6 + [5], skip_distance=2), IMAGE, capsule=1)
    upper, lower = (branch for branch in tree.branches if branch.is_skip)
    assert (upper.lower, upper.upper) == ("capsules_3", "capsules_5")
    assert (lower.lower, lower.upper) == ("capsules_1", "capsules_3")
    found = {level.name: level.relevance.sum() for level in tree.levels}
    bypassed = {"capsules_2": 1 - lower.flow.sum(), "capsules_4": 1 - upper.flow.sum()}
    assert found == pytest.approx(dict.fromkeys(found, 1.0) | bypassed, abs=1e-5)


@pytest.mark.parametrize(("skip_kind", "gate"), [("published", 1.0), ("gated", 0.2)])
def test_share_of_a_residual_connection(skip_kind, gate):
    """Each sum's length is what its two parts bring along its direction."""
    model = network(skip_distance=2, skip_kind=skip_kind)
    tree = routing_tree(model, IMAGE, capsule=0)
    raw = keras.Model(
        model.inspector.input,
        {name: model.get_layer(name).output[0] for name in ("capsules_1", "capsules_3")},
    )(IMAGE[np.newaxis])
    below, own = (np.asarray(raw[name][0], "float64") for name in ("capsules_1", "capsules_3"))
    own = gate * own
    along = (own + below) / np.linalg.norm(own + below, axis=-1, keepdims=True)
    parts = np.stack([np.maximum((part * along).sum(-1), 0) for part in (own, below)])
    branches = by_name(tree)
    arriving = branches[("capsules_3", "capsules_4")].flow[0]
    np.testing.assert_allclose(
        np.diag(branches[("capsules_1", "capsules_3")].flow),
        arriving * parts[1] / parts.sum(axis=0),
        rtol=1e-4,
    )


def test_flow_below_a_kernel():
    """A 3×1 window by hand: places share as c_oi·a_i does, zero padding gets nothing."""
    layer = ConvCapsule(1, 2, kernel_size=3)
    # Three rows of one column, two types of dimension 1: a = 1, 2 | 3, 0 | 5, 4.
    inputs = np.array([[1.0, 2.0], [3.0, 0.0], [5.0, 4.0]], "float32")[:, np.newaxis, :, np.newaxis]
    coupling = np.array([0.5, 0.25], "float32") * np.ones((3, 1, 1, 2), "float32")
    relevance = np.zeros((3, 1, 1))
    relevance[0] = 1.0  # the first place sees rows 0 and 1: 0.5·1 + 0.25·2 + 0.5·3 = 2.5
    flow = _flow_below_kernel(layer, inputs, coupling, relevance)
    np.testing.assert_allclose(
        flow[0, :, 0], [[0.5 / 2.5, 0.5 / 2.5], [1.5 / 2.5, 0], [0, 0]], rtol=1e-6
    )


def test_an_empty_image_has_a_tree():
    """All votes are 0: what is left to share by is the coupling times nothing."""
    model = network(layers=(3, 4, 5), use_bias=False)
    tree = routing_tree(model, np.zeros_like(IMAGE), capsule=0)
    assert np.isfinite(tree.places).all()
