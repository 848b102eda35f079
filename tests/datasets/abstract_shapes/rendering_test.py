"""Renderings: the same geometry, drawn in ten ways, compared with what is drawn by hand."""

import itertools

import numpy as np
import pytest

from tfcaps.datasets import abstract_shapes
from tfcaps.errors import UsageError


def _squares(*halves: int, shift: float = 0.0, corners: bool = False) -> abstract_shapes.Layout:
    """Squares around (8, 8) in a picture of 17×17, with points half a pixel apart at most."""
    outlines = []
    for half in halves:
        steps = np.linspace(-half, half, 64, endpoint=False)
        side = np.full(64, float(half))
        sides = [(steps, -side), (side, steps), (-steps, side), (-side, -steps)]
        outlines.append(np.concatenate([np.stack(each, -1) for each in sides]))
    points = np.stack(outlines)[None].astype(np.float32)
    centres = np.full((1, len(halves), 2), 8)
    if shift:
        centres = centres + shift
    return abstract_shapes.Layout(
        17, np.array([1]), points, centres, np.array([5], dtype=np.uint64)
    )


def _box(half: int) -> np.ndarray:
    mask = np.zeros((17, 17), bool)
    mask[8 - half : 9 + half, 8 - half : 9 + half] = True
    return mask


def _frame(half: int) -> np.ndarray:
    return _box(half) & ~_box(half - 1)


def _drawn(layout, style) -> np.ndarray:
    return layout.render(style)[0, ..., 0]


def test_names():
    names = abstract_shapes.renderings()
    assert names == (
        *("outline", "thick", "filled", "dashed", "dots"),
        *("grey", "texture", "colour", "anti_aliased", "inverted"),
    )


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("outline", np.where(_frame(5), 255, 0)),
        ("inverted", np.where(_frame(5), 0, 255)),
        ("grey", np.where(_frame(5), 255, 128)),
        ("thick", np.where(_box(6) & ~_box(3), 255, 0)),
        ("filled", np.where(_box(5), 255, 0)),
        ("anti_aliased", np.where(_frame(5), 255, 0)),
    ],
)
def test_a_square(style, expected):
    np.testing.assert_array_equal(_drawn(_squares(5), style), expected)


def test_a_shape_in_another_is_a_hole():
    image = _drawn(_squares(6, 2), "filled")
    np.testing.assert_array_equal(image == 255, _box(6) & ~_box(2))
    image = _drawn(_squares(7, 4, 2), "filled")
    np.testing.assert_array_equal(image == 255, _box(7) & ~_box(4) | _box(2))


def test_lines_between_pixels_are_shared_by_them():
    # A frame half a pixel to the right and below: each line lies half in either row.
    image = _drawn(_squares(5, shift=0.5), "anti_aliased").astype(float) / 255
    np.testing.assert_allclose(image[3:5, 8], [0.5, 0.5], atol=0.01)
    assert image[2, 8] == image[5, 8] == 0
    # All ink there is: the length of the line.
    assert image.sum() == pytest.approx(40, abs=0.6)


def test_dashes_and_dots_lie_on_the_line_all_around():
    for style, part in (("dashed", 4 / 7), ("dots", 1 / 4)):
        seen = _drawn(_squares(7), style) == 255
        assert not (seen & ~_frame(7)).any()
        for side in (seen[1], seen[15], seen[:, 1], seen[:, 15]):
            assert side.sum() / 15 == pytest.approx(part, abs=0.2)


def test_textures_are_dark_noise_around_white_lines():
    image = _drawn(_squares(5), "texture")
    assert (image[_frame(5)] == 255).all()
    noise = image[~_frame(5)]
    assert noise.max() < 128
    # Uniform from 0 to 127: a mean of 63.5, with a standard error of 37 / sqrt(249)
    assert abs(noise.mean() - 63.5) < 5 * 37 / np.sqrt(noise.size)


def test_each_shape_has_its_colour():
    image = _squares(7, 3).render("colour")[0]
    (outer,) = np.unique(image[_frame(7)], axis=0)
    (inner,) = np.unique(image[_frame(3)], axis=0)
    (background,) = np.unique(image[~_frame(7) & ~_frame(3)], axis=0)
    assert outer.min() >= 128
    assert inner.min() >= 128
    assert background.max() < 96
    assert (outer != inner).any()


def test_channels():
    layout = _squares(5)
    grey = layout.render("colour", channels=1)[0, ..., 0]
    red, green, blue = np.moveaxis(layout.render("colour")[0].astype(float), -1, 0)
    assert np.abs(grey - (0.299 * red + 0.587 * green + 0.114 * blue)).max() <= 0.51
    three = layout.render("thick", channels=3)
    assert three.shape == (1, 17, 17, 3)
    assert (three == layout.render("thick")).all()


@pytest.mark.parametrize("style", abstract_shapes.renderings())
def test_an_image_is_the_same_made_alone(style):
    some = abstract_shapes.layouts("svrt_3", [*range(80)]).render(style)
    alone = abstract_shapes.layouts("svrt_3", [70]).render(style)
    np.testing.assert_array_equal(some[70], alone[0])


@pytest.mark.parametrize("style", abstract_shapes.renderings())
def test_images_of_a_set(style):
    images = abstract_shapes.generate("svrt_14", 3, rendering=style)
    assert images.images.shape == (3, 128, 128, 3 if style == "colour" else 1)
    streamed = itertools.islice(abstract_shapes.stream("svrt_14", rendering=style), 3)
    np.testing.assert_array_equal(np.stack([image for image, _ in streamed]), images.images)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rendering": "neon"}, "Expected a rendering among outline, thick, .* Received: neon$"),
        ({"channels": 2}, "Expected 1 or 3 channels. Received: 2$"),
    ],
)
def test_wrong_input(arguments, message):
    with pytest.raises(UsageError, match=message):
        abstract_shapes.generate("svrt_1", 2, **arguments)
