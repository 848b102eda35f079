"""Random rotation, scaling, shift and erasing of images, for augmentation."""

import math

import tensorflow as tf

# Numbers that make independent seeds of one seed.
_AFFINE, _ERASING = 1, 2
# A draw is the limit times N(0, 1/3), clipped to [-1, 1]: most images change a little, few much.
_DEVIATION = 1.0 / 3.0


def random_affine(
    image: tf.Tensor,
    seed: tf.Tensor,
    *,
    rotation: float = 0.0,
    zoom: float = 0.0,
    squish: float = 0.0,
    shift: float = 0.0,
) -> tf.Tensor:
    """An image after a random rotation, scaling and shift, about its centre, in that order.

    With independent draws n from N(0, 1/3), clipped to [−1, 1]: the angle is `rotation·n`; height
    and width are multiplied by `1 + zoom·n`, and the width by `1 − squish·|n|` as well; the shift
    is `shift·n` each way. All is one transform, so that the image is interpolated just once.

    Args:
        image: float32, (H, W, C).
        seed: Two integers. It is folded, so the draws are independent of others with this seed.
        rotation: The largest angle, in degrees. Default 0.
        zoom: The largest change of size, as a share in [0, 1). Default 0.
        squish: The largest loss of width, as a share in [0, 1). Default 0.
        shift: The largest shift each way, in pixels. Default 0.

    Returns:
        The image, float32, (H, W, C).

    Example:

    >>> tilted = random_affine(tf.ones((28, 28, 1)), (0, 1), rotation=30, squish=0.25)
    >>> tuple(tilted.shape), bool(tf.reduce_sum(tilted) < 28 * 28)   # zeros come in
    ((28, 28, 1), True)

    Source: Mazzia, Salvetti, Chiaberge: Efficient-CapsNet, arXiv 2101.12491.
    """
    draws = tf.random.stateless_normal([5], _fold(seed, _AFFINE), stddev=_DEVIATION, alg="philox")
    turn, size, width, down, right = tf.unstack(tf.clip_by_value(draws, -1.0, 1.0))
    height_factor = 1.0 + zoom * size
    return _affine(
        image,
        angle=rotation * turn,
        scale=(height_factor, height_factor * (1.0 - squish * tf.abs(width))),
        offset=(shift * down, shift * right),
    )


def _affine(image: tf.Tensor, *, angle, scale, offset) -> tf.Tensor:
    """An image rotated and scaled about its centre, and then shifted.

    Bilinear interpolation; what lies outside of the image is 0.

    Args:
        image: float32, (H, W, C).
        angle: In degrees, counter-clockwise.
        scale: Factors of height and width, above 0.
        offset: Pixels downwards and to the right.

    Returns:
        The image, float32, (H, W, C).

    Example:

    >>> image = tf.constant([[1.0, 2.0], [3.0, 4.0]])[..., None]
    >>> tf.round(_affine(image, angle=90.0, scale=(1.0, 1.0), offset=(0.0, 0.0)))[..., 0].numpy()
    array([[2., 4.],
           [1., 3.]], dtype=float32)
    """
    size = tf.shape(image)
    centre_y, centre_x = tf.unstack(tf.cast(size[:2] - 1, tf.float32) / 2.0)
    radians = tf.cast(angle, tf.float32) * (math.pi / 180.0)
    cos, sin = tf.cos(radians), tf.sin(radians)
    scale_y, scale_x = (tf.cast(factor, tf.float32) for factor in scale)
    # Where in the input an output pixel (x, y) comes from; y points downwards.
    a0, a1, b0, b1 = cos / scale_x, -sin / scale_y, sin / scale_x, cos / scale_y
    x = centre_x + tf.cast(offset[1], tf.float32)
    y = centre_y + tf.cast(offset[0], tf.float32)
    a2, b2 = centre_x - a0 * x - a1 * y, centre_y - b0 * x - b1 * y
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None],
        transforms=tf.stack([a0, a1, a2, b0, b1, b2, 0.0, 0.0])[None],
        output_shape=size[:2],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )[0]


def random_erasing(image: tf.Tensor, seed: tf.Tensor, *, size: int) -> tf.Tensor:
    """An image with a square of zeros at a random place, all of it inside of the image.

    Args:
        image: float32, (H, W, C).
        seed: Two integers. It is folded, so the draws are independent of others with this seed.
        size: Side of the square in pixels, at most H and W. 0 changes nothing.

    Returns:
        The image, float32, (H, W, C).

    Example:

    >>> int(tf.reduce_sum(random_erasing(tf.ones((28, 28, 1)), (0, 1), size=4)))   # 784 - 16
    768

    Source: Mazzia, Salvetti, Chiaberge: Efficient-CapsNet, arXiv 2101.12491.
    """
    draws = tf.random.stateless_uniform([2], _fold(seed, _ERASING), alg="philox")
    places = tf.shape(image)[:2] - size + 1
    # A draw just below 1 may round up to the first place too many.
    first = tf.minimum(tf.cast(draws * tf.cast(places, tf.float32), tf.int32), places - 1)

    def is_kept(axis: int) -> tf.Tensor:
        position = tf.range(tf.shape(image)[axis]) - first[axis]
        return (position < 0) | (position >= size)

    kept = is_kept(0)[:, None] | is_kept(1)[None, :]
    return image * tf.cast(kept, image.dtype)[..., None]


def _fold(seed: tf.Tensor, number: int) -> tf.Tensor:
    return tf.random.experimental.stateless_fold_in(seed, number, alg="philox")
