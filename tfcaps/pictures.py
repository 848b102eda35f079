"""One way to read picture files, for trainings, explanations and served models alike."""

import tensorflow as tf

# A picture of 200 MB in memory; a file of a megabyte can ask for any number.
MAX_PIXELS = 2**26
_TOO_LARGE = f"pictures of at most {MAX_PIXELS} pixels"
_PALETTE = "BMP pictures without a colour palette"
_READABLE = "a file that can be read (PNG, JPEG, BMP or GIF)"
_COLOURS = 256


def decode(data: tf.Tensor) -> tf.Tensor:
    """The pixels of a picture, also inside a graph.

    Transparency is dropped, and an animation gives its first picture.

    Args:
        data: string, (): the content of a PNG, JPEG, BMP or GIF file.

    Returns:
        uint8, (H, W, 1) of a grey picture, and (H, W, 3) of any other one.

    Raises:
        tf.errors.InvalidArgumentError: It is no picture, has more than `MAX_PIXELS`, or is a BMP
            whose pixels are numbers of colours: TensorFlow would take them for shades of grey.

    Example:

    >>> decode(tf.io.encode_png(tf.zeros((4, 6, 4), tf.uint8))).shape
    TensorShape([4, 6, 3])
    """
    is_bmp = _begins(data, b"BM")
    pixels = tf.case(
        [
            (_begins(data, b"\x89PNG"), lambda: _product(_integers(data, 16, 8, tf.int32, ">"))),
            (_begins(data, b"\xff\xd8\xff"), lambda: _product(tf.io.extract_jpeg_shape(data)[:2])),
            (_begins(data, b"GIF8"), lambda: _product(_integers(data, 6, 4, tf.uint16))),
            (is_bmp, lambda: _product(_integers(data, 18, 8, tf.int32))),
        ],
        default=lambda: tf.constant(0.0, tf.float64),  # no picture: the decoder says so
    )
    is_palette = tf.cond(is_bmp, lambda: _has_palette(data), lambda: tf.constant(False))
    with tf.control_dependencies(
        [
            tf.debugging.Assert(pixels <= MAX_PIXELS, [f"Expected {_TOO_LARGE}."]),
            tf.debugging.Assert(tf.logical_not(is_palette), [f"Expected {_PALETTE}."]),
        ]
    ):
        image = tf.io.decode_image(tf.identity(data), expand_animations=False)
    image = tf.ensure_shape(image, (None, None, None))
    # 1: grey, 2: grey and alpha, 3: RGB, 4: RGB and alpha.
    return image[..., : tf.where(tf.shape(image)[-1] >= 3, 3, 1)]


def with_channels(image: tf.Tensor, channels: int) -> tf.Tensor:
    """Makes colours grey, or grey three equal channels, where that is asked for.

    Args:
        image: uint8, (H, W, 1 or 3).
        channels: 1 or 3.
    """
    has_colour = tf.shape(image)[-1] == 3
    if channels == 1:
        return tf.cond(has_colour, lambda: tf.image.rgb_to_grayscale(image[..., :3]), lambda: image)
    return tf.cond(has_colour, lambda: image, lambda: tf.repeat(image, 3, axis=-1))


def expected(error: tf.errors.OpError) -> str:
    """What pictures have to be, of an error of `decode`, for a message."""
    for allowed in (_TOO_LARGE, _PALETTE):
        if allowed in str(error):
            return allowed
    return _READABLE


def _part(data: tf.Tensor, start: int | tf.Tensor, length: int) -> tf.Tensor:
    """Some bytes of a file; zeros behind its end, where TensorFlow's own function fails."""
    start = tf.clip_by_value(start, 0, tf.strings.length(data))
    return tf.strings.substr(tf.strings.join([data, "\0" * length]), start, length)


def _begins(data: tf.Tensor, magic: bytes) -> tf.Tensor:
    return _part(data, 0, len(magic)) == magic


def _integers(
    data: tf.Tensor, start: int, length: int, kind: tf.DType, order: str = "<"
) -> tf.Tensor:
    """Some integers of a file's head."""
    return tf.io.decode_raw(_part(data, start, length), kind, little_endian=order == "<")


def _product(sides: tf.Tensor) -> tf.Tensor:
    return tf.reduce_prod(tf.abs(tf.cast(sides, tf.float64)))


def _has_palette(data: tf.Tensor) -> tf.Tensor:
    """Whether the pixels of a BMP are numbers of colours, and these aren't all shades of grey."""
    head = _integers(data, 14, 4, tf.int32)[0]
    bits = _integers(data, 28, 2, tf.uint16)[0]

    def differs():
        table = tf.io.decode_raw(_part(data, 14 + head, 4 * _COLOURS), tf.uint8)
        shades = tf.repeat(tf.range(_COLOURS), 3)  # blue, green, red, and a byte of nothing
        known = tf.cast(tf.reshape(tf.reshape(table, (-1, 4))[:, :3], (-1,)), tf.int32)
        return tf.reduce_any(known != shades)

    return tf.cond(tf.logical_and(bits > 0, bits <= 8), differs, lambda: tf.constant(False))
