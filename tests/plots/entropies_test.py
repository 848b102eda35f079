"""Heat maps of bundle entropy: what is in the cells, and that all can be read."""

import numpy as np
import pytest

from tfcaps import plots


def colors(figure):
    """The colour of each cell as it is on paper, (L, T, 3), the lowest layer first."""
    axes = figure.axes[0]
    pixels = plots.to_array(figure)[..., :3]
    layers, steps = axes.get_images()[0].get_array().shape
    places = np.stack(np.meshgrid(np.arange(steps), np.arange(layers)), axis=-1)
    x, y = axes.transData.transform(places.reshape(-1, 2)).T.round().astype(int)
    return pixels[len(pixels) - 1 - y, x].reshape(layers, steps, 3).astype(int)


def test_any_conflict_has_a_color_and_none_has_not():
    figure = plots.entropy_heatmap([[0.0, 1e-12], [np.nan, 2.0]], ["low", "high"])
    (none, tiny), (unknown, most) = colors(figure)
    assert max(none) - min(none) < 15  # a grey
    assert max(tiny) - min(tiny) > 60  # a yellow
    assert most[0] < 160 and most[1] < 40  # a dark red
    np.testing.assert_array_equal(unknown, [255, 255, 255])


def test_texts():
    figure = plots.entropy_heatmap([[0.0], [0.5], [0.1]], list("abc"), title="Round 2")
    axes, bar = figure.axes
    assert axes.get_title(loc="left") == "Round 2: 2 of 3 layers conflict in the end"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    assert axes.get_xlabel() == "Epoch (grey: no conflict)"
    assert bar.get_ylabel() == "H in nats"


def test_no_conflict_needs_no_scale():
    figure = plots.entropy_heatmap(np.zeros((2, 3)), ["a", "b"])
    assert len(figure.axes) == 1
    assert "0 of 2 layers" in figure.axes[0].get_title(loc="left")


@pytest.mark.parametrize(
    ("steps", "shown"),
    [
        (1, [1]),
        (3, [1, 2, 3]),
        (12, list(range(1, 13))),
        (30, [1, 5, 10, 15, 20, 25, 30]),
        (120, [1, *range(10, 121, 10)]),
    ],
)
def test_columns(steps, shown):
    axes = plots.entropy_heatmap(np.zeros((1, steps)), ["a"]).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == [str(n) for n in shown]
    np.testing.assert_array_equal(axes.get_xticks(), np.array(shown) - 1)


def test_named_columns():
    figure = plots.entropy_heatmap(np.zeros((1, 2)), ["a"], columns=[0.5, 3], x_label="Steps")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.5", "3"]
    assert axes.get_xlabel().startswith("Steps")


def overlaps(boxes):
    return any(one.overlaps(two) for index, one in enumerate(boxes) for two in boxes[index + 1 :])


@pytest.mark.parametrize(("layers", "steps"), [(1, 1), (1, 120), (59, 30), (240, 1), (240, 120)])
def test_nothing_overlaps_or_is_cut_off(layers, steps):
    values = np.linspace(0, 2.3, layers * steps).reshape(layers, steps)
    names = [f"stage1_block{index}/branch" for index in range(layers)]
    figure = plots.entropy_heatmap(values, names)
    plots.to_array(figure)
    axes = figure.axes[0]
    written = axes.get_title(loc="left")
    (title,) = axes.findobj(lambda artist: getattr(artist, "get_text", str)() == written)
    assert title.get_window_extent().x1 <= figure.bbox.x1
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        boxes = [label.get_window_extent() for label in labels]
        assert not overlaps(boxes)
        for box in (*boxes, axes.xaxis.label.get_window_extent()):
            assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
            assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1
    if layers * steps > 1:
        # The scale is as high as the map.
        heights = [part.get_window_extent().height for part in figure.axes]
        assert heights[1] == pytest.approx(heights[0], rel=0.02)


@pytest.mark.parametrize(
    ("entropies", "names", "message"),
    [
        (np.zeros(3), list("abc"), r"of 3 layers as \(L, T\)\. Received: \(3,\)"),
        (np.zeros((2, 3)), ["a"], r"of 1 layers as \(L, T\)\. Received: \(2, 3\)"),
        (np.zeros((2, 0)), ["a", "b"], r"Received: \(2, 0\)"),
        ([[0.1, -0.5]], ["a"], r"entropies >= 0\. Received: -0\.5"),
    ],
)
def test_wrong_values(entropies, names, message):
    with pytest.raises(ValueError, match=message):
        plots.entropy_heatmap(entropies, names)
