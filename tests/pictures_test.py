"""Picture files are read alike, also inside a graph, and large ones refused before that."""

import io
import struct
import zlib

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from tfcaps import pictures

GREY = np.mgrid[0:8, 0:8].sum(axis=0).astype(np.uint8) * 15
COLOURS = np.stack([GREY, 255 - GREY, GREY // 2], axis=-1)


def file_bytes(image, kind):
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def image(pixels, mode=None):
    found = PIL.Image.fromarray(pixels)
    return found.convert(mode) if mode else found


in_a_graph = tf.function(pictures.decode, input_signature=[tf.TensorSpec((), tf.string)])
everywhere = pytest.mark.parametrize("decode", [pictures.decode, in_a_graph])


@everywhere
@pytest.mark.parametrize(
    ("data", "expected", "tolerance"),
    [
        (file_bytes(image(COLOURS), "PNG"), COLOURS, 0),
        (file_bytes(image(COLOURS).quantize(64), "PNG"), COLOURS, 0),
        (file_bytes(image(COLOURS, "RGBA"), "PNG"), COLOURS, 0),
        (file_bytes(image(COLOURS), "BMP"), COLOURS, 0),
        (file_bytes(image(COLOURS), "GIF"), COLOURS, 0),
        (file_bytes(image(COLOURS, "CMYK"), "JPEG"), COLOURS, 8),
        (file_bytes(image(GREY), "PNG"), GREY[..., np.newaxis], 0),
        (file_bytes(image(GREY, "LA"), "PNG"), GREY[..., np.newaxis], 0),
        (file_bytes(image(GREY), "BMP"), GREY[..., np.newaxis], 0),
        (file_bytes(image(GREY), "JPEG"), GREY[..., np.newaxis], 8),
    ],
    ids=lambda value: value[:4].hex() if isinstance(value, bytes) else "",
)
def test_kinds(decode, data, expected, tolerance):
    found = decode(tf.constant(data)).numpy()
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= tolerance


def png_of_zeros(side):
    """A small file of a large picture."""

    def chunk(name, content):
        checked = name + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def gif_of(side):
    return b"GIF89a" + struct.pack("<HH", side, side) + b"\0" * 20


LARGE = "pictures of at most 67108864 pixels"
PALETTE = "BMP pictures without a colour palette"
READABLE = "a file that can be read (PNG, JPEG, BMP or GIF)"


@everywhere
@pytest.mark.parametrize(
    ("data", "allowed"),
    [
        (png_of_zeros(20_000), LARGE),
        (png_of_zeros(2**31), LARGE),
        (gif_of(2**16 - 1), LARGE),
        (b"BM" + b"\0" * 16 + struct.pack("<ii", 2**30, -(2**30)) + b"\0" * 60, LARGE),
        (file_bytes(image(COLOURS).quantize(64), "BMP"), PALETTE),
        (file_bytes(image(GREY, "1"), "BMP"), PALETTE),
        (b"", READABLE),
        (b"BM", READABLE),
        (b"\x89PNG", READABLE),
        (b"\xff\xd8\xff", READABLE),
        (b"no picture at all", READABLE),
    ],
    ids=lambda value: value[:4].hex() if isinstance(value, bytes) else "",
)
def test_refused(decode, data, allowed):
    with pytest.raises(tf.errors.OpError) as caught:
        decode(tf.constant(data))
    assert pictures.expected(caught.value) == allowed


def test_channels():
    grey = pictures.with_channels(tf.constant(COLOURS), 1).numpy()[..., 0]
    luma = COLOURS @ np.array([0.2989, 0.587, 0.114])
    assert np.abs(grey - luma).max() <= 1
    three = pictures.with_channels(tf.constant(GREY[..., np.newaxis]), 3).numpy()
    np.testing.assert_array_equal(three, np.stack([GREY] * 3, axis=-1))
