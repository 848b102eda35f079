"""The picture of one decision: what is drawn of which numbers."""

import numpy as np
import pytest

from tfcaps import plots
from tfcaps.plots.trees import Edge, Node, routing_tree

IMAGE = np.random.default_rng(0).uniform(size=(8, 9, 1))
HEAT = np.arange(72.0).reshape(8, 9)
NODES = [
    Node(0, "0, 1", 0.75, IMAGE[:4, :4]),
    Node(0, "1, 0", 0.25, IMAGE[4:, :4]),
    Node(1, "3", 1.0),
    Node(2, "yes", 1.0),
]
EDGES = [Edge(0, 2, 0.5), Edge(1, 2, 0.25), Edge(2, 3, 0.75), Edge(0, 3, 0.25, is_skip=True)]


def draw(**changes):
    arguments = {
        "image": IMAGE,
        "heat": HEAT,
        "scores": [0.9, 0.2],
        "capsule": 0,
        "class_names": ["yes", "no"],
        "layers": ["primary_capsules", "capsules_1", "capsules_2"],
        "nodes": NODES,
        "edges": EDGES,
        "title": 'Predicted: "yes"',
    }
    return routing_tree(**{**arguments, **changes})


def test_panels():
    figure = draw()
    image, heat, bars, *_, tree = figure.axes
    np.testing.assert_allclose(image.images[0].get_array()[..., 0], IMAGE[..., 0], atol=1e-6)
    np.testing.assert_array_equal(heat.images[-1].get_array(), HEAT)
    assert heat.get_title(loc="left") == 'Votes for "yes"'
    assert [bar.get_width() for bar in bars.patches] == [0.9, 0.2]
    assert [label.get_text() for label in bars.get_yticklabels()] == ["yes", "no"]
    assert [label.get_text() for label in tree.get_xticklabels()] == [
        *("primary_capsules", "capsules_1", "capsules_2")
    ]
    assert plots.to_array(figure).ndim == 3


def test_lines_are_as_wide_as_their_flow():
    tree = draw().axes[-1]
    widths = [line.get_linewidth() for line in tree.patches]
    np.testing.assert_allclose(widths, [4.0, 2.0, 6.0, 2.0])
    texts = {text.get_text() for text in tree.texts}
    assert texts == {"0, 1: 75%", "1, 0: 25%", "3: 100%", "yes: 100%"}
    assert "dashed: residual" in tree.get_title(loc="left")
    assert "dashed" not in draw(edges=EDGES[:3]).axes[-1].get_title(loc="left")


def test_an_even_image_without_relevance():
    figure = draw(image=np.zeros((8, 9, 3)), heat=np.full((8, 9), np.nan), edges=[])
    assert plots.to_array(figure).ndim == 3


def test_many_classes():
    """The 15 longest, in the classes' order."""
    scores = np.linspace(0, 1, 20)
    figure = draw(scores=scores, class_names=[f"class {k}" for k in range(20)], capsule=19)
    labels = [label.get_text() for label in figure.axes[2].get_yticklabels()]
    assert labels == [f"class {k}" for k in range(5, 20)]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"image": IMAGE[0]}, "Expected image as a non-empty array of rank 3"),
        ({"heat": HEAT.T}, r"Expected heat \(8, 9\). Received: \(9, 8\)"),
        ({"scores": [0.5]}, "Expected 2 scores. Received: 1"),
    ],
)
def test_wrong_arguments(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        draw(**changes)
